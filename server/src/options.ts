/**
 * The options of `createBroker`: their documentation, their defaults and their checks. A program in
 * plain JavaScript has no compiler. `{ authentcate }` would leave the broker open, and so would
 * `{ allowUnauthenticated: 'false' }`; both are refused here.
 */
import type { BlockList } from 'node:net'
import {
  HoldfastError,
  leaseMs,
  maxMs,
  type OptionNames,
  refuseUnknownOptions,
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
import { type BrokerSettings, invalid, type LeaseBounds, type TlsFiles } from './config/settings.js'
import type { Log } from './log/log.js'
import type { Logger } from './observability/brokerLogger.js'
import type { Metrics, Observer } from './observability/observer.js'

export interface BrokerOptions {
  /** Where commands are put in order. Default: in memory, so a restart loses every lock. */
  readonly log?: Log | undefined
  /** Who may come in. Without it everybody on this machine, and nobody else. */
  readonly authenticate?: Authenticate | undefined
  /**
   * What they may do. Default: everything; but `revoke` only where `authenticate` says so, or where
   * there is none.
   */
  readonly authorize?: Authorize | undefined
  /** Serve beyond loopback although there is no `authenticate`. Default false. */
  readonly allowUnauthenticated?: boolean | undefined
  /**
   * Take tokens over connections that others on the network can read. Default false: beyond
   * loopback without TLS, and without a trusted proxy that has it, a token is refused with 4403.
   */
  readonly allowInsecure?: boolean | undefined
  /**
   * Host names by which the broker may be called, beside its loopback names. Default: on loopback
   * only those; elsewhere any, until some are given. A name that can never match is refused, such
   * as one with a scheme, a port, a path, brackets or a `*`.
   */
  readonly hosts?: readonly string[] | undefined
  /** Serve `wss://` with this certificate and key. Default: plain `ws://`. */
  readonly tls?: TlsFiles | undefined
  /** Numbers for Prometheus: `brokerMetrics()` of `@holdfast/server/metrics`. Default none. */
  readonly metrics?: Metrics | undefined
  /**
   * Where lines about sessions (`debug`, `info`), refusals (`info`), revocations and trouble with a
   * shared log (both `warn`) go: pino, or anything like it. Default nowhere.
   */
  readonly logger?: Logger | undefined
  /** Whoever else wants to know what happens. */
  readonly observer?: Observer | undefined
  /**
   * Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses, or subnets
   * such as `10.0.0.0/8`. Default none.
   */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * Web origins whose pages may connect, exactly as browsers send them: `https://app.example`, with
   * a port only if it is not the default. One that can never match is refused, such as one without
   * a scheme, with a slash at the end or with a `*`. Default none.
   */
  readonly origins?: readonly string[] | undefined
  /** Lets pages from loopback origins connect as well, for development. Default false. */
  readonly dev?: boolean | undefined
  /**
   * Serve the dashboard at `/dashboard/` of a port that the broker listens on itself: true, to
   * whoever can reach the broker by one of its `hosts` or by address; false, to nobody. Default: to
   * browsers on this machine. Its WebSocket needs no entry in `origins`, and may do what anybody's
   * may.
   */
  readonly dashboard?: boolean | undefined
  /** Bounds and default of the lease, in ms. Default 2,000 to 300,000, and 15,000. */
  readonly lease?: Partial<LeaseBounds> | undefined
  /** Defaults of the limits: `public` for a broker that strangers reach. Default `private`. */
  readonly profile?: Profile | undefined
  /** Limits that are not as in the profile. */
  readonly limits?: Partial<BrokerLimits> | undefined
  /**
   * Grant nothing (but a steal) for this long after the start, in ms, because clients of a broker
   * that kept nothing may believe in their locks for one lease; `true` for the longest lease.
   * Requests wait meanwhile. Default: not at all. Not with a log that is shared with other brokers.
   */
  readonly quietStart?: boolean | number | undefined
  /**
   * A file in which blocks of fences are reserved before use, so that fences rise over restarts
   * whatever the clock does. Without it they rise as long as the wall clock is not set back by more
   * than the broker was down. The folder is made if need be. The file is for one broker: another
   * one that wants it is refused with `UNAVAILABLE`, also from another process or container of this
   * machine. So is a link in its place.
   */
  readonly fenceFile?: string | undefined
}

/**
 * @throws {HoldfastError} `INVALID_OPTION`, saying which option and what it may be; for a name that
 *   does not exist, the nearest one that does.
 */
export function settingsFrom(options: BrokerOptions): BrokerSettings {
  checkBrokerOptions(options)
  const limits = limitsOf(options)
  const lease = { ...leaseMs, ...definedIn(options.lease) }
  for (const [name, value] of Object.entries(lease)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > maxMs) {
      throw invalid(`lease.${name} is an integer from 1 to ${maxMs} ms`)
    }
  }
  if (lease.min > lease.default || lease.default > lease.max) {
    throw invalid('lease.min, lease.default and lease.max are in rising order')
  }
  const quietStart = quietStartFrom(options.quietStart, lease)
  if (quietStart > 0 && options.log?.membership !== undefined) {
    throw invalid('quietStart is for a broker that kept nothing, not for one that shares a log')
  }
  return {
    authenticate: options.authenticate,
    authorize: options.authorize,
    allowUnauthenticated: options.allowUnauthenticated ?? false,
    allowInsecure: options.allowInsecure ?? false,
    hosts: new Set(checked(options.hosts, hostFault).map((host) => host.toLowerCase())),
    trustedProxies: proxiesFrom(options.trustedProxies ?? []),
    tls: options.tls,
    origins: new Set(checked(options.origins, originFault)),
    dev: options.dev ?? false,
    dashboard: options.dashboard,
    lease,
    limits,
    quietStart,
  }
}

