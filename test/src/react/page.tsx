/** The script of the test page: mounts components, and changes and unmounts them by their id. */
import type { ReactElement } from 'react'
import { createRoot, hydrateRoot, type Root } from 'react-dom/client'
import { App, HoldersView, LeaderView, LockView, SessionView, SuspendedView } from './components.js'

const roots = new Map<string, Root>()
const sockets: WebSocket[] = []
let show = () => {}

/** Remembers each socket, so that a test can drop the connection. */
class RecordedWebSocket extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols)
    sockets.push(this)
  }
}

/** The components of a test, by the name of the test. */
const views: Record<string, (...args: string[]) => ReactElement> = {
  held: (key) => <LockView lockKey={key!} auto={true} />,
  shared: (key) => <LockView lockKey={key!} auto={true} mode="shared" />,
  idle: (key) => <LockView lockKey={key!} />,
  misspelt: (key) => <LockView lockKey={key!} auto={true} {...{ timeuot: 5 }} />,
  nothing: () => <p>nothing</p>,
  session: () => <SessionView />,
  sharedWatch: (prefix) => (
    <>
      <HoldersView prefix={prefix!} />
      <HoldersView prefix={prefix!} />
    </>
  ),
  leader: (name) => <LeaderView name={name!} />,
  suspended: (key) => <SuspendedView lockKey={key!} until={shown} />,
}

const shown = new Promise<void>((resolve) => {
  show = resolve
})
const url = new URL(location.href).searchParams.get('url') ?? ''
const options = { name: 'page', WebSocket: RecordedWebSocket }

function app(view: string, args: readonly string[]): ReactElement {
  return (
    <App url={url} options={options}>
      {views[view]!(...args)}
    </App>
  )
}

/** Mounts components, or changes the components with this id. Each root has a session. */
function mount(id: string, view: string, ...args: string[]): void {
  const root = roots.get(id) ?? createRoot(addElement(id))
  roots.set(id, root)
  root.render(app(view, args))
}

function addElement(id: string): HTMLElement {
  const element = document.createElement('section')
  element.id = id
  document.body.append(element)
  return element
}

Object.assign(globalThis, {
  mount,
  show: () => show(),
  unmount: (id: string) => {
    roots.get(id)?.unmount()
    roots.delete(id)
  },
  /** Mounts and unmounts before the component has run its effects. */
  flash: (id: string, view: string, ...args: string[]) => {
    mount(id, view, ...args)
    setTimeout(() => {
      roots.get(id)?.unmount()
      roots.delete(id)
      document.title = 'flashed'
    })
  },
  hydrate: (id: string, html: string, view: string, ...args: string[]) => {
    const element = addElement(id)
    element.innerHTML = html
    roots.set(id, hydrateRoot(element, app(view, args)))
  },
  dropConnections: () => {
    for (const socket of sockets.splice(0)) socket.close()
  },
})
