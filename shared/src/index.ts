/**
 * The main entry point of the package: the parts of the protocol that client and broker share. It
 * imports neither Node nor the DOM nor the library superstruct, so that browser bundles stay small.
 * The other entry points:
 * - `@holdfast/shared/clientChecks`: the check that a broker runs on messages from clients
 * - `@holdfast/shared/clientSchemas` and `brokerSchemas`: the schemas of all messages, for tools
 * - `@holdfast/shared/brokerChecks`: the two stages of the check that a client runs on messages
 *   from brokers, for tests
 * - `@holdfast/shared/idTable`: the only module that the broker's core may import at run time
 */

export { type CloseCode, closeCodes, isFinalClose } from './closeCodes.js'
export { joinFrames, parseFrame } from './codec.js'
export {
  type ErrorCode,
  errorCodes,
  type Holder,
  HoldfastError,
  type HoldfastErrorOptions,
  isErrorCode,
  type LossReason,
  type LostReason,
} from './errors.js'
export type { Clock, Timer } from './internal/clock.js'
export { DeadlineHeap } from './internal/deadlineHeap.js'
export { expiryMargin, safeDuration, slowestClockRate } from './internal/expiryMargin.js'
export { isKey, isPrefix, utf8Length } from './keys.js'
export * from './limits.js'
export * from './messages/brokerMessages.js'
export { faultOf, isIntegerFrom } from './messages/checkBrokerMessage.js'
export * from './messages/clientMessages.js'
export {
  nearest,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
export { redactUrl, redactUrls } from './urls.js'
