/**
 * What an operator may set, with defaults; and what contradicts itself, refused in one sentence.
 */
import type { BlockList } from 'node:net'
import { HoldfastError, leaseMs, maxMs } from '@holdfast/shared'
import type { Log } from '../log/log.js'
import type { Logger } from '../observability/brokerLogger.js'
import type { Metrics, Observer } from '../observability/observer.js'
import { proxyList } from './addresses.js'
import { hostFault, originFault } from './hostNames.js'
import {
  type BrokerLimits,
  type LimitName,
  limitFault,
  limitsFrom,
  type Profile,
} from './limits.js'
import { checkBrokerOptions } from './optionKinds.js'
import type { Authenticate, Authorize } from './permissions.js'

/** Bounds and default of the session lease, in ms. */
export interface LeaseBounds {
  readonly min: number
  readonly max: number
  readonly default: number
}

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

/** A certificate with its key, as PEM text or what Node takes for it. */
export interface TlsFiles {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly passphrase?: string | undefined
}

/** Options with everything filled in. */
export interface BrokerSettings {
  readonly authenticate: Authenticate | undefined
  readonly authorize: Authorize | undefined
  readonly allowUnauthenticated: boolean
  readonly allowInsecure: boolean
  /** In lower case. */
  readonly hosts: ReadonlySet<string>
  readonly trustedProxies: BlockList | undefined
  readonly tls: TlsFiles | undefined
  readonly origins: ReadonlySet<string>
  readonly dev: boolean
  /** Undefined: to this machine only. */
  readonly dashboard: boolean | undefined
  readonly lease: LeaseBounds
  readonly limits: BrokerLimits
  /** In ms; 0 for none. */
  readonly quietStart: number
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

export function invalid(rule: string): HoldfastError {
  return new HoldfastError('INVALID_OPTION', `${rule}.`)
}

function definedIn<T extends object>(partial: T | undefined): Partial<T> {
  const entries = Object.entries(partial ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}
