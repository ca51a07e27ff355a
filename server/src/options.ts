/**
 * What an operator may set, with defaults; and what contradicts itself, refused in one sentence.
 */
import {
  HoldfastError,
  leaseMs,
  maxLocksPerSession,
  maxMs,
  maxUnacknowledged,
  maxWaitersPerKey,
  maxWatches,
} from '@holdfast/shared'
import type { Log } from './log/log.js'

/** Who is asking, as far as the connection tells. */
export interface Credentials {
  /** The token of the hello. */
  readonly token: string | undefined
  /** The `Origin` header of the upgrade; browsers send it, others do not. */
  readonly origin: string | undefined
  readonly remoteAddress: string | undefined
}

/**
 * Decides who may come in. Returns who it is (any non-empty string; a session can only be resumed
 * by the same), or undefined to refuse. Throwing refuses too.
 */
export type Authenticate = (
  credentials: Credentials,
) => string | undefined | Promise<string | undefined>

export interface BrokerLimits {
  /** Open connections. More are closed with 1013. Default 65,536. */
  readonly connections: number
  /** Time for a connection to say hello and be let in, in ms. Default 5,000. */
  readonly helloMs: number
  /** Locks that one session may hold and wait for together. Default 10,000. */
  readonly locksPerSession: number
  /** Requests that may wait for one key. Default 100,000. */
  readonly waitersPerKey: number
  /** Answers kept for a session that has not acknowledged them. Default 1,024. */
  readonly unacknowledged: number
  /** Watches of one session. Default 1,000. */
  readonly watchesPerSession: number
  /** Output that a client may leave unread for `slowMs`, in bytes. Default 262,144 (256 KiB). */
  readonly slowBytes: number
  /** How long it may leave more than `slowBytes` unread, in ms. Default 5,000. */
  readonly slowMs: number
  /** Output beyond which a connection is cut at once, in bytes. Default 1,048,576 (1 MiB). */
  readonly backlogBytes: number
}

export const defaultLimits: BrokerLimits = {
  connections: 65_536,
  helloMs: 5_000,
  locksPerSession: maxLocksPerSession,
  waitersPerKey: maxWaitersPerKey,
  unacknowledged: maxUnacknowledged,
  watchesPerSession: maxWatches,
  slowBytes: 256 * 1024,
  slowMs: 5_000,
  backlogBytes: 1024 * 1024,
}

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
  /** Serve beyond loopback although there is no `authenticate`. Default false. */
  readonly allowUnauthenticated?: boolean | undefined
  /** Web origins whose pages may connect, exactly as browsers send them. Default none. */
  readonly origins?: readonly string[] | undefined
  /** Lets pages from loopback origins connect as well, for development. Default false. */
  readonly dev?: boolean | undefined
  /** Bounds and default of the lease, in ms. Default 2,000 to 300,000, and 15,000. */
  readonly lease?: Partial<LeaseBounds> | undefined
  readonly limits?: Partial<BrokerLimits> | undefined
  /**
   * Grant nothing (but a steal) for this long after the start, in ms, because clients of a broker
   * that kept nothing may believe in their locks for one lease; `true` for the longest lease.
   * Requests wait meanwhile. Default: not at all.
   */
  readonly quietStart?: boolean | number | undefined
  /**
   * A file in which blocks of fences are reserved before use, so that fences rise over restarts
   * whatever the clock does. Without it they rise as long as the wall clock is not set back by more
   * than the broker was down.
   */
  readonly fenceFile?: string | undefined
}

/** Options with everything filled in. */
export interface BrokerSettings {
  readonly authenticate: Authenticate | undefined
  readonly allowUnauthenticated: boolean
  readonly origins: ReadonlySet<string>
  readonly dev: boolean
  readonly lease: LeaseBounds
  readonly limits: BrokerLimits
  /** In ms; 0 for none. */
  readonly quietStart: number
}

/** @throws {HoldfastError} `INVALID_OPTION`, saying which option and what it may be. */
export function settingsFrom(options: BrokerOptions): BrokerSettings {
  const limits = { ...defaultLimits, ...definedIn(options.limits) }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw invalid(`limits.${name} is a positive integer`)
    }
  }
  const lease = { ...leaseMs, ...definedIn(options.lease) }
  for (const [name, value] of Object.entries(lease)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > maxMs) {
      throw invalid(`lease.${name} is an integer from 1 to ${maxMs} ms`)
    }
  }
  if (lease.min > lease.default || lease.default > lease.max) {
    throw invalid('lease.min, lease.default and lease.max are in rising order')
  }
  return {
    authenticate: options.authenticate,
    allowUnauthenticated: options.allowUnauthenticated ?? false,
    origins: new Set(options.origins ?? []),
    dev: options.dev ?? false,
    lease,
    limits,
    quietStart: quietStartFrom(options.quietStart, lease),
  }
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
