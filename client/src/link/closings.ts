/** What the end of a connection means to the session: come back, or which error. */
import {
  closeCodes,
  type ErrorCode,
  errorCodes,
  HoldfastError,
  isFinalClose,
  redactUrl,
  redactUrls,
} from '@holdfast/shared'
import type { Closing } from '../transport/connection.js'

/**
 * The error of a close code, or of the HTTP status of a refused upgrade, after which a client stays
 * away; undefined: come back with back-off.
 */
export function finalError(url: string, closing: Closing): HoldfastError | undefined {
  const { code, reason, cause } = closing
  const status = statusOf(cause)
  if (status === 401 || status === 403) {
    return new HoldfastError(status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN', refused(url, closing), {
      cause,
    })
  }
  if (!isFinalClose(code)) return undefined
  const error = errorFor(code)
  const sentence = `${errorCodes[error]} (closed with ${code} ${reason})`
  return new HoldfastError(error, sentence, reason === '' ? undefined : { reason })
}

/** The HTTP status with which the broker refused the upgrade, where the platform tells it. */
function statusOf(cause: unknown): number | undefined {
  const { status } = (cause ?? {}) as { readonly status?: unknown }
  return typeof status === 'number' ? status : undefined
}

function refused(url: string, closing: Closing): string {
  return `no connection to ${redactUrl(url)}: ${detailOf(closing)}`
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
  const sentence = `the connection to ${redactUrl(url)} dropped (${detailOf(closing)})${consequence}`
  return new HoldfastError('UNAVAILABLE', sentence, { cause: closing.cause ?? closing })
}

function detailOf({ code, reason, cause, via }: Closing): string {
  const detail = cause instanceof Error ? cause.message : `closed with ${code} ${reason}`.trim()
  return redactUrls(via === undefined ? detail : `${detail}, through the proxy ${via}`)
}

/**
 * Why a try to connect came to nothing, with the advice that fits.
 *
 * @param origin Of the page that this runs in, if it does.
 */
export function unreachable(url: string, closing: Closing, origin?: string): HoldfastError {
  const { code, reason, cause } = closing
  const shown = redactUrl(url)
  if (origin !== undefined && (cause as Error | undefined)?.name === 'SecurityError') {
    const sentence = `the browser does not let pages of ${origin} connect to ${shown}: use wss://`
    return new HoldfastError('INVALID_OPTION', sentence, { cause })
  }
  // What refused it has said why, and what to do.
  if (statusOf(cause) !== undefined) {
    return new HoldfastError('UNAVAILABLE', refused(url, closing), { cause })
  }
  return new HoldfastError(
    'UNAVAILABLE',
    `no Holdfast broker answered at ${shown} (${detailOf(closing)}): ${adviceFor(closing, origin)}`,
    { cause: cause ?? { code, reason } },
  )
}

/** What OpenSSL calls a certificate that no trusted authority has signed. */
const untrusted = /^(DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_(GET_ISSUER_CERT|VERIFY)/

function adviceFor({ code, cause }: Closing, origin: string | undefined): string {
  const { code: name } = (cause ?? {}) as { readonly code?: unknown }
  if (typeof name === 'string' && untrusted.test(name)) {
    return 'give the certificate of its authority by the option ca (--ca)'
  }
  const advice = 'check that one is running there'
  // A browser tells its pages nothing about a refused upgrade, so that all of it looks the same.
  return origin !== undefined && code === 1006 && cause === undefined
    ? `${advice} and that its option origins (--origin) lets pages of ${origin} in`
    : advice
}
