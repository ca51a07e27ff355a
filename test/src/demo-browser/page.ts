/** The script of the demo's page: it opens a session and a watch, and draws their data. */
import { connect } from '@holdfast/client'
import { Desk } from './desk.js'
import type { Document } from './documents.js'
import { windowUser } from './people.js'
import { Presence } from './presence.js'
import { render } from './view.js'

const me = windowUser()
const root = document.querySelector<HTMLElement>('#root')!
const address = new URL('locks', location.href)
address.protocol = 'ws:'

let documents: readonly Document[] = []
/** The problem of the connection, if any. */
let problem: string | undefined

async function loadDocuments(): Promise<void> {
  const response = await fetch('documents')
  documents = (await response.json()) as Document[]
  const open = documents.find(({ id }) => id === desk.open?.id)
  if (open !== undefined) desk.open = open
  show()
}

function show(): void {
  render(root, { me, session: session.id, documents, presence, desk, problem })
}

document.title = `Documents: ${me.name}`
const session = await connect(address, { name: me.name })
session.on('lost', ({ reason }) => {
  if (reason === 'session') problem = 'reconnecting'
  show()
})
session.on('newSession', () => {
  problem = undefined
  void loadDocuments()
})
session.on('closed', () => {
  problem = 'disconnected'
  show()
})
const desk = new Desk(session, () => show())
const presence = new Presence(session, (unlocked) => {
  // The user who stopped editing may have saved the document.
  if (unlocked?.endsWith('/edit')) void loadDocuments()
  else show()
})
await loadDocuments()
