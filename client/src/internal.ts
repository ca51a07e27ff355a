/**
 * The other door, for this project's own tests and simulation: what runs a client on a machine of
 * their choice, and the parts that are proved by themselves. Nothing here is promised to anybody.
 */
export { connectIn } from './connect.js'
export {
  type Environment,
  machine,
  type WebSocketConstructor,
  type WebSocketLike,
} from './environment.js'
export { Grant, type GrantOwner } from './grant.js'
export * from './lease.js'
export { finalError } from './link/closings.js'
export * from './messages.js'
export { Pacing } from './pacing.js'
export type { Page, PageWatcher } from './page.js'
export { Resumption, reconcile } from './reconcile.js'
export { LockRequest, RefreshRequest, UnlockRequest } from './requests.js'
export { Schedule, type Task } from './schedule.js'
export { Session } from './session.js'
export { TtlBound } from './ttl.js'
