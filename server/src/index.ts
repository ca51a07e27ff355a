/** The broker, to embed: everything public, name by name. */
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
export type { BrokerLimits, LimitName, Profile } from './access/limits.js'
export type {
  Authenticate,
  Authorize,
  Credentials,
  Grant,
  Identity,
  Operation,
} from './access/permissions.js'
export { tokenLine, tokensFromFile } from './access/tokens.js'
export {
  type BrokerEvents,
  createBroker,
  type HoldfastBroker,
  type Query,
  type QueryResult,
} from './createBroker.js'
export type { Listening, ListenOptions } from './host/http.js'
export type { EtcdAuth } from './log/etcd/client.js'
export { type EtcdLogOptions, etcdLog } from './log/etcd/etcdLog.js'
export type { EtcdTls } from './log/etcd/transport.js'
export { type JournalOptions, journalLog } from './log/journal/journal.js'
export type { JournalStatus, Log, LogLoad, LogStatus, Replica, Sharing } from './log/log.js'
export type { Logger } from './observe/logLines.js'
export type { Metrics, Observer, RefusalCause, RefusalNotice, Vitals } from './observe/observer.js'
export type { BrokerStatus, LogReport } from './observe/status.js'
export type { BrokerOptions, LeaseBounds, TlsFiles } from './options.js'
