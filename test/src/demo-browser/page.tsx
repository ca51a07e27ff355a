/**
 * Documents with readers and an editor: a user edits, waits or takes over. Copy this file into a
 * page with React. The server must refuse a write whose fence (grant number) is lower than before.
 */
import { HoldfastProvider, useHolders, useLock, useSession } from '@holdfast/client/react'
import { StrictMode, useEffect, useState } from 'react'
import { createRoot } from 'react-dom/client'

type Doc = { readonly [field in 'id' | 'title' | 'text' | 'by']: string }
const editKey = (id: string) => `documents/${id}/edit`
const viewKey = (id: string) => `documents/${id}/view`
const me = new URLSearchParams(location.search).get('name') ?? prompt('Your name') ?? 'A guest'

/** Loads JSON. Ignores a failure: the next change of the locks loads the list again. */
function load<T>(path: string, show: (json: T) => void, signal: AbortSignal | null = null) {
  const loading = fetch(path, { signal }).then((response) => response.json())
  loading.then(show, () => {})
}

function Button({ kind, text, onClick }: { kind: string; text: string; onClick: () => unknown }) {
  return (
    <button type="button" className={kind} onClick={onClick}>
      {text}
    </button>
  )
}

/** An open document. Each reader holds a shared lock, and the editor holds another lock. */
function Sheet({ doc, close }: { readonly doc: Doc; readonly close: () => void }) {
  useLock(viewKey(doc.id), { mode: 'shared', auto: true })
  const { lock, state, holders, acquire, release } = useLock(editKey(doc.id))
  /** The edited text, kept until the user confirms a loss of the lock; undefined without edits. */
  const [draft, setDraft] = useState<string>()
  useEffect(() => {
    // Begins to edit the newest text, which another user may have changed during the wait.
    if (lock) load<Doc>(`documents/${doc.id}`, ({ text }) => setDraft(text), lock.signal)
  }, [lock, doc.id])
  const finish = () => {
    setDraft(undefined)
    release()
  }
  const save = async () => {
    const body = JSON.stringify({ title: doc.title, text: draft, by: me, fence: lock?.fence })
    const { ok } = await fetch(`documents/${doc.id}`, { method: 'PUT', body })
    if (ok) finish() // otherwise another user has the lock, and the draft stays
  }
  const otherUser = lock === undefined ? holders[0]?.name : undefined
  const takeOver = () => acquire({ steal: true })
  const canAsk = lock === undefined && state !== 'waiting'
  const label = otherUser ? 'Edit when free' : 'Edit'
  const loss = otherUser ? `${otherUser} took this document over.` : 'You cannot edit it any more.'
  return (
    <section className="sheet">
      <header>
        <Button kind="back" text="‹ All documents" onClick={close} />
        <h2>{doc.title}</h2>
        <p className="quiet">
          <Readers id={doc.id} />
          {doc.by && ` · last saved by ${doc.by}`}
        </p>
      </header>
      {draft !== undefined && lock === undefined && (
        <div className="loss" role="alert">
          <strong>{loss}</strong>
          <p>Your text was not saved:</p>
          <pre>{draft}</pre>
          <Button kind="plain" text="All right" onClick={finish} />
        </div>
      )}
      {draft !== undefined && lock !== undefined ? (
        <textarea
          className="text"
          aria-label={doc.title}
          value={draft}
          onChange={(event) => setDraft(event.target.value)}
        />
      ) : (
        <div className="text">{doc.text}</div>
      )}
      <div className="actions">
        {lock && <Button kind="primary" text="Save" onClick={save} />}
        {lock && <Button kind="plain" text="Discard" onClick={finish} />}
        {state === 'waiting' && <Button kind="plain" text="Stop waiting" onClick={release} />}
        {canAsk && <Button kind="primary" text={label} onClick={() => acquire()} />}
        {otherUser && <Button kind="danger" text="Take over" onClick={takeOver} />}
        {state === 'waiting' && <p className="quiet">You edit as soon as {otherUser} is done.</p>}
      </div>
    </section>
  )
}

/** The other users who have a document open. */
function Readers({ id }: { readonly id: string }) {
  const { id: session } = useSession()
  const others = useHolders({ key: viewKey(id) }).holders.filter((lock) => lock.session !== session)
  const names = others.map(({ name }) => name).join(', ')
  return names === '' ? 'Only you have this open' : `Also here: ${names}`
}

/** A document in the list, with its editor. */
function Row({ doc, isOpen, open }: { doc: Doc; isOpen: boolean; open: () => void }) {
  const { id: session } = useSession()
  const editor = useHolders({ key: editKey(doc.id) }).holders[0]
  const text = editor?.session === session ? 'You are editing' : `${editor?.name} is editing`
  return (
    <button type="button" className="row" data-id={doc.id} aria-current={isOpen} onClick={open}>
      <strong>{doc.title}</strong>
      <span className={editor ? 'state busy' : 'state'}>{editor ? text : doc.text}</span>
    </button>
  )
}

function Documents() {
  const { state } = useSession()
  const { holders } = useHolders({ prefix: 'documents/' })
  const [documents, setDocuments] = useState<readonly Doc[]>([])
  const [openId, setOpenId] = useState<string>()
  // The list loads again when the locks or the connection change.
  const version = `${state} ${holders.map(({ fence }) => fence)}`
  useEffect(() => {
    if (version !== '') load('documents', setDocuments) // always true; lint requires this use
  }, [version])
  const openDoc = documents.find(({ id }) => id === openId)
  return (
    <div id="root" className={openDoc && 'open'}>
      <header className="top">
        <h1>Documents</h1>
        <span className={state === 'connected' ? 'pill' : 'pill bad'}>{state}</span>
        <span className="who">{me}</span>
      </header>
      <main>
        <nav>
          {documents.map((doc) => (
            <Row key={doc.id} doc={doc} isOpen={doc === openDoc} open={() => setOpenId(doc.id)} />
          ))}
        </nav>
        {openDoc && <Sheet key={openDoc.id} doc={openDoc} close={() => setOpenId(undefined)} />}
        {!openDoc && <p className="sheet empty">Open a document, here and in another window.</p>}
      </main>
    </div>
  )
}

createRoot(document.querySelector('#app')!).render(
  <StrictMode>
    <HoldfastProvider url={`ws://${location.host}/locks`} options={{ name: me }}>
      <Documents />
    </HoldfastProvider>
  </StrictMode>,
)
