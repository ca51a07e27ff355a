/**
 * The other door, for this project's own tests and simulation: what runs a client on a machine of
 * their choice, and the parts that are proved by themselves. Nothing here is promised to anybody.
 */
export { connectIn } from './connect.js'
export {
  type Environment,
  platformEnvironment,
  type WebSocketConstructor,
  type WebSocketLike,
} from './environment.js'
export * from './lease.js'
export { connectTimeoutFor } from './link/patience.js'
export type { Page, PageLifecycle } from './page.js'
export { TtlExpiry } from './ttl.js'
