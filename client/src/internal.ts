/**
 * Internal exports for the tests and the simulation of this project: `connectIn` and
 * `connectCellsIn`, which run a client in a simulated environment, and functions that have tests of
 * their own. An internal export may change in any version.
 */
export { connectCellsIn } from './cells/connectCells.js'
export { mergeLockResults, mergePages, mergeStats } from './cells/merge.js'
export { connectIn } from './connect.js'
export * from './locks/expiry.js'
export {
  type ClockTimes,
  type Environment,
  platformEnvironment,
  readClocks,
} from './platform/environment.js'
export type { Page, PageLifecycleListener } from './platform/page.js'
export type { WebSocketConstructor, WebSocketLike } from './platform/webSocket/types.js'
export { connectTimeoutFor } from './transport/reconnector.js'
