/**
 * The sessions of a `CellSession`, which is one session over several cells. Cells are independent
 * brokers or clusters. The pool has one session for each cell, and opens this session at the first
 * use of the cell. If a session cannot be opened, or if an error ends the session, the next use of
 * its cell opens another session. A cell is named by its number, from 1.
 */
import { HoldfastError } from '@holdfast/shared'
import { onAbort, throwIfAborted } from '../platform/callbacks.js'
import { checkSignal } from '../platform/checks.js'
import { withKey } from '../requests/requests.js'
import type { Session } from '../session/session.js'

export interface CellPoolOptions {
  /** How many cells there are. */
  readonly count: number
  /** Opens the session of a cell. Rejects with `ABORTED` when the signal is aborted. */
  open(cell: number, signal: AbortSignal): Promise<Session>
  /** Called with each new session, before any caller gets the session. */
  onOpen(session: Session, cell: number): void
}

export class CellPool {
  readonly count: number
  readonly #options: CellPoolOptions
  /** The sessions that are open or that are being opened, by the number of the cell. */
  readonly #sessions = new Map<number, Promise<Session>>()
  /** The open sessions by the number of the cell. */
  readonly #openSessions = new Map<number, Session>()
  /** Cancels the opening of sessions when the pool is closed. */
  readonly #abortController = new AbortController()
  /** The promise of `close`; undefined before the first call. */
  #closing: Promise<void> | undefined

  constructor(options: CellPoolOptions) {
    this.#options = options
    this.count = options.count
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  get openSessions(): readonly Session[] {
    return [...this.#openSessions.values()]
  }

  /** Whether a session is being opened. */
  get isOpening(): boolean {
    return this.#sessions.size > this.#openSessions.size
  }

  /**
   * Resolves with the session of a cell. Rejects with the error of `open`; after `close`, rejects
   * with `SESSION_CLOSED`.
   *
   * @param cell From 1 to `count`.
   */
  session(cell: number): Promise<Session> {
    if (this.isClosed) return Promise.reject(new HoldfastError('SESSION_CLOSED'))
    const existing = this.#sessions.get(cell)
    if (existing !== undefined) return existing
    const opening = this.#open(cell)
    this.#sessions.set(cell, opening)
    return opening
  }

  /**
   * Like `session`, but rejects with `ABORTED` if the signal is aborted before the session is open.
   *
   * @param key The key that the error names; undefined if the caller gave a cell and no key.
   */
  async sessionWithSignal(
    cell: number,
    signal: AbortSignal | undefined,
    key?: string,
  ): Promise<Session> {
    checkSignal(signal)
    throwIfAborted(signal, key)
    const opening = this.session(cell)
    if (signal === undefined) return opening
    return new Promise((resolve, reject) => {
      const stopListening = onAbort(signal, (error) => reject(withKey(key, error)))
      opening.then(resolve, reject).finally(stopListening)
    })
  }

  /** Calls `call` with the session of each cell. Rejects if a cell cannot be reached. */
  inAllCells<T>(call: (session: Session, cell: number) => Promise<T>): Promise<T[]> {
    return Promise.all(this.cellNumbers.map(async (cell) => call(await this.session(cell), cell)))
  }

  /** The numbers of all cells. */
  get cellNumbers(): readonly number[] {
    return Array.from({ length: this.count }, (_, i) => i + 1)
  }

  /** Closes all open sessions, and cancels the opening of the others. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { openSessions } = this
    this.#abortController.abort()
    await Promise.all(openSessions.map((session) => session.close()))
  }

  async #open(cell: number): Promise<Session> {
    try {
      const session = await this.#options.open(cell, this.#abortController.signal)
      if (this.isClosed) {
        // The session was opened just before `close` cancelled the opening.
        await session.close()
        throw new HoldfastError('SESSION_CLOSED')
      }
      this.#openSessions.set(cell, session)
      // This listener is added before those of `onOpen`, so that it runs first. A `session(cell)`
      // call in the other listeners then opens a new session.
      session.once('closed', () => this.#forget(cell))
      this.#options.onOpen(session, cell)
      return session
    } catch (error) {
      this.#forget(cell)
      throw this.isClosed ? new HoldfastError('SESSION_CLOSED') : error
    }
  }

  #forget(cell: number): void {
    this.#sessions.delete(cell)
    this.#openSessions.delete(cell)
  }
}
