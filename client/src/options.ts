/** The options of `connect`, and their checks. */
import {
  maxHelloBytes,
  maxNameLength,
  type OptionNames,
  refuseUnknownOptions,
  utf8Length,
} from '@holdfast/shared'
import type { Tracer } from './locks/tracing.js'
import {
  check,
  checkBoolean,
  checkMs,
  checkSignal,
  checkText,
  isMs,
  isObject,
  notAllowed,
} from './platform/checks.js'
import type { PlatformOptions, WebSocketConstructor } from './platform/webSocket/types.js'
import { checkToken } from './requests/simpleRequests.js'
import type { SessionSettings } from './session/sessionEvents.js'
import { messageText } from './transport/messages.js'
import type { RetryStrategy } from './transport/retryStrategies.js'
import { checkTokenSecrecy, checkUrls } from './transport/urls.js'

/** The options of `connect`. */
export interface ConnectOptions {
  /**
   * The token that the broker's function `authenticate` checks; 1 to 3,072 characters, without lone
   * surrogates.
   */
  readonly token?: string | undefined
  /** The name of the session, which other sessions can see; 1 to 256 characters. */
  readonly name?: string | undefined
  /**
   * The requested lease in ms: how long the broker keeps the session without hearing from the
   * client. The broker limits the lease to a range, by default from 2,000 to 300,000. Without this
   * option the broker chooses the lease, by default 15,000.
   */
  readonly lease?: number | undefined
  /**
   * The requested grace: how long the broker keeps the session after its connection dropped. In ms,
   * or `'lease'` for a grace as long as the lease. Default 0: a drop releases all locks.
   */
  readonly grace?: number | 'lease' | undefined
  /**
   * If this signal is aborted, `connect` rejects with `ABORTED`. The signal has no effect after
   * `connect` has resolved.
   */
  readonly signal?: AbortSignal | undefined
  /**
   * The delays before the rounds of a reconnect, in ms; a round tries each URL once. With false,
   * the client does not reconnect. Default: an unlimited number of delays, which double from 100 ms
   * up to 5 s. Each of these delays is multiplied by a random number from 0 to 1.
   */
  readonly reconnect?: RetryStrategy | false | undefined
  /**
   * Allows a token over plain `ws://` to another machine, although every machine on the way can
   * read the token. Default false: for such a token and URL, `connect` rejects with
   * `INVALID_OPTION`.
   */
  readonly allowInsecure?: boolean | undefined
  /**
   * Traces how long the session waits for each lock and holds it. Example: `openTelemetry()` of
   * `@holdfast/client/opentelemetry`.
   */
  readonly tracer?: Tracer | undefined
  /**
   * Certificates of your own authorities in PEM form, which replace the authorities that Node
   * trusts. In Node only, and not together with `WebSocket`.
   */
  readonly ca?: PlatformOptions['ca']
  /**
   * URL of an HTTP proxy for all brokers, whatever `NO_PROXY` says. With false, the client uses no
   * proxy. Default: the URL in `HTTPS_PROXY` for `wss://`, or in `HTTP_PROXY` for `ws://`; if that
   * variable is not set, the URL in `ALL_PROXY`. The default does not apply to brokers that
   * `NO_PROXY` names, nor to loopback addresses. In Node only, and not together with `WebSocket`.
   */
  readonly proxy?: PlatformOptions['proxy']
  /**
   * Lets the process end although the session is open, as `session.unref()` does. Default false.
   * The option has no effect in a browser.
   */
  readonly unref?: boolean | undefined
  /**
   * Whether the client warns, once for each key, when the session waits for a lock that it holds
   * itself. Uses `process.emitWarning` in Node and `console.warn` elsewhere. Default true.
   */
  readonly warnings?: boolean | undefined
  /** A class that replaces the platform's `WebSocket`. */
  readonly WebSocket?: WebSocketConstructor | undefined
}

/** The checked options of `connect`. */
export interface CheckedConnectOptions {
  readonly urls: readonly string[]
  /** The options that the client sends in `hello`. */
  readonly settings: SessionSettings
  readonly signal: AbortSignal | undefined
  readonly reconnect: RetryStrategy | false | undefined
  readonly tracer: Tracer | undefined
  readonly warnings: boolean
  readonly WebSocket: WebSocketConstructor | undefined
  /** Undefined if the platform's WebSocket connects with its defaults. */
  readonly platformOptions: PlatformOptions | undefined
  readonly unref: boolean
}

/**
 * The names of the options of `connect`. `checkConnect` refuses an option with another name. The
 * value 1 has no meaning.
 */
export const connectOptionNames: OptionNames<ConnectOptions> = {
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

/**
 * Checks the arguments of `connect`.
 * @throws HoldfastError `INVALID_OPTION`
 */
export function checkConnect(url: unknown, options: ConnectOptions): CheckedConnectOptions {
  refuseUnknownOptions('connect', options, connectOptionNames)
  const { token, name, lease, grace, signal, reconnect, WebSocket } = options
  const { allowInsecure, tracer, warnings = true, ca, proxy, unref = false } = options
  if (token !== undefined) checkToken(token)
  if (name !== undefined) checkText('name', name, maxNameLength)
  if (lease !== undefined) checkMs('lease', lease, 1)
  if (grace !== undefined && grace !== 'lease' && !isMs(grace, 0))
    throw notAllowed('grace', "an integer of ms from 0 to 2^31 - 1, or 'lease'", grace)
  checkSignal(signal)
  check(
    reconnect === undefined || reconnect === false || isStrategy(reconnect),
    'reconnect must be false or an iterable of delays in ms',
  )
  checkBoolean('allowInsecure', allowInsecure)
  checkBoolean('unref', unref)
  const usesPlatformDefaults = ca === undefined && proxy === undefined
  check(
    usesPlatformDefaults || WebSocket === undefined,
    'ca and proxy cannot be combined with WebSocket: your own WebSocket class must apply them',
  )
  checkBoolean('warnings', warnings)
  check(
    tracer === undefined || (isObject(tracer) && typeof tracer.request === 'function'),
    'tracer must be an object with a function request, such as openTelemetry()',
  )
  check(WebSocket === undefined || typeof WebSocket === 'function', 'WebSocket must be a class')
  const settings = { token, name, lease, grace }
  // 256 bytes stay free for the field `resume`, which the client adds to `hello` at a reconnect.
  // The field usually takes about 120 bytes; the broker chooses the length of the field.
  check(
    utf8Length(messageText('hello', settings)) <= maxHelloBytes - 256,
    'token and name are too long together',
  )
  const urls = checkUrls(url)
  if (token !== undefined && !allowInsecure) checkTokenSecrecy(urls)
  const platformOptions = usesPlatformDefaults ? undefined : { ca, proxy }
  return { urls, settings, signal, reconnect, tracer, warnings, WebSocket, platformOptions, unref }
}

function isStrategy(value: unknown): value is RetryStrategy {
  return isObject(value) && typeof (value as RetryStrategy)[Symbol.iterator] === 'function'
}
