/**
 * The main entry point of the package: the parts of the protocol that client and broker share. It
 * imports neither Node nor the DOM nor the library superstruct, so that browser bundles stay small.
 * The other entry points (`client` and `broker` name the sender of the messages):
 * - `@holdfast/shared/clientChecks`: checks messages from clients, and runs in the broker
 * - `@holdfast/shared/brokerChecks`: checks messages from brokers, and runs in the client. This
 *   entry point exports the two stages of the check, for tests
 * - `@holdfast/shared/clientSchemas` and `brokerSchemas`: the schemas of all messages, for tools
 * - `@holdfast/shared/idTable`: a table of objects by numeric id. It is an entry point of its own,
 *   because the broker's core may import nothing else at run time
 */

export { type Cell, cellOfSlot, cellText, parseCell, slotCount, slotOf } from './cells.js'
export { type CloseCode, closeCodes, isFinalClose } from './closeCodes.js'
export { joinFrames, parseFrame } from './codec.js'
export {
  type CycleEntry,
  type ErrorCode,
  errorCodes,
  type Holder,
  HoldfastError,
  type HoldfastErrorOptions,
  isErrorCode,
  type LockLossReason,
  type LostReason,
} from './errors.js'
export type { Clock, Timer } from './internal/clock.js'
export { DeadlineHeap } from './internal/deadlineHeap.js'
export { expiryMargin, safeDuration, slowestClockRate } from './internal/expiryMargin.js'
export { isKey, isPrefix, utf8Length } from './keys.js'
export * from './limits.js'
export * from './messages/brokerMessages.js'
export { faultOfBrokerMessage, isIntegerInRange } from './messages/checkBrokerMessage.js'
export * from './messages/clientMessages.js'
export { redactUrl, redactUrls } from './redactUrls.js'
export {
  nearest,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
