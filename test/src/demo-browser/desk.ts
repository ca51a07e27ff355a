/**
 * What one person does with the documents: has one open, edits it or waits for it, loses it or
 * gives it back. Every lock is asked for as a page would ask its browser, only through
 * `session.locks`.
 */
import type { HeldLock, HoldfastError, Session } from '@holdfast/client'
import type { Document } from './documents.js'
import { editKey, viewKey } from './presence.js'

/** Where the person stands with the document that is open. */
export type Standing = 'reading' | 'waiting' | 'editing'

/** What somebody lost, and how. */
export interface Loss {
  readonly document: Document
  readonly draft: string
  readonly reason: HoldfastError['reason']
}

export class Desk {
  readonly #session: Session
  readonly #onChange: () => void
  open: Document | undefined
  standing: Standing = 'reading'
  loss: Loss | undefined
  draft = ''
  #leave = () => {}
  #giveBack = () => {}
  #giveUp: AbortController | undefined
  #lock: HeldLock | undefined

  constructor(session: Session, onChange: () => void) {
    this.#session = session
    this.#onChange = onChange
  }

  /** Opens a document: a shared lock, which lets others see who is there. */
  show(document: Document): void {
    if (this.open?.id === document.id) return
    this.put()
    this.open = document
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve
    })
    const stay = async (): Promise<void> => {
      try {
        await this.#session.locks.request(viewKey(document.id), { mode: 'shared' }, () => left)
      } catch {
        // Lost with the session, which comes back by itself; a lock is taken again by whoever wants
        // it.
        if (this.open?.id === document.id && this.#session.state !== 'closed') await stay()
      }
    }
    void stay()
    this.#onChange()
  }

  /** Puts the open document away, with whatever is held of it. */
  put(): void {
    this.stopWaiting()
    this.#giveBack()
    this.#leave()
    this.open = undefined
    this.standing = 'reading'
    this.#onChange()
  }

  /** Edits if nobody does. */
  edit(): Promise<void> {
    return this.#request({ ifAvailable: true })
  }

  /** Edits as soon as those before are done. */
  async wait(): Promise<void> {
    this.#giveUp = new AbortController()
    this.standing = 'waiting'
    this.#onChange()
    await this.#request({ signal: this.#giveUp.signal })
  }

  stopWaiting(): void {
    this.#giveUp?.abort()
    if (this.standing === 'waiting') this.standing = 'reading'
    this.#onChange()
  }

  /** Edits now, whoever does. */
  takeOver(): Promise<void> {
    this.stopWaiting()
    return this.#request({ steal: true })
  }

  /** Saves what was written and gives the lock back. */
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
    // Without `ok` somebody with a higher fence was faster: the news of it is on its way.
    if (saved) this.#giveBack()
  }

  cancel(): void {
    this.#giveBack()
  }

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
    if (this.open?.id === document.id) this.standing = 'reading'
    this.#onChange()
  }

  /** Edits what the document is now: while this waited, somebody else may have written. */
  async #hold(document: Document, lock: HeldLock): Promise<void> {
    const response = await fetch(`documents/${document.id}`, { signal: lock.signal })
    const fresh = (await response.json()) as Document
    if (this.open?.id !== document.id) return
    this.#lock = lock
    this.standing = 'editing'
    this.loss = undefined
    this.draft = fresh.text
    const given = new Promise<void>((resolve) => {
      this.#giveBack = resolve
    })
    this.#onChange()
    await given
  }
}
