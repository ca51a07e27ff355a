/**
 * What a connection needs of the broker: its clock, its scheduler, and whom to tell what arrived.
 */
import type { ClientMessage, Hello } from '@holdfast/shared'
import type { InvalidRequest } from './invalidRequest.js'
import type { WorkScheduler } from './workScheduler.js'

/** Whom a connection belongs to. */
export interface Owner<Connection> {
  /** Shares the broker's time between connections. */
  readonly scheduler: WorkScheduler
  /** Effects of the lock table that this broker has handled so far, and what telling them cost. */
  readonly effectCount: number
  /** Work that one connection may cause in a second, in units; `Infinity` for any. */
  readonly workPerSecond: number
  /** Patient time, in ms. */
  now(): number
  /**
   * Whether what arrives now may be answered. Any answer, a refusal too, tells the client that it
   * was heard and that its lease goes on.
   */
  isLive(): boolean
  onHello(connection: Connection, hello: Hello): void
  /** Whether handling this, which is not checked yet, may take a whole turn. */
  isLong(connection: Connection, element: unknown): boolean
  onMessage(connection: Connection, message: ClientMessage | InvalidRequest): void
  /** There is something to flush at the end of this turn. */
  onOutput(connection: Connection): void
  /** The broker cut this connection: its client may not know yet. Before any `onGone`. */
  onAborted(connection: Connection): void
  /** The socket is closed. */
  onClosed(connection: Connection): void
}
