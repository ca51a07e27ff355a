/**
 * A watch of several cells, and an observation of an election. A watch reports the changes of
 * locks, and an observation reports who leads an election. Cells are independent brokers or
 * clusters, each with a session of its own. A watch begins in each cell as soon as the session of
 * this cell is open. An observation first opens the session of the cell that has the election.
 */
import type { HoldfastError, LockEvent } from '@holdfast/shared'
import { asyncDispose, callSafely, dispose } from '../platform/callbacks.js'
import type { Leader } from '../session/observation.js'
import type { Session } from '../session/session.js'
import type { RefusedEvent, StateEvent, Watch, WatchCallback } from '../session/watch.js'
import type { WatchOptions } from '../transport/messages.js'
import type { CellPool } from './cellPool.js'

/**
 * An event of a watch of cells. Each cell first sends the state of its keys, and sends the state
 * again after each reconnect. `cell` is the number of the cell, from 1. If a cell refuses the
 * watch, the watch goes on in the other cells.
 */
export type CellWatchEvent =
  | (StateEvent & { readonly cell: number })
  | LockEvent
  | (RefusedEvent & { readonly cell: number })

/** The callback of a watch of cells. Its type always includes the events of queues. */
export type CellWatchCallback = WatchCallback</* HasQueue */ true, CellWatchEvent>

/**
 * Watches several cells. Returns the handle of the watch before the sessions are open.
 *
 * @param cells The numbers of the cells, from 1.
 */
export function watchCells(
  pool: CellPool,
  cells: readonly number[],
  selection: WatchOptions,
  callback: CellWatchCallback,
): Watch {
  const closeFunctions = cells.map((cell) => watchCell(pool, cell, selection, callback))
  const close = () => {
    for (const closeInCell of closeFunctions) closeInCell()
  }
  return { close, [dispose]: close }
}

/** Watches one cell. Returns a function that ends the watch in this cell. */
function watchCell(
  pool: CellPool,
  cell: number,
  selection: WatchOptions,
  callback: CellWatchCallback,
): () => void {
  /** Whether the watch of this cell is over. */
  let isOver = false
  /** Ends the watch of the session; does nothing while the session is not open. */
  let stop = () => {}
  // Called when the session of the cell could not be opened, or has ended. `error` is undefined if
  // the caller has closed the session; then the callback gets no event.
  const onSessionEnded = (error: HoldfastError | undefined) => {
    if (isOver || error === undefined || pool.isClosed) return
    isOver = true
    callSafely(() => callback({ event: 'refused', error, cell }))
  }
  pool.session(cell).then((session) => {
    if (isOver) return
    // `boolean`, because only the caller of `watchCells` knows whether the selection has `queue`.
    const watch = session.watch</* HasQueue */ boolean>(selection, (event) => {
      // The other events need no cell number, because their key determines the cell.
      callback(event.event === 'state' || event.event === 'refused' ? { ...event, cell } : event)
    })
    session.on('closed', onSessionEnded)
    stop = () => {
      watch.close()
      session.off('closed', onSessionEnded)
    }
  }, onSessionEnded)
  return () => {
    isOver = true
    stop()
  }
}

/**
 * Iterates over the leaders of an election; yields undefined while there is no leader. The first
 * call of `next` opens the session.
 */
export class CellObservation implements AsyncIterableIterator<Leader | undefined> {
  readonly #openSession: () => Promise<Session>
  readonly #observe: (session: Session) => AsyncIterableIterator<Leader | undefined>
  #observation: Promise<AsyncIterableIterator<Leader | undefined>> | undefined
  #isOver = false

  constructor(
    openSession: () => Promise<Session>,
    observe: (session: Session) => AsyncIterableIterator<Leader | undefined>,
  ) {
    this.#openSession = openSession
    this.#observe = observe
  }

  async next(): Promise<IteratorResult<Leader | undefined, undefined>> {
    if (this.#isOver) return { done: true, value: undefined }
    this.#observation ??= this.#openSession().then(this.#observe)
    try {
      return await (await this.#observation).next()
    } catch (error) {
      this.#isOver = true
      throw error
    }
  }

  /** Ends the observation, as `break` does in a `for await` loop. */
  async return(): Promise<IteratorResult<Leader | undefined, undefined>> {
    this.#isOver = true
    await this.#observation?.then((observation) => observation.return?.()).catch(() => {})
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [asyncDispose](): Promise<void> {
    await this.return()
  }
}
