/**
 * Checks a message from a broker before the client acts on it. A broker may be faulty, or the
 * server may be no broker at all. A wrong field must neither throw nor make a lock seem to last
 * longer.
 *
 * There are two stages:
 * 1. `isValidFast` accepts the three answers that nearly every lock needs.
 * 2. `findFault` checks every other message against the table `shapes` and names the wrong field.
 *
 * Both are written by hand, because superstruct would be a third of the browser bundle. A property
 * test proves that the table accepts the same messages as the schemas in `brokerSchemas.ts`.
 */
import { isKey } from '../keys.js'
import { maxMs, maxQueryItems, maxSecretLength } from '../limits.js'
import type { ServerMessage } from './brokerMessages.js'

/**
 * Finds a fault in a value. Returns the path to the faulty part, which is empty for the value
 * itself, and a description (".fence cannot be -1"). Returns undefined if the value has no fault.
 */
type Find = (value: unknown) => string | undefined

/** The fields of a message or of a list item. Other fields may be there and have any value. */
type Shape = Readonly<Record<string, Find>>

const matching =
  (isValid: (value: unknown) => boolean): Find =>
  (value) =>
    isValid(value) ? undefined : faultIn(value)

const from = (least: number, most?: number): Find =>
  matching((value) => isIntegerFrom(value, least, most))

const oneOf = (...values: readonly unknown[]): Find => matching((value) => values.includes(value))

const optional =
  (find: Find): Find =>
  (value) =>
    value === undefined ? undefined : find(value)

const list =
  (find: Find, most = Infinity): Find =>
  (value) => {
    if (!Array.isArray(value) || value.length > most) return faultIn(value)
    for (let i = 0; i < value.length; i++) {
      const fault = find(value[i])
      if (fault !== undefined) return `[${i}]${fault}`
    }
    return undefined
  }

const record =
  (shape: Shape): Find =>
  (value) => {
    if (!isRecord(value)) return faultIn(value)
    for (const field in shape) {
      const fault = shape[field]!(ownField(value, field))
      if (fault !== undefined) return `.${field}${fault}`
    }
    return undefined
  }

const text = matching((value) => typeof value === 'string')
const flag = matching((value) => typeof value === 'boolean')
const key = matching(isKey)
const shortText = matching(
  (value) => typeof value === 'string' && value.length >= 1 && value.length <= maxSecretLength,
)
const id = from(1)
const amount = from(0)
/** A time on the broker's clock. */
const instant = matching(Number.isSafeInteger)
/** A lease or a ttl, in ms. */
const duration = from(1, maxMs)
const mode = oneOf('exclusive', 'shared')

/** The metadata has no check, because it may be any JSON value. */
const holder: Shape = { session: text, name: optional(text), fence: id, since: amount }
const heldInfo: Shape = { key, mode, ...holder }
const waitingInfo: Shape = { key, mode, session: text, name: optional(text), since: amount }
/** The fields that `found` and `watching` have in common. */
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
      successRate: matching((value) => typeof value === 'number' && value >= 0 && value <= 1),
    }),
  }),
  draining: notice,
}

/**
 * The fault of a message from a broker, with the field and its value ("granted.fence cannot be
 * -1"). Undefined if the message is valid, or if its type is not known, because a client ignores
 * unknown types. Never throws. The description repeats no text of the broker.
 */
export function faultOf(message: unknown): string | undefined {
  return isValidFast(message) ? undefined : findFault(message)
}

/** The first stage. True only for messages that `findFault` accepts too; false means "not sure". */
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

/** The second stage: the result of {@link faultOf}, by the table of shapes. */
export function findFault(message: unknown): string | undefined {
  if (!isRecord(message)) return `it${faultIn(message)}`
  const type = ownField(message, 'type')
  if (typeof type !== 'string') return `its type${faultIn(type)}`
  if (!Object.hasOwn(shapes, type)) return undefined
  const fault = shapes[type as ServerMessage['type']](message)
  return fault && type + fault
}

/** Whether a value is a safe integer from `least` to `most`, both included. */
export function isIntegerFrom(value: unknown, least: number, most = Infinity): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A field of the message itself. Fields of its prototype are not part of the message. */
function ownField(value: object, field: string): unknown {
  return Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined
}

/** Does not show strings, because they may be long and may contain control characters. */
function faultIn(value: unknown): string {
  return value === undefined ? ' is missing' : ` cannot be ${nameOf(value)}`
}

function nameOf(value: unknown): string {
  if (typeof value === 'string') return 'this string'
  if (typeof value !== 'object' || value === null) return String(value)
  return Array.isArray(value) ? 'this array' : 'this object'
}
