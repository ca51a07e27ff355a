/**
 * What both halves of Holdfast agree on. Free of Node, of the DOM and of superstruct, so that a
 * browser bundle carries only this; the broker's checks are in `@holdfast/shared/clientChecks`, and
 * what the table may depend on is in `@holdfast/shared/idTable`.
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
  type LostReason,
} from './errors.js'
export type { Clock, Timer } from './internal/clock.js'
export { DeadlineHeap } from './internal/deadlineHeap.js'
export { isKey, isPrefix, utf8Length } from './keys.js'
export * from './limits.js'
export { faultOf, isIntegerFrom } from './messages/brokerChecks.js'
export * from './messages/messages.js'
export {
  nearest,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
export { redactUrl, redactUrls } from './urls.js'
