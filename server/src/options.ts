/**
 * The options of `createBroker`: their documentation, their defaults and their checks. The checks
 * are strict because a program in plain JavaScript has no compiler: `{ authentcate }` and
 * `{ allowUnauthenticated: 'false' }` would leave the broker open without an error.
 */
import type { BlockList } from 'node:net'
import {
  type Cell,
  HoldfastError,
  leaseMs,
  maxDurationMs,
  type OptionNames,
  parseCell,
  refuseUnknownOptions,
  slotCount,
} from '@holdfast/shared'
import { proxyList } from './config/addresses.js'
import { hostFault, originFault } from './config/hostNames.js'
import {
  type BrokerLimits,
  type LimitName,
  limitFault,
  limits,
  limitsFrom,
  type Profile,
} from './config/limits.js'
import type { Authenticate, Authorize } from './config/permissions.js'
import {
  type BrokerSettings,
  invalidOption,
  type LeaseBounds,
  type TlsFiles,
} from './config/settings.js'
import type { Log } from './log/log.js'
import type { Logger } from './observability/brokerLogger.js'
import type { Metrics, Observer } from './observability/observer.js'

export interface BrokerOptions {
  /** The command log. Default: in memory, so a restart loses every lock. */
  readonly log?: Log | undefined
  /**
   * Authenticates clients. Default: none. Without this function the broker listens only on
   * loopback, unless `allowUnauthenticated` is true.
   */
  readonly authenticate?: Authenticate | undefined
  /**
   * Decides what an authenticated client may do. Default: everything but `revoke` and `inspect`.
   * Without this function, these two operations need an identity from `authenticate` that allows
   * them. If `authenticate` is not set either, every client may do everything.
   */
  readonly authorize?: Authorize | undefined
  /** Allow `listen` on addresses other than loopback without `authenticate`. Default false. */
  readonly allowUnauthenticated?: boolean | undefined
  /**
   * Accept tokens over connections that other parties on the network can read: connections over the
   * network without TLS. Behind a trusted proxy, this means the connection from the client to the
   * proxy. Default false: if a client sends a token over such a connection, the broker closes the
   * connection with 4403.
   */
  readonly allowInsecure?: boolean | undefined
  /**
   * Host names that the `Host` header of a request may have. A request over loopback may always
   * have a loopback name too. Without this option, a request over another address may have any
   * name. A name with a scheme, a port, a path, brackets or a `*` is an error, because no `Host`
   * header can match such a name.
   */
  readonly hosts?: readonly string[] | undefined
  /** Serve `wss://` with this certificate and key. Default: plain `ws://`. */
  readonly tls?: TlsFiles | undefined
  /** Metrics for Prometheus: `brokerMetrics()` of `@holdfast/server/metrics`. Default: none. */
  readonly metrics?: Metrics | undefined
  /**
   * The broker logger, such as pino. The broker writes lines about sessions (`debug`, `info`),
   * refusals (`info`), revocations and errors of a shared log (both `warn`). Default: none.
   */
  readonly logger?: Logger | undefined
  /** A further observer of messages, effects and refusals. Default: none. */
  readonly observer?: Observer | undefined
  /**
   * Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` headers the broker trusts: addresses,
   * or subnets such as `10.0.0.0/8`. Default: none.
   */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * Web origins whose pages may connect, exactly as browsers send them: `https://app.example`, with
   * a port only if it is not the default. An origin without a scheme, with a slash at the end or
   * with a `*` is an error, because no browser sends such an origin. Default: none.
   */
  readonly origins?: readonly string[] | undefined
  /** Allow pages of loopback origins to connect as well, for development. Default false. */
  readonly dev?: boolean | undefined
  /**
   * Serve the dashboard at the path `/dashboard/` of each port on which the broker itself listens.
   * True: to every client that calls the broker by one of its `hosts` or by its address. False:
   * never. Default: to browsers on this machine. The page of the dashboard may connect without an
   * entry in `origins`, and has no more permissions than any other client.
   */
  readonly dashboard?: boolean | undefined
  /**
   * Bounds and default of the lease, in ms. The lease is how long the broker keeps a session
   * without hearing from its client. By default a client may ask for 2,000 to 300,000, and a client
   * that does not ask gets 15,000.
   */
  readonly lease?: Partial<LeaseBounds> | undefined
  /**
   * Selects the defaults of the limits: `private` for your own clients, `public` for untrusted
   * clients. Default `private`.
   */
  readonly profile?: Profile | undefined
  /** The limits that differ from the defaults of the profile. */
  readonly limits?: Partial<BrokerLimits> | undefined
  /**
   * Time in ms after the start, in which the broker grants only requests that steal a lock. Other
   * requests wait during this time. `true` means the longest lease. A broker that lost its locks in
   * a restart needs this time, because its former clients use their locks until their lease ends.
   * Not allowed with a shared log. Default: none.
   */
  readonly quietStart?: boolean | number | undefined
  /**
   * The index of this broker's cell, from 1, and how many cells exist, such as `'1/4'`. Cells are
   * independent brokers or clusters, and each cell serves a part of the keys. The broker refuses
   * locks on keys of other cells, and refuses clients that expect another cell. All brokers of a
   * cell must have the same value. Default: none; the broker serves all keys.
   */
  readonly cell?: string | undefined
  /**
   * Path of a file in which the broker reserves fences before use. A fence is an integer that rises
   * with every grant. With the file, fences also rise from one start of the broker to the next,
   * even if the wall clock is set back. Without the file, fences may be lower after a restart, if
   * the wall clock was set back by more than the time for which the broker was down.
   *
   * The broker makes the folder if it does not exist. Only one broker may use the file: another
   * broker on this machine, also in another process or container, fails with `UNAVAILABLE`. A link
   * in place of the file fails with the same error.
   */
  readonly fenceFile?: string | undefined
}

