/**
 * The main entry point of the package: the parts of the protocol that client and broker share. The
 * main entry point imports neither Node nor the DOM nor the validation library superstruct, so that
 * browser bundles stay small. The package has these other entry points:
 * - `@holdfast/shared/clientChecks`: the checks that the broker runs on messages from clients
 * - `@holdfast/shared/brokerChecks`: for tests only. The check of a message from a broker has two
 *   stages, and this entry point has one function for each stage. `faultOfBrokerMessage` of the
 *   main entry point runs both stages.
 * - `@holdfast/shared/clientSchemas`: the schemas of all messages from clients, for tools
 * - `@holdfast/shared/brokerSchemas`: the schemas of all messages from brokers, for tools
 * - `@holdfast/shared/idTable`: the class `IdTable`, which stores objects by numeric id. This entry
 *   point exists so that the lock table (`server/src/core`) can import `IdTable` and nothing else.
 *   Every broker's lock table must compute the same results from the same commands. So the lock
 *   table must not import what differs between brokers, such as a clock.
 */

export { type Cell, cellOfSlot, cellText, parseCell, slotCount, slotOf } from './cells.js'
export { type CloseCode, closeCodes, isFinalClose } from './closeCodes.js'
export { joinIntoFrames, parseFrame } from './codec.js'
export {
  type BrokerLossReason,
  type CycleEntry,
  type ErrorCode,
  errorCodes,
  type Holder,
  HoldfastError,
  type HoldfastErrorOptions,
  isErrorCode,
  type LostReason,
} from './errors.js'
export type { Clock, Timer } from './internal/clock.js'
export { DeadlineHeap } from './internal/deadlineHeap.js'
export { expiryMargin, safeDuration, slowestClockRate } from './internal/expiryMargin.js'
export { integerText } from './internal/integerText.js'
export { isKey, isPrefix, utf8Length } from './keys.js'
export * from './limits.js'
export * from './messages/brokerMessages.js'
export {
  faultOfBrokerMessage,
  isIntegerInRange,
  isKnownEvent,
} from './messages/checkBrokerMessage.js'
export * from './messages/clientMessages.js'
export { isWithinJsonLimits } from './messages/jsonLimits.js'
export * from './messages/queryItems.js'
export { parseBrokerFrame } from './parseBrokerFrame.js'
export { parseClientFrame } from './parseClientFrame.js'
export { redactUrl, redactUrls } from './redactUrls.js'
export {
  nearestName,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
