/**
 * Checks a message from a broker before the client acts on it: a broker may be broken, of another
 * make, or no broker at all, and a wrong field must neither throw nor prolong a lock.
 *
 * Three answers come with nearly every lock, so each has a check of its own. All other messages,
 * and all messages that such a check does not accept, go through the table of shapes, which also
 * finds the field that is wrong. Written by hand because superstruct would be a third of a page's
 * bundle; a property test holds the table to the schemas of `brokerSchemas.ts`.
 */
import { isKey } from '../keys.js'
import { maxMs, maxQueryItems, maxSecretLength } from '../limits.js'
import type { ServerMessage } from './messages.js'

/**
 * Says what is wrong with a value: the path to it, which is empty for the value itself, and the
 * verdict on what is there (".fence cannot be -1"). Undefined if nothing is wrong.
 */
type Find = (value: unknown) => string | undefined

/** What a message or an item of a list is made of. Fields that are not named may have any value. */
type Shape = Readonly<Record<string, Find>>

const that =
  (isOne: (value: unknown) => boolean): Find =>
  (value) =>
    isOne(value) ? undefined : verdictOn(value)

const from = (least: number, most?: number): Find =>
  that((value) => isIntegerFrom(value, least, most))

const oneOf = (...values: readonly unknown[]): Find => that((value) => values.includes(value))

const optional =
  (find: Find): Find =>
  (value) =>
    value === undefined ? undefined : find(value)

const list =
  (find: Find, most = Infinity): Find =>
  (value) => {
    if (!Array.isArray(value) || value.length > most) return verdictOn(value)
    for (let i = 0; i < value.length; i++) {
      const fault = find(value[i])
      if (fault !== undefined) return `[${i}]${fault}`
    }
    return undefined
  }

const record =
  (shape: Shape): Find =>
  (value) => {
    if (!isRecord(value)) return verdictOn(value)
    for (const field in shape) {
      const fault = shape[field]!(ownField(value, field))
      if (fault !== undefined) return `.${field}${fault}`
    }
    return undefined
  }

const text = that((value) => typeof value === 'string')
const flag = that((value) => typeof value === 'boolean')
const key = that(isKey)
const shortText = that(
  (value) => typeof value === 'string' && value.length >= 1 && value.length <= maxSecretLength,
)
const id = from(1)
const amount = from(0)
/** An instant on the broker's clock: only its distance from another one means anything. */
const instant = that(Number.isSafeInteger)
/** A lease or a ttl, in ms. */
const duration = from(1, maxMs)
const mode = oneOf('exclusive', 'shared')

/** Without the metadata, which may be anything: the client only passes it on. */
const holder: Shape = { session: text, name: optional(text), fence: id, since: amount }
const heldInfo: Shape = { key, mode, ...holder }
const waitingInfo: Shape = { key, mode, session: text, name: optional(text), since: amount }
/** A part of a list of locks. */
const heldPart: Shape = {
  id,
  held: list(record(heldInfo), maxQueryItems),
  heldCount: amount,
  more: flag,
}

const onlyId = record({ id })
const notice = record({ within: amount })
/** The ids of several watches that one event is for. */
const ids = list(id)
const idOrIds: Find = (value) => (Array.isArray(value) ? ids(value) : id(value))

const shapes: { readonly [T in ServerMessage['type']]: Find } = {
  welcome: record({
    session: shortText,
    resumed: flag,
    secret: optional(shortText),
    lease: duration,
    grace: from(0, maxMs),
    at: instant,
  }),
  snapshot: record({
    held: list(
      record({ id, key, mode, fence: id, ttl: optional(duration), at: optional(instant) }),
    ),
    waiting: list(id),
    more: flag,
  }),
  granted: record({ id, fence: id, at: optional(instant) }),
  unlocked: onlyId,
  refreshed: onlyId,
  revoked: onlyId,
  authenticated: onlyId,
  expiring: notice,
  failed: record({ id, code: text, message: text, holders: optional(list(record(holder))) }),
  lost: record({
    fence: id,
    reason: oneOf('expired', 'stolen', 'revoked'),
    note: optional(text),
  }),
  ping: record({ n: amount }),
  ack: record({ n: id, at: instant }),
  found: record({
    ...heldPart,
    waiting: list(record(waitingInfo), maxQueryItems),
    waitingCount: amount,
  }),
  watching: record(heldPart),
  event: record({
    watch: idOrIds,
    event: record({ event: oneOf('locked', 'unlocked', 'expired', 'lost'), ...heldInfo }),
  }),
  stats: record({
    id,
    stats: record({
      totalLocks: amount,
      activeLocks: amount,
      failedLocks: amount,
      expiredLocks: amount,
      refreshCount: amount,
      unlockCount: amount,
      successRate: that((value) => typeof value === 'number' && value >= 0 && value <= 1),
    }),
  }),
  draining: notice,
}

/**
 * What is wrong with a message from a broker, in words that name the field and its value
 * ("granted.fence cannot be -1"). Undefined if the message may be acted upon, or if its type is not
 * known, because a client ignores such messages. Never throws, and repeats no string of the broker.
 */
export function faultOf(message: unknown): string | undefined {
  return isValidFast(message) ? undefined : findFault(message)
}

/** The hand-written checks: true only for what the table of shapes accepts, false for "ask it". */
export function isValidFast(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return false
  const { type, id, fence, at } = message as Partial<Record<string, unknown>>
  switch (type) {
    case 'granted':
      return (
        isIntegerFrom(id, 1) &&
        isIntegerFrom(fence, 1) &&
        (at === undefined || Number.isSafeInteger(at))
      )
    case 'unlocked':
    case 'refreshed':
      return isIntegerFrom(id, 1)
    default:
      return false
  }
}

/** The table's verdict, in the words of {@link faultOf}. */
export function findFault(message: unknown): string | undefined {
  if (!isRecord(message)) return `it${verdictOn(message)}`
  const type = ownField(message, 'type')
  if (typeof type !== 'string') return `its type${verdictOn(type)}`
  if (!Object.hasOwn(shapes, type)) return undefined
  const fault = shapes[type as ServerMessage['type']](message)
  return fault && type + fault
}

/** Whether a value is a safe integer within these bounds, which are included. */
export function isIntegerFrom(value: unknown, least: number, most = Infinity): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `JSON.parse` makes no other fields than own ones; a prototype's are none of the message's. */
function ownField(value: object, field: string): unknown {
  return Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined
}

/** Strings are not shown: they may be long, and would reach a terminal. */
function verdictOn(value: unknown): string {
  return value === undefined ? ' is missing' : ` cannot be ${nameOf(value)}`
}

function nameOf(value: unknown): string {
  if (typeof value === 'string') return 'this string'
  if (typeof value !== 'object' || value === null) return String(value)
  return Array.isArray(value) ? 'this array' : 'this object'
}
