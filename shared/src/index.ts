/**
 * What both halves of Holdfast agree on. Free of Node, of the DOM and of superstruct, so that a
 * browser bundle carries only this; the broker's checks are in `@holdfast/shared/validate`, and
 * what the table may depend on is in `@holdfast/shared/roster`.
 */
export { faultOf, isIntegerFrom } from './brokerMessages.js'
export { type CloseCode, closeCodes, isFinalClose } from './closeCodes.js'
export { joinFrames, parseFrame } from './codec.js'
export { Deadlines } from './deadlines.js'
export {
  type ErrorCode,
  errorCodes,
  type Holder,
  HoldfastError,
  type HoldfastErrorOptions,
  isErrorCode,
  type LostReason,
} from './errors.js'
export { isKey, isPrefix, utf8Length } from './keys.js'
export * from './limits.js'
export * from './messages.js'
export {
  nearest,
  type OptionNames,
  refuseUnknownName,
  refuseUnknownOptions,
} from './strictOptions.js'
export type { Clock, Timer } from './time.js'
export { redactUrl, redactUrls } from './urls.js'
