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
import type { Environment } from '../platform/environment.js'
import type { Closing } from './connection.js'

type Where = Pick<Environment, 'adviceOn' | 'page'>

/**
 * The error of a close code, or of the HTTP status of a refused upgrade, after which a client stays
 * away; undefined: come back with back-off.
 */
export function finalError(url: string, closing: Closing): HoldfastError | undefined {
  const { code, reason, cause } = closing
  const status = statusOf(cause)
  if (status === 401 || status === 403) {
    return refused(url, closing, status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN')
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

function refused(url: string, closing: Closing, code: ErrorCode): HoldfastError {
  const sentence = `no connection to ${redactUrl(url)}: ${detailOf(closing)}`
  return new HoldfastError(code, sentence, { cause: closing.cause })
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
    case closeCodes.notUtf8.code:
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
 * @param where What is known of the page or process that this runs in.
 */
export function unreachable(url: string, closing: Closing, where: Where): HoldfastError {
  const { code, reason, cause } = closing
  const origin = where.page?.origin
  const shown = redactUrl(url)
  if (origin !== undefined && (cause as Error | undefined)?.name === 'SecurityError') {
    const sentence = `the browser does not let pages of ${origin} connect to ${shown}: use wss://`
    return new HoldfastError('INVALID_OPTION', sentence, { cause })
  }
  // What refused it has said why, and what to do.
  if (statusOf(cause) !== undefined) return refused(url, closing, 'UNAVAILABLE')
  return new HoldfastError(
    'UNAVAILABLE',
    `no Holdfast broker answered at ${shown} (${detailOf(closing)}): ${adviceFor(closing, where)}`,
    { cause: cause ?? { code, reason } },
  )
}

function adviceFor({ code, cause }: Closing, { adviceOn, page }: Where): string {
  const advice = adviceOn?.(cause) ?? 'check that one is running there'
  // A browser tells its pages nothing about a refused upgrade, so that all of it looks the same.
  return page !== undefined && code === 1006 && cause === undefined
    ? `${advice} and that its option origins (--origin) lets pages of ${page.origin} in`
    : advice
}
