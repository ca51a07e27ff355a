/** The public door of `@holdfast/client`: every name that it promises to keep, one by one. */
export {
  type ErrorCode,
  errorCodes,
  type HeldInfo,
  type Holder,
  HoldfastError,
  type LockEvent,
  type LockMode,
  type LockStats,
  type LostReason,
  type WaitingInfo,
} from '@holdfast/shared'
export { type BrokerUrl, connect } from './connect.js'
export type { Lock } from './locks/lock.js'
export type { HoldTrace, RequestTrace, Tracer } from './locks/tracing.js'
export type {
  AutoRefreshOptions,
  ConnectOptions,
  LockOptions,
  QueryOptions,
  RefreshOptions,
  RevokeOptions,
  SingleflightOptions,
  TryLockOptions,
} from './options.js'
export type { WebSocketConstructor, WebSocketLike } from './platform/environment.js'
export type { QueryResult } from './requests/simpleRequests.js'
export type { Emitter } from './session/emitter.js'
export type { Session } from './session/session.js'
export type { LostLock, SessionEvents } from './session/sessionEvents.js'
export type { SessionState } from './session/state.js'
export type { RefusedEvent, StateEvent, Watch, WatchEvent } from './session/watch.js'
export {
  type ExponentialBackoffOptions,
  exponentialBackoff,
  type FixedIntervalOptions,
  fixedInterval,
  type LinearBackoffOptions,
  linearBackoff,
  type RetryLimits,
  type RetryStrategy,
} from './transport/retryStrategies.js'
export type { LockRequestOptions } from './webLocks/arguments.js'
export type { HeldLock } from './webLocks/heldLock.js'
export type {
  LockCallback,
  LockInfo,
  LockManager,
  LockManagerSnapshot,
} from './webLocks/lockManager.js'
export { keyForName, nameForKey } from './webLocks/names.js'
