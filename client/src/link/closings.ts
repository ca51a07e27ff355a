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

/** Why a try to connect came to nothing, with the advice that fits. */
export function unreachable(url: string, closing: Closing): HoldfastError {
  const detail =
    closing.cause instanceof Error
      ? closing.cause.message
      : `closed with ${closing.code}${closing.reason === '' ? '' : ` ${closing.reason}`}`
  return new HoldfastError(
    'UNAVAILABLE',
    `no Holdfast broker answered at ${url} (${detail}): check that one is running there`,
    { cause: closing.cause ?? closing },
  )
}
