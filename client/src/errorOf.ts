/** What the broker calls wrong, as an error of ours. */
import { type Failed, HoldfastError, isErrorCode } from '@holdfast/shared'

/** A newer broker may have codes that are not ours. */
export function errorOf({ code, message, holders }: Failed): HoldfastError {
  return new HoldfastError(isErrorCode(code) ? code : 'UNAVAILABLE', message, { holders })
}
