/**
 * Is what the caller gave us usable? Everything is checked here, before it goes anywhere, and what
 * is wrong is said with a code and a sentence.
 */
import {
  HoldfastError,
  isIntegerFrom,
  isKey,
  isPrefix,
  type LockMode,
  maxHelloBytes,
  maxMetadataBytes,
  maxNameLength,
  maxQueryItems,
  maxReasonLength,
  maxTokenLength,
  type OptionNames,
  refuseUnknownOptions,
  utf8Length,
} from '@holdfast/shared'
import type { Tracer } from './locks/tracing.js'
import {
  check,
  checkText,
  isMode,
  isMs,
  isObject,
  wrongMode,
  wrongSignal,
} from './platform/checks.js'
import type { PlatformOptions, WebSocketConstructor } from './platform/environment.js'
import type { SessionSettings } from './session/state.js'
import { type LockParams, messageText, type Selection } from './transport/messages.js'
import type { RetryStrategy } from './transport/retryStrategies.js'
import { checkSecrecy, checkUrls } from './transport/urls.js'
import { isReserved, whatIsReserved } from './webLocks/names.js'

/** How to connect. */
export interface ConnectOptions {
  /** Shown to the broker's `authenticate`; a well-formed string of 1 to 3,072 characters. */
  readonly token?: string | undefined
  /** Shown to others as the holder's name; 1 to 256 characters. */
  readonly name?: string | undefined
  /**
   * The wanted lease in ms: how long the broker keeps the session while it hears nothing from it.
   * The broker's bounds win (2,000 to 300,000, default 15,000).
   */
  readonly lease?: number | undefined
  /**
   * How long the broker keeps the session when its connection drops: in ms, or `'lease'` for all of
   * the lease. Default 0: a drop releases everything at once.
   */
  readonly grace?: number | 'lease' | undefined
  /** Gives up connecting. Without effect once connected. */
  readonly signal?: AbortSignal | undefined
  /**
   * How to come back after a drop; false: not at all. Default: exponential from 100 ms to 5 s,
   * endless, with full jitter.
   */
  readonly reconnect?: RetryStrategy | false | undefined
  /**
   * Send the token over plain `ws://` beyond this machine, where others on the network can read it.
   * Default false: that is `INVALID_OPTION`.
   */
  readonly allowInsecure?: boolean | undefined
  /** Told of every wait and hold, such as `openTelemetry()` of `@holdfast/client/opentelemetry`. */
  readonly tracer?: Tracer | undefined
  /**
   * Certificates of your own authority, in PEM form, to check the broker's by in place of those
   * that Node trusts. In Node only, and not beside `WebSocket`.
   */
  readonly ca?: PlatformOptions['ca']
  /**
   * URL of an HTTP proxy to connect through, loopback addresses included; false: through none.
   * Default: the environment's `HTTPS_PROXY` for `wss://`, `HTTP_PROXY` for `ws://`, or `ALL_PROXY`,
   * unless `NO_PROXY` names the broker; never for loopback addresses. In Node only, and not beside
   * `WebSocket`.
   */
  readonly proxy?: PlatformOptions['proxy']
  /**
   * The session does not keep the process alive, as after `session.unref()`. Default false. Without
   * effect in a browser.
   */
  readonly unref?: boolean | undefined
  /**
   * Warn once for a key that a session waits for while it holds that key itself, by
   * `process.emitWarning` in Node and `console.warn` elsewhere. Default true.
   */
  readonly warnings?: boolean | undefined
  /** A class to use in place of the platform's `WebSocket`. */
  readonly WebSocket?: WebSocketConstructor | undefined
}

/** How to ask for a lock. */
export interface TryLockOptions {
  /** The lock expires this long after its grant or last refresh, in ms; default: it does not. */
  readonly ttl?: number | undefined
  /** Gives up: the request leaves the queue and is rejected with `ABORTED`. */
  readonly signal?: AbortSignal | undefined
  /** `'shared'` locks can be held together. Default `'exclusive'`. */
  readonly mode?: LockMode | undefined
  /** Any JSON value, at most 4 KiB as text and 64 levels deep; shown to others. */
  readonly metadata?: unknown
}

