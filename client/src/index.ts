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
export type { Emitter } from './emitter.js'
export type { WebSocketConstructor, WebSocketLike } from './environment.js'
export type { Lock } from './lock.js'
export type { LockRequestOptions } from './locks/arguments.js'
export type { HeldLock } from './locks/heldLock.js'
export type {
  LockCallback,
  LockInfo,
  LockManager,
  LockManagerSnapshot,
} from './locks/lockManager.js'
export { keyForName, nameForKey } from './locks/names.js'
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
export type { QueryResult } from './questions.js'
export {
  type ExponentialBackoffOptions,
  exponentialBackoff,
  type FixedIntervalOptions,
  fixedInterval,
  type LinearBackoffOptions,
  linearBackoff,
  type RetryLimits,
  type RetryStrategy,
} from './retry/strategies.js'
export type { Session } from './session.js'
export type { LostLock, SessionEvents } from './sessionEvents.js'
export type { SessionState } from './state.js'
export type { HoldTrace, RequestTrace, Tracer } from './tracing.js'
export type { RefusedEvent, StateEvent, Watch, WatchEvent } from './watch.js'
