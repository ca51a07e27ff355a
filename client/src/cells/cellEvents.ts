/**
 * The events of a `CellSession`, which is one session over several cells. Cells are independent
 * brokers or clusters, each with its own part of the keys. A `CellSession` emits the events of the
 * sessions in its cells, with the number of the cell as the last argument. `closed` concerns all
 * cells and has no number.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { EventNames, LostLock } from '../session/sessionEvents.js'

/**
 * The events of a `CellSession`, each with the type of its listeners. `cell` is the number of the
 * cell, from 1.
 */
export interface CellEvents {
  /**
   * The connection to a cell has dropped; see `SessionEvents`. Emitted only if the session has a
   * grace, which is how long a broker keeps a session after its connection dropped.
   */
  jeopardy: (error: HoldfastError, cell: number) => void
  /** The session of a cell was resumed. */
  resumed: (cell: number) => void
  /** A new session has replaced the session of a cell. Only the locks in this cell are lost. */
  newSession: (cell: number) => void
  /** A lock was lost before the caller unlocked the lock. */
  lost: (lock: LostLock, cell: number) => void
  /** A broker of a cell stops in at most `within` ms. */
  draining: (event: { readonly within: number }, cell: number) => void
  /** The token expires at a cell in `within` ms. `authenticate` renews the token at all cells. */
  expiring: (event: { readonly within: number }, cell: number) => void
  /**
   * An error has ended the session of a cell, and its locks are lost. The other cells go on. The
   * next call for a key of this cell opens a new session.
   */
  cellClosed: (error: HoldfastError, cell: number) => void
  /**
   * The caller has closed the `CellSession`. The argument is always undefined, because an error
   * ends only the session of one cell; see `cellClosed`.
   */
  closed: (error: undefined) => void
}

/** The names of all events; the value 1 has no meaning. */
export const cellEventNames: EventNames<CellEvents> = {
  jeopardy: 1,
  resumed: 1,
  newSession: 1,
  lost: 1,
  draining: 1,
  expiring: 1,
  cellClosed: 1,
  closed: 1,
}
