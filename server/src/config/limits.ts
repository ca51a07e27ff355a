/**
 * The limits of the broker. Each limit has a default, a value in the `public` profile (the defaults
 * for untrusted clients), and an error message for clients at the limit. The options, the
 * command line, the documentation and the metrics all use this table.
 *
 * Limits of sizes and counts are on by default, because one client could exhaust a broker without
 * them. Limits of rates are off by default, except `workPerSecond`, and so are limits for each
 * address or principal (the authenticated name of a client). Such limits would stop a trusted
 * backend, which may send fifty thousand requests a second from one address. The `public` profile
 * turns on every limit except `maxHoldMs`.
 */
import {
  maxBarrierCallsPerSession,
  maxDurationMs,
  maxFrameBytes,
  maxKeyBytes,
  maxLocksPerSession,
  maxMetadataBytes,
  maxSetKeys,
  maxUnacknowledgedResponses,
  maxWaitersPerKey,
  maxWatches,
} from '@holdfast/shared'
import type { SessionLimits } from '../core/index.js'
import { heapLimitBytes } from '../platform/environment.js'

/** The value of a limit that is off. Flags and config files write this value as `off`. */
export const off = Number.POSITIVE_INFINITY

/**
 * The limits of a broker. The first sentence of each comment names the quantity that the limit
 * bounds. Each limit is at least 1. "Off" is the value `Infinity`. "Default 1,000; public 100"
 * means that the default is 1,000, and 100 in the `public` profile. A number such as 1013 or 4429
 * is a close code of WebSocket; 429 and 503 are status codes of HTTP. The handshake of a connection
 * begins with the upgrade (the HTTP request with which a WebSocket begins) and ends with the
 * message `welcome`.
 */
export interface BrokerLimits {
  /** Open connections. The broker closes further connections with 1013. Default 65,536. */
  readonly connections: number
  /**
   * Open connections whose handshake is not over (pending connections). Beyond this limit, the
   * broker closes with 1013 a connection of the address that has the most pending connections. The
   * broker closes the new connection if it has that address, else the oldest pending one of that
   * address. Upgrades that wait for a later turn of the event loop have their own count, with the
   * same maximum. If too many upgrades wait, the same rule selects the one to refuse with 503.
   * Default the greater of 1,000 and a tenth of `connections`; public 200.
   */
  readonly pendingConnections: number
  /** Open connections of one address whose handshake is not over. Default off; public 20. */
  readonly pendingConnectionsPerAddress: number
  /**
   * Upgrades that the broker accepts in a second, and also the most that it accepts at once. The
   * broker answers further upgrades with 503. An address without an upgrade in the last second has
   * priority over addresses that upgrade repeatedly. Default off; public 500.
   */
  readonly connectionsPerSecond: number
  /**
   * Upgrades that the broker accepts from one address in a second. The broker answers further
   * upgrades with 429. Default off; public 20.
   */
  readonly connectionsPerSecondPerAddress: number
  /** Time in which a connection must finish its handshake, in ms. Default 5,000; public 3,000. */
  readonly helloMs: number
  /**
   * Sessions of one principal. The broker closes the connection of a further session with 4429.
   * Without `authenticate` this limit is off, because all clients have the same principal. Default
   * off; public 20.
   */
  readonly sessionsPerPrincipal: number
  /**
   * Sessions opened from one address. The broker closes the connection of a further session with
   * 4429. Default off; public 100.
   */
  readonly sessionsPerAddress: number
  /**
   * Messages of one connection in a second, on average. Beyond this limit, the broker closes the
   * connection with 4429. Default off; public 50.
   */
  readonly messagesPerSecond: number
  /** Messages that a client may send at once, even if `messagesPerSecond` is less. Default 200. */
  readonly messageBurst: number
  /**
   * Work that one connection may cause in a second, in units of about half a microsecond of broker
   * time (see `workCosts.ts`). Beyond this limit, the next messages of this connection wait.
   * Minimum 1,000. Default 1,000,000; public 50,000.
   */
  readonly workPerSecond: number
  /**
   * Longest frame of a client, in bytes. The broker closes the connection with 1009 for a longer
   * frame. Default and maximum 65,536; public 16,384.
   */
  readonly frameBytes: number
  /** Longest key of a `lock`, in bytes of UTF-8. Default and maximum 512; public 256. */
  readonly keyBytes: number
  /** Largest metadata, in bytes of its JSON text. Default and maximum 4,096; public 1,024. */
  readonly metadataBytes: number
  /** Keys of one set, which is a lock on several keys. Default and maximum 64; public 16. */
  readonly keysPerSet: number
  /**
   * Locks, waiting requests and calls at barriers of one session, counted together. A set counts
   * once for each key. Default 10,000; public 256.
   */
  readonly locksPerSession: number
  /** Requests that may wait for one key. Default 100,000; public 1,000. */
  readonly waitersPerKey: number
  /**
   * Answers that the broker stores for one session until the client acknowledges the answers.
   * Default 1,024.
   */
  readonly unacknowledged: number
  /**
   * Waiting calls of one session at barriers. A barrier lets its callers wait until enough of them
   * have arrived. Default 1,000; public 16.
   */
  readonly barriersPerSession: number
  /**
   * Longest time for which a session may hold a lock, in ms. When the time is over, the broker ends
   * the lock, even if the client asked for a longer time or for no limit. In a cluster, a session
   * keeps the limit of the broker that opened the session. Default off.
   */
  readonly maxHoldMs: number
  /** Results of `once` that the broker keeps for later calls. Default 1,000. */
  readonly keptResults: number
  /** Bytes of all kept results of `once`. Default 16 MiB; public 4 MiB. */
  readonly keptResultBytes: number
  /**
   * Waiting scopes (logical tasks of clients) and waiting requests for sets that one check for
   * deadlocks visits. The check follows the waits from scope to scope. Beyond this limit, the
   * broker refuses the request. Default 10,000; public 1,000.
   */
  readonly deadlockVisits: number
  /**
   * Locks that one `steal` may end; a set counts once for each key. The broker ends all these locks
   * in one step, and serves no other client meanwhile. Default 10,000; public 1,000.
   */
  readonly stolenLocks: number
  /** Watches (subscriptions to changes of locks) of one session. Default 1,000; public 100. */
  readonly watchesPerSession: number
  /**
   * Unread output of a client, in bytes. A client with more unread output must read within
   * `slowMs`. Default 262,144; public 65,536.
   */
  readonly slowBytes: number
  /**
   * How long a client may leave more than `slowBytes` unread, in ms. Also limits how long the rest
   * of a long answer, or the next messages of the client, wait for the client to read. After this
   * time, the broker disconnects the client with 4308. Default 5,000.
   */
  readonly slowMs: number
  /**
   * Unread output of a client, in bytes. At this limit the broker disconnects the client with 4308
   * immediately. Default 1,048,576; public 262,144.
   */
  readonly backlogBytes: number
  /**
   * Memory that the broker may use for its clients, in bytes: the lock table, connections, unread
   * output, watches and the deadlocks that `stats` shows. The broker estimates this memory, usually
   * too high. At the limit the broker answers `QUOTA_EXCEEDED` to requests that add a lock or a
   * watch, or that set the value of a leader. The broker also answers a `hello` for a new session
   * by closing the connection with 1013. At nine eighths of the limit the broker closes all new
   * connections with 1013. The broker then also disconnects, with 4308, each client that has left
   * over 16 KiB of output unread. Default: half of the maximum heap size of V8, which
   * `node --max-old-space-size` sets.
   */
  readonly memoryBytes: number
}

