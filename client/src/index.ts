/**
 * The public exports of `@holdfast/client`. Classes such as `Lock` and `Session` are exported as
 * types only, because only the client itself makes their objects.
 */
export {
  type BarrierCallInfo,
  type CycleEntry,
  type DequeueReason,
  type ErrorCode,
  errorCodes,
  type HeldInfo,
  type Holder,
  HoldfastError,
  type KeptResultInfo,
  type LockDetails,
  type LockEvent,
  type LockItem,
  type LockMode,
  type LockStats,
  type LostReason,
  type QueryKind,
  type QueuedInfo,
  type QueueEvent,
  type RefusedDeadlock,
  type SessionInfo,
  type WaitingInfo,
} from '@holdfast/shared'
export { type BrokerUrl, connect } from './connect.js'
export type { CampaignOptions, Leadership } from './locks/leadership.js'
export type { Lock } from './locks/lock.js'
export type { UpgradeOptions } from './locks/modeChanges.js'
export type { OnceOptions, Run } from './locks/once.js'
export type {
  AutoRefreshOptions,
  LockOptions,
  LockSetItem,
  LockSetOptions,
  RefreshOptions,
  SingleflightOptions,
  TryLockOptions,
  TryLockSetOptions,
} from './locks/options.js'
export type { Scope, ScopeLockOptions, ScopeOptions } from './locks/scope.js'
export type { HoldTrace, RequestTrace, Tracer } from './locks/tracing.js'
export type { ConnectOptions } from './options.js'
export type { WebSocketConstructor, WebSocketLike } from './platform/webSocket/types.js'
export type { BarrierOptions } from './requests/barrierRequest.js'
export type {
  BarrierQueryResult,
  KeptQueryResult,
  QueryOptions,
  QueryResult,
  RecordQueryOptions,
  RevokeOptions,
  SessionQueryOptions,
  SessionQueryResult,
} from './requests/simpleRequests.js'
export type { Leader, ObserveOptions } from './session/observation.js'
export type { Session } from './session/session.js'
export type {
  LostLock,
  SessionEmitter,
  SessionEvents,
  SessionState,
} from './session/sessionEvents.js'
// `RefusedEvent` and `StateEvent` are two kinds of `WatchEvent`, the events of a watch.
export type {
  RefusedEvent,
  StateEvent,
  Watch,
  WatchCallback,
  WatchEvent,
  WatchSelection,
} from './session/watch.js'
export type { ContendedNotice, QueuedNotice, WatchOptions } from './transport/messages.js'
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
export type { HeldLock, LockCallback } from './webLocks/heldLock.js'
export type { LockInfo, LockManager, LockManagerSnapshot } from './webLocks/lockManager.js'
export { keyForName, nameForKey } from './webLocks/names.js'
