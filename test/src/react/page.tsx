/**
 * The script of the page that the React tests open. The tests call its global functions, which
 * mount, change and unmount components by their id.
 */
import type { ReactElement } from 'react'
import { createRoot, hydrateRoot, type Root } from 'react-dom/client'
import { App, HoldersView, LeaderView, LockView, SessionView, SuspendedView } from './components.js'

const roots = new Map<string, Root>()
const sockets: WebSocket[] = []
/** Resolves `suspensionEnded` below. */
let endSuspension = () => {}

/** Remembers each socket, so that a test can drop the connection. */
class RecordedWebSocket extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols)
    sockets.push(this)
  }
}

/** The components that a test can mount, by name. */
const views: Record<string, (...args: string[]) => ReactElement> = {
  auto: (key) => <LockView lockKey={key!} auto={true} />,
  shared: (key) => <LockView lockKey={key!} auto={true} mode="shared" />,
  idle: (key) => <LockView lockKey={key!} />,
  // The option `timeout` with a spelling mistake.
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
  suspended: (key) => <SuspendedView lockKey={key!} until={suspensionEnded} />,
}

/** Until this promise resolves, the view `suspended` shows a fallback. */
const suspensionEnded = new Promise<void>((resolve) => {
  endSuspension = resolve
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

/** Mounts a view, or replaces the view with this id. Each id has a provider with a session. */
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

/** Each function waits for the end of the present microtask, task or frame of the page. */
const pauses: Record<string, () => Promise<unknown>> = {
  microtask: () => Promise.resolve(),
  task: () => new Promise((resolve) => setTimeout(resolve)),
  frame: () => new Promise((resolve) => requestAnimationFrame(resolve)),
}

/** A text that the page showed, and when, in ms by the wall clock. */
export interface ShownText {
  readonly at: number
  readonly text: string
}

const shownTexts: ShownText[] = []
/** Called after each recorded text. */
let onRecorded = () => {}

const currentText = (): string => document.querySelector('output')?.textContent ?? ''

Object.assign(globalThis, {
  mount,
  /**
   * Mounts the view with one key after the other, with a pause of this kind after each key. An
   * empty key mounts the view `nothing`.
   */
  mountInTurn: async (id: string, view: string, pause: string, ...keys: string[]) => {
    for (const key of keys) {
      if (key === '') mount(id, 'nothing')
      else mount(id, view, key)
      await pauses[pause]!()
    }
  },
  /** For each pause: mounts a component and its provider, pauses, and unmounts both. */
  flashInTurn: async (id: string, view: string, key: string, ...pauseNames: string[]) => {
    for (const pause of pauseNames) {
      mount(id, view, key)
      await pauses[pause]!()
      roots.get(id)?.unmount()
      roots.delete(id)
    }
  },
  /** Records every 10 ms which text the page shows. Chromium slows this to 1 s in a hidden page. */
  startRecording: () => {
    setInterval(() => {
      shownTexts.push({ at: Date.now(), text: currentText() })
      onRecorded()
    }, 10)
  },
  /** Resolves with the recorded texts after the next text is recorded. */
  recordedTexts: () =>
    new Promise<readonly ShownText[]>((resolve) => {
      onRecorded = () => resolve(shownTexts)
    }),
  /** Resolves when the page shows the text. */
  untilShown: (text: string) =>
    new Promise<void>((resolve) => {
      const resolveIfShown = () => {
        if (currentText() !== text) return
        observer.disconnect()
        resolve()
      }
      const observer = new MutationObserver(resolveIfShown)
      observer.observe(document, { subtree: true, childList: true, characterData: true })
      resolveIfShown()
    }),
  /** Lets the view `suspended` show its component. */
  endSuspension: () => endSuspension(),
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
      // The test waits for this title.
      document.title = 'flashed'
    })
  },
  /** Mounts a view on the HTML that a server has rendered. */
  hydrate: (id: string, html: string, view: string, ...args: string[]) => {
    const element = addElement(id)
    element.innerHTML = html
    roots.set(id, hydrateRoot(element, app(view, args)))
  },
  dropConnections: () => {
    for (const socket of sockets.splice(0)) socket.close()
  },
})
