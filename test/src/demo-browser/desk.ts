/**
 * The desk of one user: the open document, the locks of the user, and the text that the user types.
 * The user reads the document, edits it, or waits for the lock of its editor. The desk uses the Web
 * Locks API through `session.locks`, as a page would use `navigator.locks`. A fence is the rising
 * number of a grant.
 */
import type { HeldLock, HoldfastError, Session } from '@holdfast/client'
import type { Document } from './documents.js'
import { editKey, viewKey } from './presence.js'

/** What the user does with the open document. */
export type EditState = 'reading' | 'waiting' | 'editing'

/** The loss of the editor's lock, with the text that was not saved. */
export interface Loss {
  readonly document: Document
  readonly draft: string
  readonly reason: HoldfastError['reason']
}

export class Desk {
  readonly #session: Session
  readonly #onChange: () => void
  /** The open document. */
  open: Document | undefined
  state: EditState = 'reading'
  loss: Loss | undefined
  /** The text that the user types while editing. */
  draft = ''
  /** Ends the lock of a reader. */
  #releaseView = () => {}
  /** Ends the lock of the editor. */
  #releaseEdit = () => {}
  /** Aborts the waiting request for the lock of the editor. */
  #waiting: AbortController | undefined
  /** The lock of the editor; undefined while the user does not edit. */
  #lock: HeldLock | undefined

  constructor(session: Session, onChange: () => void) {
    this.#session = session
    this.#onChange = onChange
  }

  /** Opens a document and holds a shared lock, by which other users see the readers. */
  show(document: Document): void {
    if (this.open?.id === document.id) return
    this.close()
    this.open = document
    const closed = new Promise<void>((resolve) => {
      this.#releaseView = resolve
    })
    const holdView = async (): Promise<void> => {
      try {
        await this.#session.locks.request(viewKey(document.id), { mode: 'shared' }, () => closed)
      } catch {
        // The lock was lost with the session. The client opens a new session by itself, but the
        // page must request its locks again.
        if (this.open?.id === document.id && this.#session.state !== 'closed') await holdView()
      }
    }
    void holdView()
    this.#onChange()
  }

  /** Closes the document and releases its locks. */
  close(): void {
    this.stopWaiting()
    this.#releaseEdit()
    this.#releaseView()
    this.open = undefined
    this.state = 'reading'
    this.#onChange()
  }

  /** Begins to edit, if no other user edits. */
  edit(): Promise<void> {
    return this.#request({ ifAvailable: true })
  }

  /** Waits for the lock and then begins to edit. */
  async wait(): Promise<void> {
    this.#waiting = new AbortController()
    this.state = 'waiting'
    this.#onChange()
    await this.#request({ signal: this.#waiting.signal })
  }

  stopWaiting(): void {
    this.#waiting?.abort()
    if (this.state === 'waiting') this.state = 'reading'
    this.#onChange()
  }

  /** Steals the lock and begins to edit. */
  takeOver(): Promise<void> {
    this.stopWaiting()
    return this.#request({ steal: true })
  }

  /** Saves the draft under the name of this user, and releases the lock. */
  async finish(by: string): Promise<void> {
    const { open, draft } = this
    const lock = this.#lock
    if (open === undefined || lock === undefined) return
    const body = JSON.stringify({ title: open.title, text: draft, by, fence: lock.fence })
    const { signal } = lock
    const saved = await fetch(`documents/${open.id}`, { method: 'PUT', body, signal }).then(
      (response) => response.ok,
      () => false,
    )
    // The server refuses the write if a later holder has written; then this lock is lost anyway.
    if (saved) this.#releaseEdit()
  }

  /** Discards the draft, and releases the lock. */
  cancel(): void {
    this.#releaseEdit()
  }

  /** Requests the lock of the editor, and resolves when this lock or the request has ended. */
  async #request(options: LockOptions): Promise<void> {
    const document = this.open
    if (document === undefined) return
    try {
      await this.#session.locks.request(editKey(document.id), options, (lock) =>
        lock === null ? undefined : this.#hold(document, lock),
      )
    } catch (error) {
      const { cause } = error as { cause?: HoldfastError }
      const wasEditing = this.#lock !== undefined && this.open?.id === document.id
      if (wasEditing) this.loss = { document, draft: this.draft, reason: cause?.reason }
    }
    this.#lock = undefined
    if (this.open?.id === document.id) this.state = 'reading'
    this.#onChange()
  }

  /** Begins to edit the newest text, which another user may have changed during the wait. */
  async #hold(document: Document, lock: HeldLock): Promise<void> {
    const response = await fetch(`documents/${document.id}`, { signal: lock.signal })
    const fresh = (await response.json()) as Document
    if (this.open?.id !== document.id) return
    this.#lock = lock
    this.state = 'editing'
    this.loss = undefined
    this.draft = fresh.text
    const released = new Promise<void>((resolve) => {
      this.#releaseEdit = resolve
    })
    this.#onChange()
    await released
  }
}
