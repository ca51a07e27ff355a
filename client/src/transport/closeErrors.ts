/**
 * Converts the end of a connection to an error, and decides whether the client may reconnect. The
 * close code of the WebSocket says why a connection ended. An upgrade is the HTTP request with
 * which a WebSocket begins; a server may refuse the upgrade.
 */
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

type Platform = Pick<Environment, 'adviceOnConnectionError' | 'page'>

/**
 * The errors for close codes after which the client must not reconnect. All other such codes give
 * `UNAVAILABLE`.
 */
const errorOfCloseCode: Readonly<Record<number, ErrorCode>> = {
  [closeCodes.unauthorized.code]: 'UNAUTHORIZED',
  [closeCodes.forbidden.code]: 'FORBIDDEN',
  [closeCodes.quota.code]: 'QUOTA_EXCEEDED',
  [closeCodes.wrongCell.code]: 'INVALID_OPTION',
  [closeCodes.badMessage.code]: 'BAD_MESSAGE',
  [closeCodes.notUtf8.code]: 'BAD_MESSAGE',
  [closeCodes.tooBig.code]: 'BAD_MESSAGE',
  [closeCodes.replaced.code]: 'SESSION_EXPIRED',
}

/**
 * Returns the error if the client must not reconnect, because of the close code or because of the
 * HTTP status of a refused upgrade. Returns undefined if the client may reconnect.
 */
export function finalError(url: string, closing: Closing): HoldfastError | undefined {
  const { code, reason, cause } = closing
  const status = statusOf(cause)
  if (status === 401 || status === 403) {
    return refusedError(url, closing, status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN')
  }
  if (!isFinalClose(code)) return undefined
  const errorCode = errorOfCloseCode[code] ?? 'UNAVAILABLE'
  const message = `${errorCodes[errorCode]} (closed with ${code} ${reason})`
  return new HoldfastError(errorCode, message, reason === '' ? undefined : { reason })
}

/** The HTTP status of a refused upgrade; undefined if the platform does not show the status. */
function statusOf(cause: unknown): number | undefined {
  const { status } = (cause ?? {}) as { readonly status?: unknown }
  return typeof status === 'number' ? status : undefined
}

function refusedError(url: string, closing: Closing, code: ErrorCode): HoldfastError {
  const message = `no connection to ${redactUrl(url)}: ${describe(closing)}`
  return new HoldfastError(code, message, { cause: closing.cause })
}

/**
 * Makes the error of an open connection that dropped.
 *
 * @param giveUpReason Why the client does not reconnect; empty if the client reconnects.
 */
export function droppedError(url: string, closing: Closing, giveUpReason = ''): HoldfastError {
  const message = `the connection to ${redactUrl(url)} dropped (${describe(closing)})${giveUpReason}`
  return new HoldfastError('UNAVAILABLE', message, { cause: closing.cause ?? closing })
}

function describe({ code, reason, cause, via }: Closing): string {
  const text = cause instanceof Error ? cause.message : `closed with ${code} ${reason}`.trim()
  return redactUrls(via === undefined ? text : `${text}, through the proxy ${via}`)
}

/** Makes the error of a failed try to connect, with advice on how to fix the cause. */
export function unreachableError(url: string, closing: Closing, platform: Platform): HoldfastError {
  const { code, reason, cause } = closing
  const origin = platform.page?.origin
  const safeUrl = redactUrl(url)
  if (origin !== undefined && (cause as Error | undefined)?.name === 'SecurityError') {
    const message = `the browser does not let pages of ${origin} connect to ${safeUrl}: use wss://`
    return new HoldfastError('INVALID_OPTION', message, { cause })
  }
  // A refused upgrade has a `cause` whose message contains advice already.
  if (statusOf(cause) !== undefined) return refusedError(url, closing, 'UNAVAILABLE')
  return new HoldfastError(
    'UNAVAILABLE',
    `no Holdfast broker answered at ${safeUrl} (${describe(closing)}): ${advice(closing, platform)}`,
    { cause: cause ?? { code, reason } },
  )
}

function advice({ code, cause }: Closing, { adviceOnConnectionError, page }: Platform): string {
  const text = adviceOnConnectionError?.(cause) ?? 'check that a broker runs there'
  // A browser reports a refused upgrade as a WebSocket that ended without a close code (1006) and
  // without an error. So the advice then also names the option that may cause a refusal.
  return page !== undefined && code === 1006 && cause === undefined
    ? `${text} and that its option \`origins\` (--origin or --dev) lets pages of ${page.origin} in`
    : text
}
