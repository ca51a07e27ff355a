/**
 * Every limit of the broker: what it bounds, its default, its value in the `public` profile, and
 * the sentence that whoever reaches it is told. One table, which the options, the command line, the
 * documentation and the metrics are made from.
 *
 * Sizes and counts are always on: a broker without them falls to one client. Rates and shares are
 * off by default, because a trusted backend may do fifty thousand requests a second from one
 * address; the `public` profile turns them on.
 */
import {
  maxFrameBytes,
  maxKeyBytes,
  maxLocksPerSession,
  maxMetadataBytes,
  maxUnacknowledged,
  maxWaitersPerKey,
  maxWatches,
} from '@holdfast/shared'
import type { SessionLimits } from '../core/index.js'
import { heapLimitBytes } from '../platform/environment.js'

/** Value of a limit that bounds nothing; `off` in a flag or a config file. */
export const off = Number.POSITIVE_INFINITY

/** Numbers of the broker; each at least 1, and those with "off" as a default may be `Infinity`. */
export interface BrokerLimits {
  /** Open connections. More are closed with 1013. Default 65,536. */
  readonly connections: number
  /**
   * Open connections that were not let in yet. More are closed with 1013: the newest, or the oldest
   * of the address that has most, if the newest is from one that has fewer. Default the greater of
   * 1,000 and a tenth of `connections`; public 200.
   */
  readonly pendingConnections: number
  /** The same from one address. Default off; public 20. */
  readonly pendingConnectionsPerAddress: number
  /**
   * Upgrades taken on in a second, with a burst of as many. More are answered 503 before the
   * upgrade, but for the first in a second of an address, which goes before the second of another.
   * Default off; public 500.
   */
  readonly connectionsPerSecond: number
  /** The same from one address; more are answered 429. Default off; public 20. */
  readonly connectionsPerSecondPerAddress: number
  /** Time for a connection to say hello and be let in, in ms. Default 5,000; public 3,000. */
  readonly helloMs: number
  /**
   * Sessions of one principal. More are closed with 4429. Without `authenticate` no client has a
   * principal of its own, and this does not count. Default off; public 20.
   */
  readonly sessionsPerPrincipal: number
  /** Sessions opened from one address. More are closed with 4429. Default off; public 100. */
  readonly sessionsPerAddress: number
  /** Messages of one session in a second, on average; then 4429. Default off; public 50. */
  readonly messagesPerSecond: number
  /** Messages that may come at once before the average counts. Default 200. */
  readonly messageBurst: number
  /**
   * Work that one connection may cause in a second, in units of about a microsecond of the broker's
   * time (see `workCosts.ts`). What exceeds it waits, and holds back only this connection. At least
   * 1,000. Default 1,000,000; public 50,000.
   */
  readonly workPerSecond: number
  /** Longest frame of a client, in bytes; then 1009. Default and most 65,536; public 16,384. */
  readonly frameBytes: number
  /** Longest key that may be locked, in bytes of UTF-8. Default and most 512; public 256. */
  readonly keyBytes: number
  /** Largest metadata, in bytes of its JSON text. Default and most 4,096; public 1,024. */
  readonly metadataBytes: number
  /** Locks that one session may hold and wait for together. Default 10,000; public 256. */
  readonly locksPerSession: number
  /** Requests that may wait for one key. Default 100,000; public 1,000. */
  readonly waitersPerKey: number
  /** Answers kept for a session that has not acknowledged them. Default 1,024. */
  readonly unacknowledged: number
  /** Watches of one session. Default 1,000; public 100. */
  readonly watchesPerSession: number
  /**
   * Output that a client may leave unread for as long as it likes, in bytes. Default 262,144;
   * public 65,536.
   */
  readonly slowBytes: number
  /**
   * How long it may leave more than `slowBytes` unread, or read nothing while a long answer or its
   * next messages wait for that, in ms; then 4308. Default 5,000.
   */
  readonly slowMs: number
  /**
   * Unread output at which a connection is cut at once, in bytes. Default 1,048,576;
   * public 262,144.
   */
  readonly backlogBytes: number
  /**
   * Memory that clients may make the broker take, in bytes: the table, connections, unread output
   * and watches, by an estimate that is rather too high. Beyond it `lock` and `watch` are refused
   * with `QUOTA_EXCEEDED`, and new sessions are closed with 1013; an eighth beyond it, new
   * connections are closed with 1013 and those that leave more than 16 KiB unread with 4308.
   * Default half of what V8 lets the heap grow to (`node --max-old-space-size`).
   */
  readonly memoryBytes: number
}

/** The name of a limit. */
export type LimitName = keyof BrokerLimits

/** Which set of defaults: `private` for one's own backends, `public` for strangers. */
export type Profile = 'private' | 'public'

interface Limit {
  readonly private: number
  readonly public: number
  /** Beyond this the protocol does not go. */
  readonly most?: number | undefined
  /** Below this nothing works. */
  readonly least?: number | undefined
  /** May be off. */
  readonly optional?: true | undefined
}

