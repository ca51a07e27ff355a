/** The public API of the package `@holdfast/server`, for programs that embed a broker. */
export {
  type ErrorCode,
  errorCodes,
  type HeldInfo,
  type Holder,
  HoldfastError,
  type LockMode,
  type LockStats,
  type WaitingInfo,
} from '@holdfast/shared'
export { type JwtOptions, jwtTokens } from './access/jwt.js'
export { tokenLine, tokensFromFile } from './access/tokensFromFile.js'
export type { BrokerLimits, LimitName, Profile } from './config/limits.js'
export type {
  Authenticate,
  Authorize,
  Credentials,
  Identity,
  Operation,
  PermissionRule,
} from './config/permissions.js'
export type { LeaseBounds, TlsFiles } from './config/settings.js'
export {
  type BrokerEvents,
  createBroker,
  type HoldfastBroker,
  type Query,
  type QueryResult,
} from './createBroker.js'
export type { Listening, ListenOptions } from './http/httpServer.js'
export type { BrokerStatus, LogReport } from './http/status.js'
export type { EtcdAuth, EtcdTls } from './log/etcd/client.js'
export { type EtcdLogOptions, etcdLog } from './log/etcd/etcdLog.js'
export { type JournalOptions, journalLog } from './log/journal/journal.js'
export type { Log, LogLoad, Membership, StateMachine } from './log/log.js'
export type { PostgresTls } from './log/postgres/connection.js'
export { type PostgresLogOptions, postgresLog } from './log/postgres/postgresLog.js'
export type { Logger } from './observability/brokerLogger.js'
export type { JournalStatus, LogStatus } from './observability/logStatus.js'
export type {
  BrokerGauges,
  LockCounters,
  Metrics,
  Observer,
  RefusalCause,
  RefusalNotice,
  TokenNotice,
} from './observability/observer.js'
export type { BrokerOptions } from './options.js'