/**
 * Checks the options of a broker, and fills in the defaults.
 *
 * @throws {HoldfastError} `INVALID_OPTION`. The message has the option and its valid values; for an
 *   unknown option, the most similar known name.
 */
export function settingsFrom(options: BrokerOptions): BrokerSettings {
  checkBrokerOptions(options)
  const brokerLimits = limitsOf(options)
  const lease = { ...leaseMs, ...withoutUndefined(options.lease) }
  for (const [name, value] of Object.entries(lease)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > maxDurationMs) {
      throw invalidOption(
        `lease.${name} must be an integer from 1 to ${maxDurationMs} ms, not ${String(value)}`,
      )
    }
  }
  if (lease.min > lease.default || lease.default > lease.max) {
    const givenBounds = `${lease.min}, ${lease.default} and ${lease.max}`
    throw invalidOption(
      `lease.min, lease.default and lease.max must be in rising order, not ${givenBounds}`,
    )
  }
  const quietStart = quietStartFrom(options.quietStart, lease)
  if (quietStart > 0 && options.log?.membership !== undefined) {
    throw invalidOption(
      'quietStart must not be set with a shared log, which keeps the locks over a restart',
    )
  }
  return {
    authenticate: options.authenticate,
    authorize: options.authorize,
    allowUnauthenticated: options.allowUnauthenticated ?? false,
    allowInsecure: options.allowInsecure ?? false,
    hosts: new Set(validated(options.hosts, hostFault).map((host) => host.toLowerCase())),
    trustedProxies: proxiesFrom(options.trustedProxies ?? []),
    tls: options.tls,
    origins: new Set(validated(options.origins, originFault)),
    dev: options.dev ?? false,
    dashboard: options.dashboard,
    lease,
    limits: brokerLimits,
    cell: cellFrom(options.cell),
    quietStart,
  }
}

function cellFrom(text: string | undefined): Cell | undefined {
  if (text === undefined) return undefined
  const cell = parseCell(text)
  if (cell !== undefined) return cell
  // Each cell has at least one slot of keys, so there are at most `slotCount` cells.
  throw invalidOption(
    `cell must be a number and a count from 1 to ${slotCount}, such as "1/4", not ${describe(text)}`,
  )
}

function limitsOf({ profile = 'private', limits: overrides }: BrokerOptions): BrokerLimits {
  if (profile !== 'private' && profile !== 'public') {
    throw invalidOption(`profile must be "private" or "public", not ${describe(profile)}`)
  }
  const definedOverrides = withoutUndefined(overrides)
  for (const [name, value] of Object.entries(definedOverrides)) {
    const fault = limitFault(name as LimitName, value)
    if (fault !== undefined) throw invalidOption(fault)
  }
  return limitsFrom(profile, definedOverrides)
}

/**
 * Returns the names. Throws for the first name with a fault. The text that `findFault` returns is
 * the error message.
 */
function validated(
  names: readonly string[] = [],
  findFault: (name: unknown) => string | undefined,
): readonly string[] {
  for (const name of names) {
    const fault = findFault(name)
    if (fault !== undefined) throw invalidOption(fault)
  }
  return names
}

function proxiesFrom(proxies: readonly string[]): BlockList | undefined {
  if (proxies.length === 0) return undefined
  const parsedProxies = proxyList(proxies)
  if (!('fault' in parsedProxies)) return parsedProxies
  throw invalidOption(
    `trustedProxies must be addresses or subnets such as 10.0.0.0/8, not "${parsedProxies.fault}"`,
  )
}

