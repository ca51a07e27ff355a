/**
 * The entry point of the package: the protocol for a client and a broker. These modules use neither
 * Node nor the DOM nor superstruct, so a browser bundle has nothing else of this package. The other
 * entry points:
 * - `@holdfast/shared/clientChecks`: the broker's check of messages from clients
 * - `@holdfast/shared/clientSchemas` and `brokerSchemas`: the schemas of all messages, for tools
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
export { faultOf, isIntegerFrom } from './messages/brokerChecks.js'
export * from './messages/brokerMessages.js'
export * from './messages/clientMessages.js'
export {
  nearest,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
export { redactUrl, redactUrls } from './urls.js'