export interface LockOptions extends TryLockOptions {
  /**
   * Gives up after this long, in ms, with `LOCK_TIMEOUT`; 0 is `tryLock`. Default: waits for ever.
   */
  readonly timeout?: number | undefined
  /**
   * Takes the lock from whoever holds it, before all who wait. Exclusive only, and cannot be
   * combined with `timeout`. Default false.
   */
  readonly steal?: boolean | undefined
}

/** Like `LockOptions`, of a lock that callers share. */
export type SingleflightOptions = Omit<LockOptions, 'steal'>

/** How to refresh a lock once. */
export interface RefreshOptions {
  /** Gives up waiting for the answer, with `ABORTED`; the refresh may have been done. */
  readonly signal?: AbortSignal | undefined
}

/** How to keep a lock with a ttl alive. */
export interface AutoRefreshOptions {
  /** From one refresh to the next, in ms, 1 to 2^31 - 1. */
  readonly interval: number
  /** How long each refresh may take, in ms, 1 to 2^31 - 1. */
  readonly timeout: number
}

/** Which lock to end, and why. */
export interface RevokeOptions {
  /** The fence that the lock has, as `query` shows it. */
  readonly fence: number
  /** For the record, and shown to the holder: 1 to 256 characters. */
  readonly reason: string
}

/** What to look at: a key, all keys that begin with a prefix, or (with neither) all. */
export interface QueryOptions {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  /** Most locks, and most waiting requests, to be told of: 1 to 1,000. Default 1,000. */
  readonly limit?: number | undefined
  /**
   * Asks for one page, in the order of keys (as JavaScript compares strings): the first keys after
   * this one, each with all its locks and its whole queue; `''` for the first page. A key that
   * alone has more than `limit` of either is cut, and alone on its page. The counts are then of
   * all from there on. A lock that is held from the first page to the last is on just one of them.
   */
  readonly after?: string | undefined
  /** With `after`: begin with the locks of that key itself whose fence is higher than this. */
  readonly afterFence?: number | undefined
}

export interface CheckedLock {
  readonly terms: LockParams
  readonly timeout: number | undefined
  readonly signal: AbortSignal | undefined
}

export interface CheckedConnect {
  readonly urls: readonly string[]
  readonly settings: SessionSettings
  readonly signal: AbortSignal | undefined
  readonly reconnect: RetryStrategy | false | undefined
  readonly warnings: boolean
  readonly WebSocket: WebSocketConstructor | undefined
  /** Undefined if the platform's WebSocket is to connect as it does by default. */
  readonly platform: PlatformOptions | undefined
  readonly unref: boolean
}

const connectOptions: OptionNames<ConnectOptions> = {
  token: 1,
  name: 1,
  lease: 1,
  grace: 1,
  signal: 1,
  reconnect: 1,
  allowInsecure: 1,
  tracer: 1,
  warnings: 1,
  ca: 1,
  proxy: 1,
  unref: 1,
  WebSocket: 1,
}
export const tryLockOptions: OptionNames<TryLockOptions> = {
  ttl: 1,
  signal: 1,
  mode: 1,
  metadata: 1,
}
const singleflightOptions: OptionNames<SingleflightOptions> = { ...tryLockOptions, timeout: 1 }
const lockOptions: OptionNames<LockOptions> = { ...singleflightOptions, steal: 1 }
const revokeOptions: OptionNames<RevokeOptions> = { fence: 1, reason: 1 }
const selectionOptions: OptionNames<Selection> = { key: 1, prefix: 1 }
const queryOptions: OptionNames<QueryOptions> = {
  ...selectionOptions,
  limit: 1,
  after: 1,
  afterFence: 1,
}
const refreshOptions: OptionNames<RefreshOptions> = { signal: 1 }
const autoRefreshOptions: OptionNames<AutoRefreshOptions> = { interval: 1, timeout: 1 }

