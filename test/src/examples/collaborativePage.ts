/**
 * A collaborative page: everyone who opens a document sees who else reads it and who edits it. A
 * reader holds a shared lock, and the editor holds an exclusive lock on another key. The metadata
 * of each lock has the color of its user. The locks of a tab are free as soon as the tab is closed.
 *
 * `openDocument` does not use the DOM. `showDocument` draws a document into an element of a page:
 *
 *     <div id="document"></div>
 *     <script type="module">
 *       import { connect } from '@holdfast/client'
 *       import { showDocument } from './collaborativePage.js'
 *       const session = await connect('wss://locks.example.com', { name: 'Ada' })
 *       showDocument(document.querySelector('#document'), session, 'minutes', 'teal')
 *     </script>
 */
import { type HeldInfo, HoldfastError, type Lock, type Session } from '@holdfast/client'

/** A user who has the document open. */
export interface Person {
  readonly name: string
  readonly color: string
  /** Whether the person is the user of this session. */
  readonly isMe: boolean
}

/** The readers of a document in the order in which they came, and the editor. */
export interface People {
  readonly readers: readonly Person[]
  readonly editor: Person | undefined
}

export interface OpenDocument {
  /**
   * Begins to edit, if no other user edits. Rejects with `LOCK_HELD` otherwise. The caller sends
   * `lock.fence` with each change. The caller unlocks at the end, or stops when `lock.signal` is
   * aborted.
   */
  edit(): Promise<Lock>
  /** Leaves the document. */
  close(): void
}

/**
 * Opens a document.
 *
 * @param show Called with all users of the document: when the session first knows them, and after
 *   each change.
 */
export function openDocument(
  session: Session,
  id: string,
  color: string,
  show: (people: People) => void,
): OpenDocument {
  const prefix = `documents/${id}/`
  const metadata = { color }
  /** The locks of all users by their fence. A later grant has a higher fence. */
  const locks = new Map<number, HeldInfo>()
  const closing = new AbortController()

  const personOf = (held: HeldInfo): Person => ({
    name: held.name ?? 'unknown',
    color: colorIn(held.metadata),
    isMe: held.session === session.id,
  })
  const people = (): People => {
    const sorted = [...locks.values()].sort((a, b) => a.fence - b.fence)
    const editor = sorted.find(({ key }) => key === `${prefix}edit`)
    return {
      readers: sorted.filter(({ key }) => key === `${prefix}read`).map(personOf),
      editor: editor && personOf(editor),
    }
  }
  const watch = session.watch({ prefix }, (event) => {
    if (event.event === 'refused') throw event.error
    if (event.event === 'state') {
      // The first event, and the first event after a reconnect, has all locks.
      locks.clear()
      for (const held of event.held) locks.set(held.fence, held)
    } else if (event.event === 'locked') {
      locks.set(event.fence, event)
    } else {
      // These locks never change, so each other event reports the end of a lock.
      locks.delete(event.fence)
    }
    show(people())
  })

  let reading: Lock | undefined
  /** Holds the lock of a reader until the document is closed. Locks again after each loss. */
  const keepReading = async () => {
    while (!closing.signal.aborted) {
      const options = { mode: 'shared', metadata, signal: closing.signal } as const
      const lock = await session.lock(`${prefix}read`, options)
      reading = lock
      // If the lock is lost already, its signal emits no event.
      if (lock.held) {
        await new Promise((resolve) => lock.signal.addEventListener('abort', resolve))
      }
    }
  }
  keepReading().catch((error) => {
    if (!closing.signal.aborted && session.state !== 'closed') throw error
  })

  return {
    edit: () => session.tryLock(`${prefix}edit`, { metadata }),
    close: () => {
      watch.close()
      closing.abort()
      // A lock that was lost needs no unlock.
      reading?.unlock().catch(() => {})
    },
  }
}

/** The color in the metadata of a lock. Other programs may have written the metadata. */
function colorIn(metadata: unknown): string {
  const { color } = (metadata ?? {}) as { readonly color?: unknown }
  return typeof color === 'string' ? color : 'gray'
}

/** Draws a document's users and a button into an element. To leave, call `close` of the result. */
export function showDocument(
  element: HTMLElement,
  session: Session,
  id: string,
  color: string,
): OpenDocument {
  let editing: Lock | undefined
  const list = document.createElement('ul')
  const status = document.createElement('p')
  const button = document.createElement('button')
  element.replaceChildren(list, status, button)

  const opened = openDocument(session, id, color, ({ readers, editor }) => {
    const items = readers.map((reader) => {
      const item = document.createElement('li')
      item.style.color = reader.color
      item.textContent = reader.isMe ? `${reader.name} (you)` : reader.name
      return item
    })
    list.replaceChildren(...items)
    status.textContent = editor === undefined ? 'Free to edit' : `${editor.name} edits`
    button.textContent = editor?.isMe ? 'Stop editing' : 'Edit'
    button.disabled = editor !== undefined && !editor.isMe
  })
  button.onclick = async () => {
    if (editing?.held) {
      await editing.unlock()
      return
    }
    try {
      editing = await opened.edit()
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'LOCK_HELD')) throw error
      // Another user was faster. The watch has already shown this user, or is about to.
    }
  }
  return opened
}