/** The name of a limit. */
export type LimitName = keyof BrokerLimits

/** A choice of defaults: `private` for trusted clients, `public` for untrusted clients. */
export type Profile = 'private' | 'public'

interface LimitDefinition {
  readonly private: number
  readonly public: number
  /** Maximum, which the protocol sets. Default: none. */
  readonly max?: number | undefined
  /** Minimum, below which the broker does not work. Default: 1. */
  readonly min?: number | undefined
  /** Whether the value may be {@link off}. */
  readonly canBeOff?: true | undefined
}

/**
 * The default of `memoryBytes`. The other half of the heap is for the program, for garbage, and for
 * snapshots of the lock table.
 */
const halfOfHeap = Math.floor(heapLimitBytes / 2)

/**
 * The definitions. In the `private` profile, {@link limitsFrom} derives `pendingConnections` from
 * `connections`.
 */
export const limits = {
  connections: { private: 65_536, public: 65_536 },
  // 6,554 is a tenth of the default of `connections`.
  pendingConnections: { private: 6_554, public: 200 },
  pendingConnectionsPerAddress: { private: off, public: 20, canBeOff: true },
  connectionsPerSecond: { private: off, public: 500, canBeOff: true },
  connectionsPerSecondPerAddress: { private: off, public: 20, canBeOff: true },
  helloMs: { private: 5_000, public: 3_000 },
  sessionsPerPrincipal: { private: off, public: 20, canBeOff: true },
  sessionsPerAddress: { private: off, public: 100, canBeOff: true },
  messagesPerSecond: { private: off, public: 50, canBeOff: true },
  messageBurst: { private: 200, public: 200 },
  workPerSecond: { private: 1_000_000, public: 50_000, min: 1_000, canBeOff: true },
  frameBytes: { private: maxFrameBytes, public: 16 * 1024, max: maxFrameBytes },
  keyBytes: { private: maxKeyBytes, public: 256, max: maxKeyBytes },
  metadataBytes: { private: maxMetadataBytes, public: 1024, max: maxMetadataBytes },
  keysPerSet: { private: maxSetKeys, public: 16, max: maxSetKeys },
  locksPerSession: { private: maxLocksPerSession, public: 256 },
  waitersPerKey: { private: maxWaitersPerKey, public: 1_000 },
  unacknowledged: { private: maxUnacknowledgedResponses, public: maxUnacknowledgedResponses },
  barriersPerSession: { private: maxBarrierCallsPerSession, public: 16 },
  maxHoldMs: { private: off, public: off, max: maxDurationMs, canBeOff: true },
  keptResults: { private: 1_000, public: 1_000 },
  keptResultBytes: { private: 16 * 1024 * 1024, public: 4 * 1024 * 1024 },
  deadlockVisits: { private: 10_000, public: 1_000 },
  stolenLocks: { private: 10_000, public: 1_000 },
  watchesPerSession: { private: maxWatches, public: 100 },
  slowBytes: { private: 256 * 1024, public: 64 * 1024 },
  slowMs: { private: 5_000, public: 5_000 },
  backlogBytes: { private: 1024 * 1024, public: 256 * 1024 },
  memoryBytes: { private: halfOfHeap, public: halfOfHeap, canBeOff: true },
} as const satisfies Record<LimitName, LimitDefinition>