/** @throws HoldfastError `INVALID_TTL` or `INVALID_OPTION` */
export function checkConnect(url: unknown, options: ConnectOptions): CheckedConnect {
  refuseUnknownOptions('connect', options, connectOptions)
  const { token, name, lease, grace, signal, reconnect, WebSocket } = options
  const { allowInsecure, tracer, warnings = true, ca, proxy, unref = false } = options
  if (token !== undefined) checkToken(token)
  if (name !== undefined) checkText('name', name, maxNameLength)
  check(lease === undefined || isMs(lease, 1), 'lease must be an integer of ms from 1 to 2^31 - 1')
  check(
    grace === undefined || grace === 'lease' || isMs(grace, 0),
    "grace has to be an integer of ms from 0 to 2^31 - 1, or 'lease'",
  )
  checkSignal(signal)
  check(
    reconnect === undefined || reconnect === false || isStrategy(reconnect),
    'reconnect has to be false or an iterable of delays in ms',
  )
  checkBoolean('allowInsecure', allowInsecure)
  checkBoolean('unref', unref)
  const isDefault = ca === undefined && proxy === undefined
  check(isDefault || WebSocket === undefined, 'give ca and proxy to your own WebSocket class')
  checkBoolean('warnings', warnings)
  check(
    tracer === undefined || (isObject(tracer) && typeof tracer.request === 'function'),
    'tracer must be an object with a function request, such as openTelemetry()',
  )
  check(WebSocket === undefined || typeof WebSocket === 'function', 'WebSocket must be a class')
  const settings = { token, name, lease, grace }
  // A resume adds about 120 bytes, which depend on the broker.
  check(
    utf8Length(messageText('hello', settings)) <= maxHelloBytes - 256,
    'token and name are too long together',
  )
  const urls = checkUrls(url)
  if (token !== undefined && !allowInsecure) checkSecrecy(urls)
  const platform = isDefault ? undefined : { ca, proxy }
  return { urls, settings, signal, reconnect, warnings, WebSocket, platform, unref }
}

function isStrategy(value: unknown): value is RetryStrategy {
  return isObject(value) && typeof (value as RetryStrategy)[Symbol.iterator] === 'function'
}

/**
 * @param what The function that was called.
 * @throws HoldfastError with the code that fits
 */
export function checkLock(
  key: unknown,
  options: LockOptions,
  what = 'lock',
  isOfName = false,
): CheckedLock {
  checkKey(key)
  check(isOfName || !isReserved(key), whatIsReserved, 'INVALID_KEY')
  refuseUnknownOptions(what, options, lockOptions)
  const { ttl, timeout, signal, mode = 'exclusive', metadata, steal = false } = options
  checkTtl(ttl)
  checkTimeout(timeout)
  checkSignal(signal)
  check(isMode(mode), wrongMode)
  checkBoolean('steal', steal)
  check(
    !steal || (mode === 'exclusive' && timeout === undefined),
    'a steal is exclusive and has no timeout',
  )
  const terms = { key, mode, ttl, steal, metadata: metadataText(metadata) }
  return { terms, timeout, signal }
}