/** The other half is for the program, for garbage, and for snapshots of the table. */
const halfOfHeap = Math.floor(heapLimitBytes / 2)

/** The table. `pendingConnections` follows `connections` and is worked out in {@link limitsFrom}. */
export const limits = {
  connections: { private: 65_536, public: 65_536 },
  pendingConnections: { private: 6_554, public: 200 },
  pendingConnectionsPerAddress: { private: off, public: 20, optional: true },
  connectionsPerSecond: { private: off, public: 500, optional: true },
  connectionsPerSecondPerAddress: { private: off, public: 20, optional: true },
  helloMs: { private: 5_000, public: 3_000 },
  sessionsPerPrincipal: { private: off, public: 20, optional: true },
  sessionsPerAddress: { private: off, public: 100, optional: true },
  messagesPerSecond: { private: off, public: 50, optional: true },
  messageBurst: { private: 200, public: 200 },
  workPerSecond: { private: 1_000_000, public: 50_000, least: 1_000, optional: true },
  frameBytes: { private: maxFrameBytes, public: 16 * 1024, most: maxFrameBytes },
  keyBytes: { private: maxKeyBytes, public: 256, most: maxKeyBytes },
  metadataBytes: { private: maxMetadataBytes, public: 1024, most: maxMetadataBytes },
  locksPerSession: { private: maxLocksPerSession, public: 256 },
  waitersPerKey: { private: maxWaitersPerKey, public: 1_000 },
  unacknowledged: { private: maxUnacknowledged, public: maxUnacknowledged },
  watchesPerSession: { private: maxWatches, public: 100 },
  slowBytes: { private: 256 * 1024, public: 64 * 1024 },
  slowMs: { private: 5_000, public: 5_000 },
  backlogBytes: { private: 1024 * 1024, public: 256 * 1024 },
  memoryBytes: { private: halfOfHeap, public: halfOfHeap, optional: true },
} as const satisfies Record<LimitName, Limit>

/** The names of all limits. */
export const limitNames = Object.keys(limits) as LimitName[]

/** The limits of a profile. */
export function defaultsOf(profile: Profile): BrokerLimits {
  const entries = limitNames.map((name) => [name, limits[name][profile]])
  return Object.fromEntries(entries) as unknown as BrokerLimits
}

/** Why a value cannot be that limit, as "limits.name is ..."; undefined if it can. */
export function limitFault(name: LimitName, value: unknown): string | undefined {
  const { most, least, optional }: Limit = limits[name]
  if (optional && value === off) return undefined
  if (least !== undefined && (value as number) < least) return `limits.${name} is at least ${least}`
  if (Number.isSafeInteger(value) && (value as number) >= 1) {
    if (most === undefined || (value as number) <= most) return undefined
    return `limits.${name} is at most ${most}`
  }
  return `limits.${name} is a positive integer${optional ? ', or Infinity for none' : ''}`
}

/** The limits of a profile with what was set in their place. The values are not checked. */
export function limitsFrom(profile: Profile, set: Partial<BrokerLimits>): BrokerLimits {
  const all = { ...defaultsOf(profile), ...set }
  if (set.pendingConnections !== undefined || profile === 'public') return all
  return { ...all, pendingConnections: Math.max(1_000, Math.ceil(all.connections / 10)) }
}

const sessionLimitNames = {
  locks: 'locksPerSession',
  answers: 'unacknowledged',
  waitersPerKey: 'waitersPerKey',
} as const satisfies Record<keyof SessionLimits, LimitName>

/** The limit of the broker that a limit of the lock table comes from. */
export function limitNameOf(limit: keyof SessionLimits): LimitName {
  return sessionLimitNames[limit]
}

const sentences: Partial<Record<LimitName, (most: string) => string>> = {
  locksPerSession: (most) => `this session holds and waits for ${most} locks, the most it may`,
  waitersPerKey: (most) => `${most} requests wait for this key, the most that may`,
  unacknowledged: (most) => `${most} answers to this session are not acknowledged, the most kept`,
  watchesPerSession: (most) => `this session has ${most} watches, the most it may`,
  keyBytes: (most) => `a key that is locked here has at most ${most} bytes`,
  metadataBytes: (most) => `metadata has at most ${most} bytes here`,
  memoryBytes: (most) => `the broker keeps ${most} bytes for its clients, the most it may`,
}

/** What the one who reached a limit is told: what there is too much of, and how much may be. */
export function limitMessage(name: LimitName, most: number): string {
  const number = most.toLocaleString('en-US')
  const sentence = sentences[name]?.(number) ?? `the limit of ${number} is reached`
  return `${sentence} (${name})`
}

/** The same in the reason of a close frame, which has room for 123 bytes. */
export function limitReason(name: LimitName, most: number): string {
  return `quota exceeded: ${name} ${most}`
}
