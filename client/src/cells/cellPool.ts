/**
 * The sessions of a `CellSession`: one for each cell, opened at the first use of the cell. If a
 * session cannot be opened, or if an error ends it, the next use of its cell opens another session.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Session } from '../session/session.js'

export interface CellPoolOptions {
  readonly count: number
  /** Opens the session of a cell. Rejects with `ABORTED` when the signal is aborted. */
  open(number: number, signal: AbortSignal): Promise<Session>
  /** Called with each new session, before any caller gets the session. */
  onOpen(session: Session, number: number): void
}

export class CellPool {
  readonly count: number
  readonly #options: CellPoolOptions
  /** The sessions that are open or that are being opened, by the number of the cell. */
  readonly #sessions = new Map<number, Promise<Session>>()
  /** The open sessions by the number of the cell. */
  readonly #openSessions = new Map<number, Session>()
  readonly #closing = new AbortController()
  #closed: Promise<void> | undefined

  constructor(options: CellPoolOptions) {
    this.#options = options
    this.count = options.count
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** The open sessions. */
  get open(): readonly Session[] {
    return [...this.#openSessions.values()]
  }

  /** Whether a session is being opened. */
  get isOpening(): boolean {
    return this.#sessions.size > this.#openSessions.size
  }

  /** Resolves with the session of a cell. @param number From 1 to `count`. */
  session(number: number): Promise<Session> {
    if (this.isClosed) return Promise.reject(new HoldfastError('SESSION_CLOSED'))
    const present = this.#sessions.get(number)
    if (present !== undefined) return present
    const opened = this.#openSession(number)
    this.#sessions.set(number, opened)
    return opened
  }

  /** The numbers of all cells. */
  get numbers(): readonly number[] {
    return Array.from({ length: this.count }, (_, i) => i + 1)
  }

  /** Closes all sessions. Never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const open = this.open
    this.#closing.abort()
    await Promise.all(open.map((session) => session.close()))
  }

  async #openSession(number: number): Promise<Session> {
    try {
      const session = await this.#options.open(number, this.#closing.signal)
      if (this.isClosed) {
        await session.close()
        throw new HoldfastError('SESSION_CLOSED')
      }
      this.#openSessions.set(number, session)
      session.once('closed', () => this.#forget(number))
      this.#options.onOpen(session, number)
      return session
    } catch (error) {
      this.#forget(number)
      throw this.isClosed ? new HoldfastError('SESSION_CLOSED') : error
    }
  }

  #forget(number: number): void {
    this.#sessions.delete(number)
    this.#openSessions.delete(number)
  }
}
