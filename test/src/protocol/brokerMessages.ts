/**
 * Valid messages of all types that a broker sends. Also makes variants of a message: in each
 * variant, one field at any depth is missing or has a wrong value. A fence is the number of a
 * grant. The values in the messages are arbitrary.
 */
import type { ServerMessage } from '@holdfast/shared'
import { hostileValues, hugeValues } from './hostileMessages.js'

const holder = { session: 's', name: 'n', metadata: { a: [1] }, fence: 3, since: 4 }
/** A lock in `found`, `watching` or `event`, without its ttl. */
export const heldInfo = {
  key: 'k',
  mode: 'exclusive',
  scope: 5,
  election: true,
  value: { a: 1 },
  ...holder,
} as const
/** A lock in `event`, which has no remaining times. */
const lockInEvent = { ...heldInfo, ttl: 9 }
/** A lock in `found` or `watching`. */
const heldItem = { ...lockInEvent, ttlRemaining: 0, maxHoldRemaining: 8 }
/** A holder that prevents the grant of a set, a lock on several keys. */
const holderOfKeyInSet = {
  session: 's',
  name: 'n',
  fence: 3,
  since: 4,
  key: 'k',
  permits: 1,
  maxHold: 9,
}
/** A waiting request in `found`. */
const waitingInfo = { key: 'k', mode: 'shared', session: 's', name: 'n', since: 4 } as const
/** A waiting request in `watching` or `event`. */
const queuedInfo = { ...waitingInfo, request: 7, maxHold: 9, scope: 5, upgrade: true } as const

export const nothingFound = { held: [], waiting: [], heldCount: 0, waitingCount: 0 } as const

/** The counters of a broker that has handled no request. */
export const zeroStats = {
  totalLocks: 0,
  activeLocks: 0,
  failedLocks: 0,
  expiredLocks: 0,
  refreshCount: 0,
  unlockCount: 0,
  successRate: 0,
} as const

/** The statistics that an older broker does not send. */
const newerStats = {
  barriers: 1,
  barrierCalls: 2,
  keptResults: 3,
  refusedDeadlocks: 4,
  newestDeadlock: { since: 5, cycle: [{ key: 'k', session: 's', name: 'n', scope: 1 }] },
  deadlocks: [{ since: 5, cycle: [{ session: 's' }] }],
}

export const validBrokerMessages: readonly ServerMessage[] = [
  {
    type: 'welcome',
    session: 's',
    resumed: false,
    secret: 't',
    lease: 10_000,
    grace: 1,
    maxHoldMs: 9,
    at: 5,
    version: '0.1.0',
    features: ['permits', 'of a newer broker'],
    cell: '1/4',
  },
  {
    type: 'snapshot',
    held: [{ id: 1, key: 'k', mode: 'exclusive', fence: 3, ttl: 1_000, at: 5 }],
    waiting: [2],
    more: false,
  },
  { type: 'granted', id: 1, fence: 3, at: 5 },
  { type: 'scopeEnded', id: 1 },
  { type: 'downgraded', id: 1 },
  { type: 'unlocked', id: 1 },
  { type: 'refreshed', id: 1 },
  { type: 'proclaimed', id: 1 },
  { type: 'revoked', id: 1 },
  { type: 'passed', id: 1 },
  { type: 'result', id: 1, fence: 3, value: { any: 'value' } },
  { type: 'authenticated', id: 1 },
  { type: 'expiring', within: 30_000 },
  {
    type: 'failed',
    id: 1,
    code: 'LOCK_HELD',
    message: 'm',
    holders: [holder],
    capacity: 3,
    cycle: [{ key: 'k', session: 's', name: 'n', scope: 1 }],
  },
  { type: 'lost', fence: 3, reason: 'stolen' },
  { type: 'lost', fence: 3, reason: 'maxHold' },
  { type: 'queued', id: 1, ahead: 0, holders: [holderOfKeyInSet] },
  { type: 'contended', fence: 3, waiting: 1 },
  { type: 'ping', n: 1 },
  { type: 'ack', n: 1, at: 5 },
  {
    type: 'found',
    id: 1,
    held: [heldItem],
    waiting: [waitingInfo],
    heldCount: 1,
    waitingCount: 1,
    more: false,
  },
  {
    type: 'found',
    id: 1,
    ...nothingFound,
    more: true,
    arrived: [{ key: 'k', parties: 2, waiting: 1, session: 's', name: 'n', since: 4 }],
    arrivedCount: 1,
  },
  {
    type: 'found',
    id: 1,
    ...nothingFound,
    more: false,
    kept: [{ key: 'k', size: 2, fence: 3, since: 4, keep: 9, remaining: 5 }],
    keptCount: 1,
  },
  {
    type: 'found',
    id: 1,
    ...nothingFound,
    more: false,
    sessions: [
      { session: 's', lease: 9, grace: 0, connected: true, principal: 'p', address: '::1' },
    ],
    sessionsCount: 1,
  },
  { type: 'watching', id: 1, held: [heldItem], heldCount: 1, more: false },
  {
    type: 'watching',
    id: 1,
    held: [],
    heldCount: 0,
    waiting: [queuedInfo],
    waitingCount: 1,
    more: false,
  },
  { type: 'event', watch: 1, event: { event: 'locked', ...lockInEvent } },
  { type: 'event', watch: [1, 2], event: { event: 'queued', ...queuedInfo } },
  { type: 'event', watch: 1, event: { event: 'dequeued', reason: 'granted', ...queuedInfo } },
  { type: 'stats', id: 1, stats: { ...zeroStats, successRate: 0.5, ...newerStats } },
  { type: 'draining', within: 1_000 },
]

/** The values that replace each field. The last two huge values, the deepest, are left out. */
export const wrongValues: readonly unknown[] = [...hostileValues, ...hugeValues.slice(0, 3)]

export interface Variant {
  /** A description of the change. */
  readonly change: string
  /** The message, or the part of a message, with one changed field. */
  readonly value: unknown
}

/** Makes all variants of a message, or of the part of a message at this path. */
export function* variantsOf(
  part: unknown,
  replacements: readonly unknown[] = wrongValues,
  path = '',
): Generator<Variant> {
  if (typeof part !== 'object' || part === null) return
  for (const field of Object.keys(part)) {
    const fieldPath = `${path}.${field}`
    if (!Array.isArray(part)) {
      yield { change: `${fieldPath} is missing`, value: without(part, field) }
    }
    for (const [i, wrong] of replacements.entries()) {
      yield { change: `${fieldPath} has wrong value ${i}`, value: withField(part, field, wrong) }
    }
    const inner = (part as Record<string, unknown>)[field]
    for (const { change, value: innerVariant } of variantsOf(inner, replacements, fieldPath)) {
      yield { change, value: withField(part, field, innerVariant) }
    }
  }
}

/** A copy of the object without the field. */
function without(value: object, field: string): object {
  const copy = { ...value } as Record<string, unknown>
  delete copy[field]
  return copy
}

/** A copy of the object or array with other content in the field. */
function withField(value: object, field: string, content: unknown): object {
  if (Array.isArray(value)) return value.map((item, i) => (i === Number(field) ? content : item))
  return { ...value, [field]: content }
}
