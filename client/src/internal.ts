/**
 * The other door, for this project's own tests and simulation: what runs a client on a machine of
 * their choice, and the parts that are proved by themselves. Nothing here is promised to anybody.
 */
export { connectIn } from './connect.js'
export * from './locks/expiry.js'
export { TtlExpiry } from './locks/ttlExpiry.js'
export {
  type Environment,
  platformEnvironment,
  type WebSocketConstructor,
  type WebSocketLike,
} from './platform/environment.js'
export type { Page, PageLifecycle } from './platform/page.js'
export { connectTimeoutFor } from './transport/connectTimeout.js'