/** @throws HoldfastError with the code that fits */
export function checkSingleflight(key: unknown, options: SingleflightOptions): CheckedLock {
  refuseUnknownOptions('singleflightLock', options, singleflightOptions)
  const checked = checkLock(key, options)
  checkTimeout(checked.timeout, 1)
  return checked
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkRevoke(key: unknown, options: RevokeOptions): RevokeOptions {
  checkKey(key)
  check(options !== undefined, 'revoke needs the options fence and reason')
  refuseUnknownOptions('revoke', options, revokeOptions)
  const { fence, reason } = options
  check(isIntegerFrom(fence, 1), 'fence has to be that of a lock')
  checkText('reason', reason, maxReasonLength)
  return { fence, reason }
}

/** @throws HoldfastError `INVALID_OPTION` */
export function checkToken(token: unknown): void {
  checkText('token', token, maxTokenLength)
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkQuery(options: QueryOptions): QueryOptions {
  refuseUnknownOptions('query', options, queryOptions)
  const { key, prefix, limit, after, afterFence } = options
  const selection = checkSelection('query', { key, prefix })
  check(
    limit === undefined || isIntegerFrom(limit, 1, maxQueryItems),
    `limit has to be an integer from 1 to ${maxQueryItems}`,
  )
  check(after === undefined || isPrefix(after), 'after must be a key, or empty', 'INVALID_KEY')
  check(
    afterFence === undefined || isIntegerFrom(afterFence, 1),
    'afterFence must be the fence of a lock',
  )
  check(afterFence === undefined || after !== undefined, 'afterFence goes with after')
  return { ...selection, limit, after, afterFence }
}

/** @throws HoldfastError `INVALID_KEY` or `INVALID_OPTION` */
export function checkSelection(what: string, selection: Selection): Selection {
  check(selection !== undefined, `${what} needs a key or an object with options`)
  refuseUnknownOptions(what, selection, selectionOptions)
  const { key, prefix } = selection
  if (key !== undefined) checkKey(key)
  check(prefix === undefined || isPrefix(prefix), 'prefix cannot begin any key', 'INVALID_KEY')
  check(key === undefined || prefix === undefined, 'give a key or a prefix, not both')
  return { key, prefix }
}

export function checkTtl(ttl: unknown): void {
  check(ttl === undefined || isMs(ttl, 1), undefined, 'INVALID_TTL')
}

export function checkTimeout(timeout: unknown, least: 0 | 1 = 0): void {
  check(timeout === undefined || isMs(timeout, least), undefined, 'INVALID_TIMEOUT')
}

/** @throws HoldfastError `INVALID_TTL` or `INVALID_OPTION` */
export function checkRefresh(ttl: unknown, options: RefreshOptions): void {
  check(!isObject(ttl), 'refresh takes the ttl first, then options: refresh(ttl, { signal })')
  checkTtl(ttl)
  refuseUnknownOptions('refresh', options, refreshOptions)
  checkSignal(options.signal)
}

/**
 * What to refresh by: without options interval and timeout are a third of the ttl each.
 *
 * @throws HoldfastError `INVALID_INTERVAL`, `INVALID_TIMEOUT` or `INVALID_OPTION`
 */
export function checkAutoRefresh(
  options: AutoRefreshOptions | undefined,
  ttl: number | undefined,
): AutoRefreshOptions {
  refuseUnknownOptions('autoRefresh', options, autoRefreshOptions)
  check(options !== undefined || ttl !== undefined, withoutTtl, 'INVALID_INTERVAL')
  const third = Math.max(Math.floor((ttl ?? 0) / 3), 1)
  const { interval, timeout } = options ?? { interval: third, timeout: third }
  check(isMs(interval, 1), undefined, 'INVALID_INTERVAL')
  check(isMs(timeout, 1), undefined, 'INVALID_TIMEOUT')
  check(ttl === undefined || interval + timeout < ttl, undefined, 'INVALID_INTERVAL')
  return { interval, timeout }
}

const withoutTtl = 'the lock has no ttl: give autoRefresh an interval and a timeout'

export function checkSignal(signal: unknown): void {
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>
  const isSignal = typeof aborted === 'boolean' && typeof addEventListener === 'function'
  check(signal === undefined || isSignal, wrongSignal)
}

function checkKey(key: unknown): asserts key is string {
  check(isKey(key), undefined, 'INVALID_KEY')
}

function checkBoolean(name: string, value: unknown): void {
  check(value === undefined || typeof value === 'boolean', `${name} has to be true or false`)
}

function metadataText(metadata: unknown): string | undefined {
  if (metadata === undefined) return undefined
  let text: string | undefined
  let cause: unknown
  try {
    text = JSON.stringify(metadata)
  } catch (error) {
    cause = error
  }
  if (text !== undefined && utf8Length(text) <= maxMetadataBytes) return text
  const sentence = `metadata has to be a JSON value of at most ${maxMetadataBytes} bytes`
  throw new HoldfastError('INVALID_OPTION', sentence, { cause })
}