/** The names of all limits. */
export const limitNames = Object.keys(limits) as LimitName[]

/** The limits of a profile. */
export function defaultsOf(profile: Profile): BrokerLimits {
  const entries = limitNames.map((name) => [name, limits[name][profile]])
  return Object.fromEntries(entries) as unknown as BrokerLimits
}

/** Returns why a value is invalid for this limit; undefined for a valid value. */
export function limitFault(name: LimitName, value: unknown): string | undefined {
  const { max, min, canBeOff }: LimitDefinition = limits[name]
  if (canBeOff && value === off) return undefined
  if (min !== undefined && (value as number) < min) {
    return `limits.${name} must be at least ${min}, not ${value}`
  }
  if (Number.isSafeInteger(value) && (value as number) >= 1) {
    if (max === undefined || (value as number) <= max) return undefined
    return `limits.${name} must be at most ${max}, not ${value}`
  }
  const rule = canBeOff ? 'a positive integer, or Infinity for no limit' : 'a positive integer'
  return `limits.${name} must be ${rule}, not ${String(value)}`
}

/** The limits of a profile, with overrides. Does not check the values. */
export function limitsFrom(profile: Profile, overrides: Partial<BrokerLimits>): BrokerLimits {
  const allLimits = { ...defaultsOf(profile), ...overrides }
  if (overrides.pendingConnections !== undefined || profile === 'public') return allLimits
  return {
    ...allLimits,
    pendingConnections: Math.max(1_000, Math.ceil(allLimits.connections / 10)),
  }
}

/** For each limit of the lock table, the name of the broker limit that sets it. */
const brokerLimitNames = {
  locks: 'locksPerSession',
  answers: 'unacknowledged',
  waitersPerKey: 'waitersPerKey',
  barriers: 'barriersPerSession',
  maxHold: 'maxHoldMs',
  keptResults: 'keptResults',
  keptResultBytes: 'keptResultBytes',
  deadlockVisits: 'deadlockVisits',
} as const satisfies Record<keyof SessionLimits, LimitName>

/** The name of the broker limit that sets this limit of the lock table. */
export function limitNameOf(limit: keyof SessionLimits): LimitName {
  return brokerLimitNames[limit]
}

/**
 * The beginnings of error messages, to which {@link limitMessage} appends the name of the limit. A
 * limit without an entry has a general message.
 */
const messageParts: Partial<Record<LimitName, (value: string) => string>> = {
  locksPerSession: (value) =>
    `the session holds and waits for ${value} locks, the maximum; unlock a lock first`,
  waitersPerKey: (value) => `${value} requests wait for this key, the maximum; try again later`,
  unacknowledged: (value) =>
    `${value} answers to this session are unacknowledged, the maximum; send an ack first`,
  barriersPerSession: (value) =>
    `${value} calls of the session wait at barriers, the maximum; cancel a call first`,
  deadlockVisits: (value) =>
    `the request depends on more than ${value} waiting scopes and sets, the maximum; try again later`,
  stolenLocks: (value) =>
    `the steal would end more than ${value} locks, the maximum; revoke locks of the key first`,
  watchesPerSession: (value) => `the session has ${value} watches, the maximum; end a watch first`,
  keyBytes: (value) => `the key has more than ${value} bytes; use a shorter key`,
  keysPerSet: (value) => `the set has more than ${value} keys; request fewer keys at once`,
  metadataBytes: (value) => `the metadata has more than ${value} bytes; use less metadata`,
  memoryBytes: (value) =>
    `the broker uses ${value} bytes for its clients, the maximum; try again later`,
}

/** The error message for a client that reached a limit, with the name and value of the limit. */
export function limitMessage(name: LimitName, value: number): string {
  const valueText = withThousandsSeparators(value)
  const messagePart = messageParts[name]?.(valueText) ?? `the limit of ${valueText} is reached`
  return `${messagePart} (${name})`
}

/**
 * The number with commas between groups of three digits. `toLocaleString` is not used, because its
 * first call in a process loads the data of all locales, which blocks the broker for over 10 ms.
 */
function withThousandsSeparators(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

/**
 * The reason in the close frame for a client that reached a limit. The reason is short, because
 * WebSocket allows at most 123 bytes.
 */
export function limitReason(name: LimitName, value: number): string {
  return `quota exceeded: ${name} ${value}`
}