function quietStartFrom(value: boolean | number | undefined, lease: LeaseBounds): number {
  if (value === undefined || value === false) return 0
  if (value === true) return lease.max
  if (Number.isSafeInteger(value) && value >= 0 && value <= maxDurationMs) return value
  throw invalidOption(
    `quietStart must be true, or an integer from 0 to ${maxDurationMs} ms, not ${value}`,
  )
}

/** Leaves out fields with the value undefined, because such a field would replace a default. */
function withoutUndefined<T extends object>(partial: T | undefined): Partial<T> {
  const entries = Object.entries(partial ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}

/**
 * The methods that every observer must have. This file checks these methods, because the broker
 * would otherwise fail at the first call of a missing method.
 */
const observerMethods = ['onMessage', 'onEffect', 'onFlushed', 'onRefused'] as const

/** The checks of option values. Each name is used in the error message: "x must be <name>". */
const valueKinds = {
  'a function': (value: unknown) => typeof value === 'function',
  'true or false': (value: unknown) => typeof value === 'boolean',
  'a list of texts': (value: unknown) =>
    Array.isArray(value) && value.every((item) => typeof item === 'string'),
  'a text that is not empty': (value: unknown) => typeof value === 'string' && value !== '',
  'an object with options': isObject,
  'true, or an integer of ms': (value: unknown) =>
    typeof value === 'boolean' || typeof value === 'number',
  'a log, such as journalLog() makes': hasMethods('start', 'submit', 'close'),
  'brokerMetrics()': hasMethods('text', ...observerMethods),
  'a logger, such as pino() makes': hasMethods('debug', 'info', 'warn', 'error'),
  'an observer with the functions onMessage, onEffect, onFlushed and onRefused': hasMethods(
    ...observerMethods,
  ),
} as const

/** The kind of value that each option needs. {@link settingsFrom} checks some values further. */
const optionKinds: Readonly<Record<keyof BrokerOptions, keyof typeof valueKinds>> = {
  log: 'a log, such as journalLog() makes',
  authenticate: 'a function',
  authorize: 'a function',
  allowUnauthenticated: 'true or false',
  allowInsecure: 'true or false',
  hosts: 'a list of texts',
  tls: 'an object with options',
  metrics: 'brokerMetrics()',
  logger: 'a logger, such as pino() makes',
  observer: 'an observer with the functions onMessage, onEffect, onFlushed and onRefused',
  trustedProxies: 'a list of texts',
  origins: 'a list of texts',
  dev: 'true or false',
  dashboard: 'true or false',
  lease: 'an object with options',
  profile: 'a text that is not empty',
  limits: 'an object with options',
  quietStart: 'true, or an integer of ms',
  fenceFile: 'a text that is not empty',
  cell: 'a text that is not empty',
}

/** The names of the options; the value 1 has no meaning. */
const tlsOptionNames: OptionNames<TlsFiles> = { cert: 1, key: 1, passphrase: 1 }

/**
 * Checks that the name of each given option is known, and that each value is of the kind that the
 * option needs.
 *
 * @throws {HoldfastError} `INVALID_OPTION`. The message has the most similar known name, or the
 *   kind that the value must have.
 */
function checkBrokerOptions(options: BrokerOptions): void {
  refuseUnknownOptions('createBroker', options, optionKinds)
  for (const [name, kind] of Object.entries(optionKinds)) {
    const value: unknown = options[name as keyof BrokerOptions]
    if (value === undefined || valueKinds[kind](value)) continue
    throw new HoldfastError('INVALID_OPTION', `${name} must be ${kind}, not ${describe(value)}`)
  }
  // The keys of `leaseMs` and `limits` are the known names.
  refuseUnknownOptions('lease', options.lease, leaseMs)
  refuseUnknownOptions('limits', options.limits, limits)
  refuseUnknownOptions('tls', options.tls, tlsOptionNames)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Makes a check. The check returns whether a value is an object or a function with these methods.
 */
function hasMethods(...names: readonly string[]) {
  return (value: unknown): boolean =>
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'function')
}

/**
 * Describes a value for an error message. A text is shortened to 60 characters. A list is described
 * by its first item that is no text. An object is described only by its type, because the object
 * may hold secrets.
 */
function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (value === null || ['number', 'boolean', 'bigint'].includes(typeof value)) return `${value}`
  if (!Array.isArray(value)) return `a value of type ${typeof value}`
  const index = value.findIndex((item) => typeof item !== 'string')
  if (index < 0) return 'a list'
  return `a list with ${Array.isArray(value[index]) ? 'a list' : describe(value[index])}`
}
