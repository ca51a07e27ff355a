/** What the broker calls wrong, as an error of ours; and errors that name the key. */
import { type Failed, HoldfastError, isErrorCode } from '@holdfast/shared'

/**
 * A newer broker may have codes that are not ours.
 *
 * @param session The id of the session that asked.
 */
export function errorOf({ code, message, holders }: Failed, session: string): HoldfastError {
  const ownCode = isErrorCode(code) ? code : 'UNAVAILABLE'
  if (holders === undefined) return new HoldfastError(ownCode, message)
  const heldByThisSession = holders.some((holder) => holder.session === session)
  const told = heldByThisSession ? `${message}; ${notReentrant}` : message
  return new HoldfastError(ownCode, told, { holders, heldByThisSession })
}

/** For a session that asks for what it holds. */
export const notReentrant = 'this session holds it itself, and locks are not re-entrant'

/** The same error, with the key that the failed call was about. */
export function about(key: string | undefined, error: HoldfastError): HoldfastError {
  if (key === undefined || error.key !== undefined) return error
  // Its details are its own enumerable members; the cause is not enumerable.
  const cause = Object.hasOwn(error, 'cause') && { cause: error.cause }
  return new HoldfastError(error.code, error.message, { ...error, ...cause, key })
}
