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
export {
  type BrokerEvents,
  createBroker,
  type HoldfastBroker,
  type Listening,
  type Query,
  type QueryResult,
} from './createBroker.js'
export { type JournalOptions, journalLog } from './log/journal/journal.js'
export type { Log, Replica } from './log/log.js'
export type {
  Authenticate,
  BrokerLimits,
  BrokerOptions,
  Credentials,
  LeaseBounds,
} from './options.js'
