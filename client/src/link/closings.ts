/** What the end of a connection means to the session: come back, or which error. */
import { closeCodes, HoldfastError, isFinalClose } from '@holdfast/shared'
import type { Closing } from '../transport/connection.js'

/**
 * The error of a close code after which a client stays away; undefined: come back with back-off.
 */
export function finalError({ code, reason }: Closing): HoldfastError | undefined {
  if (!isFinalClose(code)) return undefined
  switch (code) {
    case closeCodes.unauthorized.code:
      return new HoldfastError(
        'UNAUTHORIZED',
        'the broker did not accept who is asking: check the `token` given to connect',
      )
    case closeCodes.forbidden.code:
      return new HoldfastError('FORBIDDEN', `the broker does not allow this client: ${reason}`)
    case closeCodes.quota.code:
      return new HoldfastError('QUOTA_EXCEEDED', `the broker closed the connection: ${reason}`)
    case closeCodes.badMessage.code:
    case closeCodes.tooBig.code:
      return new HoldfastError(
        'BAD_MESSAGE',
        `the broker refused what this client sent (${code} ${reason}): do their versions fit?`,
      )
    case closeCodes.replaced.code:
      return new HoldfastError('SESSION_EXPIRED', 'the session was taken up on another connection')
    default:
      return new HoldfastError(
        'UNAVAILABLE',
        `the broker closed the connection for good (${code} ${reason})`,
      )
  }
}

/**
 * Why a try to connect came to nothing, with the advice that fits.
 *
 * @param origin Of the page that this runs in, if it does.
 */
export function unreachable(url: string, closing: Closing, origin?: string): HoldfastError {
  const { code, reason, cause } = closing
  if (origin !== undefined && (cause as Error | undefined)?.name === 'SecurityError') {
    const sentence = `the browser does not let pages of ${origin} connect to ${url}: use wss://`
    return new HoldfastError('INVALID_OPTION', sentence, { cause })
  }
  const detail =
    cause instanceof Error
      ? cause.message
      : `closed with ${code}${reason === '' ? '' : ` ${reason}`}`
  let advice = 'check that one is running there'
  // A browser tells its pages nothing about a refused upgrade, so that all of it looks the same.
  if (origin !== undefined && code === 1006 && cause === undefined) {
    advice += ` and that its option origins (--origin) lets pages of ${origin} in`
  }
  const sentence = `no Holdfast broker answered at ${url} (${detail}): ${advice}`
  return new HoldfastError('UNAVAILABLE', sentence, { cause: cause ?? closing })
}