function limitsOf({ profile = 'private', limits: set }: BrokerOptions): BrokerLimits {
  if (profile !== 'private' && profile !== 'public') throw invalid('profile is private or public')
  const given = definedIn(set)
  for (const [name, value] of Object.entries(given)) {
    const fault = limitFault(name as LimitName, value)
    if (fault !== undefined) throw invalid(fault)
  }
  return limitsFrom(profile, given)
}

function checked(
  names: readonly string[] = [],
  faultOf: (name: unknown) => string | undefined,
): readonly string[] {
  for (const name of names) {
    const fault = faultOf(name)
    if (fault !== undefined) throw invalid(fault)
  }
  return names
}

function proxiesFrom(proxies: readonly string[]): BlockList | undefined {
  if (proxies.length === 0) return undefined
  const list = proxyList(proxies)
  if (!('fault' in list)) return list
  throw invalid(`trustedProxies are addresses or subnets, and "${list.fault}" is neither`)
}

function quietStartFrom(value: boolean | number | undefined, lease: LeaseBounds): number {
  if (value === undefined || value === false) return 0
  if (value === true) return lease.max
  if (Number.isSafeInteger(value) && value >= 0 && value <= maxMs) return value
  throw invalid(`quietStart is true, or an integer from 0 to ${maxMs} ms`)
}

function definedIn<T extends object>(partial: T | undefined): Partial<T> {
  const entries = Object.entries(partial ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}

/** What the broker calls of each observer; without one of them the first message would fail. */
const observing = ['onMessage', 'onEffect', 'onFlushed', 'onRefused'] as const

/** Of what kind a value must be; the words are those of the message. */
const kinds = {
  'a function': (value: unknown) => typeof value === 'function',
  'true or false': (value: unknown) => typeof value === 'boolean',
  'a list of texts': (value: unknown) =>
    Array.isArray(value) && value.every((item) => typeof item === 'string'),
  'a text that is not empty': (value: unknown) => typeof value === 'string' && value !== '',
  'an object with options': isObject,
  'true, or an integer of ms': (value: unknown) =>
    typeof value === 'boolean' || typeof value === 'number',
  'a log, such as journalLog() makes': has('start', 'submit', 'close'),
  'brokerMetrics()': has('text', ...observing),
  'a logger, such as pino() makes': has('debug', 'info', 'warn'),
  'an observer with the functions onMessage, onEffect, onFlushed and onRefused': has(...observing),
} as const

const brokerOptions: Readonly<Record<keyof BrokerOptions, keyof typeof kinds>> = {
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
}

const tlsOptions: OptionNames<TlsFiles> = { cert: 1, key: 1, passphrase: 1 }

/**
 * Refuses options that do not exist, and values of another kind than their option's.
 *
 * @throws {HoldfastError} `INVALID_OPTION` with the nearest name, or with the kind.
 */
function checkBrokerOptions(options: BrokerOptions): void {
  refuseUnknownOptions('createBroker', options, brokerOptions)
  for (const [name, kind] of Object.entries(brokerOptions)) {
    const value: unknown = options[name as keyof BrokerOptions]
    if (value === undefined || kinds[kind](value)) continue
    throw new HoldfastError('INVALID_OPTION', `${name} must be ${kind}, not ${show(value)}`)
  }
  refuseUnknownOptions('lease', options.lease, leaseMs)
  refuseUnknownOptions('limits', options.limits, limits)
  refuseUnknownOptions('tls', options.tls, tlsOptions)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Objects and functions that have these methods. */
function has(...names: readonly string[]) {
  return (value: unknown): boolean =>
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === 'function')
}

/** A plain value as it is; of all else only its kind, since it may hold a secret. */
function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  if (value === null || ['number', 'boolean', 'bigint'].includes(typeof value)) return `${value}`
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`
}
