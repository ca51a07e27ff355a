/** What the end of a connection means to the session: come back, or which error. */
import {
  closeCodes,
  type ErrorCode,
  errorCodes,
  HoldfastError,
  isFinalClose,
} from '@holdfast/shared'
import type { Closing } from '../transport/connection.js'

/**
 * The error of a close code after which a client stays away; undefined: come back with back-off.
 */
export function finalError({ code, reason }: Closing): HoldfastError | undefined {
  if (!isFinalClose(code)) return undefined
  const error = errorFor(code)
  return new HoldfastError(error, `${errorCodes[error]} (closed with ${code} ${reason})`)
}

function errorFor(code: number): ErrorCode {
  switch (code) {
    case closeCodes.unauthorized.code:
      return 'UNAUTHORIZED'
    case closeCodes.forbidden.code:
      return 'FORBIDDEN'
    case closeCodes.quota.code:
      return 'QUOTA_EXCEEDED'
    case closeCodes.badMessage.code:
    case closeCodes.tooBig.code:
      return 'BAD_MESSAGE'
    case closeCodes.replaced.code:
      return 'SESSION_EXPIRED'
    default:
      return 'UNAVAILABLE'
  }
}

/** Why a connection that was up is gone. */
export function dropped(url: string, closing: Closing, consequence = ''): HoldfastError {
  const sentence = `the connection to ${url} dropped (${detailOf(closing)})${consequence}`
  return new HoldfastError('UNAVAILABLE', sentence, { cause: closing.cause ?? closing })
}

function detailOf({ code, reason, cause }: Closing): string {
  return cause instanceof Error ? cause.message : `closed with ${code} ${reason}`.trim()
}

/**
 * Why a try to connect came to nothing, with the advice that fits.
 *
 * @param origin Of the page that this runs in, if it does.
 */
export function unreachable(
  url: string,
  { code, reason, cause }: Closing,
  origin?: string,
): HoldfastError {
  if (origin !== undefined && (cause as Error | undefined)?.name === 'SecurityError') {
    const sentence = `the browser does not let pages of ${origin} connect to ${url}: use wss://`
    return new HoldfastError('INVALID_OPTION', sentence, { cause })
  }
  const detail = detailOf({ code, reason, cause })
  let advice = 'check that one is running there'
  // A browser tells its pages nothing about a refused upgrade, so that all of it looks the same.
  if (origin !== undefined && code === 1006 && cause === undefined) {
    advice += ` and that its option origins (--origin) lets pages of ${origin} in`
  }
  return new HoldfastError(
    'UNAVAILABLE',
    `no Holdfast broker answered at ${url} (${detail}): ${advice}`,
    { cause: cause ?? { code, reason } },
  )
}
