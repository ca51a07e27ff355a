/**
 * The public exports of `@holdfast/client/cells`: `connect` for several cells. Cells are
 * independent brokers or clusters, each with its own part of the keys. The package exports this
 * file separately, so that a page that uses one broker does not load the code for cells.
 */
import type { CellSession } from './cells/cellSession.js'
import { type CellConnectOptions, connectCellsIn } from './cells/connectCells.js'
import { platformEnvironment } from './platform/environment.js'

/**
 * Makes a `CellSession`, which is one session over several cells. Opens no connection yet. The
 * first call for a key of a cell opens an ordinary session in this cell, with all options except
 * `cells`.
 *
 * Rejects with `INVALID_OPTION` if an option is invalid.
 */
export function connect(options: CellConnectOptions): Promise<CellSession> {
  return connectCellsIn(options, platformEnvironment)
}

export { errorCodes, HoldfastError, slotCount, slotOf } from '@holdfast/shared'
export type { CellEvents } from './cells/cellEvents.js'
export type { CellScopeOptions, CellSession, CellSessionOptions } from './cells/cellSession.js'
export type { CellWatchEvent } from './cells/cellWatch.js'
export type { CellConnectOptions } from './cells/connectCells.js'
export { exponentialBackoff, fixedInterval, linearBackoff } from './transport/retryStrategies.js'
