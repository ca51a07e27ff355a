/**
 * Checks a message from a broker before the client acts on the message, because a broker may be
 * faulty, and because the program at the other end of the connection may not be a broker. A message
 * with a wrong field must not make the client throw. Such a message must also not make the client
 * believe that it holds a lock that the broker has ended.
 *
 * The check has two stages:
 * 1. `isValidFast` accepts valid `granted`, `unlocked` and `refreshed` messages, which are the most
 *    frequent messages.
 * 2. `faultByShape` checks every other message with the table `messageFaultFinders` and describes
 *    the wrong field.
 *
 * The two stages are written by hand, because the library superstruct would be a third of the
 * browser bundle. A property test compares the table `messageFaultFinders` with the superstruct
 * schemas in `brokerSchemas.ts`: both must accept exactly the same messages.
 *
 * `clientMessages.ts` explains the terms of the protocol, and `brokerMessages.ts` the fields. In
 * short: a fence is the number of a grant; a later grant has a higher fence. A ttl is the time in
 * ms after which a lock expires.
 */
import { isKey } from '../keys.js'
import { maxCalendarTime, maxDurationMs, maxIdOrSecretLength, maxQueryItems } from '../limits.js'
import { lockEventNames, type ServerMessage } from './brokerMessages.js'

/**
 * Finds the first fault in a value. Returns undefined if the value has no fault. Otherwise returns
 * one text: the path from the value to its faulty part, followed by the fault of that part, such as
 * ".fence cannot be -1". The path is empty if the value itself is faulty.
 */
type FaultFinder = (value: unknown) => string | undefined

/**
 * The known fields of a message or of a list item, each with the finder for its value. A message or
 * a list item may have further fields, which are not checked.
 */
type Shape = Readonly<Record<string, FaultFinder>>

const accepting =
  (isValid: (value: unknown) => boolean): FaultFinder =>
  (value) =>
    isValid(value) ? undefined : faultText(value)

const integerBetween = (min: number, max?: number): FaultFinder =>
  accepting((value) => isIntegerInRange(value, min, max))

const optional =
  (findFault: FaultFinder): FaultFinder =>
  (value) =>
    value === undefined ? undefined : findFault(value)

const listOf =
  (findFault: FaultFinder, maxLength = Infinity): FaultFinder =>
  (value) => {
    if (!Array.isArray(value) || value.length > maxLength) return faultText(value)
    for (let i = 0; i < value.length; i++) {
      const fault = findFault(value[i])
      if (fault !== undefined) return `[${i}]${fault}`
    }
    return undefined
  }

const record =
  (shape: Shape): FaultFinder =>
  (value) => {
    if (!isRecord(value)) return faultText(value)
    for (const field in shape) {
      const fault = shape[field]!(ownField(value, field))
      if (fault !== undefined) return `.${field}${fault}`
    }
    return undefined
  }

// Each finder below has the name of the values that it accepts. A table of fields has a name that
// ends with `Fields`; the function `record` makes a finder from such a table.
const text = accepting((value) => typeof value === 'string')
const flag = accepting((value) => typeof value === 'boolean')
const key = accepting(isKey)
const shortText = accepting(
  (value) => typeof value === 'string' && value.length >= 1 && value.length <= maxIdOrSecretLength,
)
/** A number of permits, keys, calls or messages: an integer from 1. */
const positiveInteger = integerBetween(1)
const id = positiveInteger
const fence = positiveInteger
/** A count, or a duration without an upper limit: an integer from 0. */
const integerFromZero = integerBetween(0)
/** A time on the broker's wall clock, in ms since 1970. */
const calendarTime = integerBetween(0, maxCalendarTime)
/** A point in time by the broker's monotonic clock, in ms. */
const instant = accepting(Number.isSafeInteger)
/** The ttl of a lock, or the lease (how long the broker keeps a silent session), in ms. */
const duration = integerBetween(1, maxDurationMs)
/**
 * The grace (how long the broker keeps a session after its connection dropped), or the time until a
 * lock ends, in ms.
 */
const durationFromZero = integerBetween(0, maxDurationMs)
const optionalTimeLeft = optional(durationFromZero)
/** A newer broker may have more modes. */
const mode = text

/**
 * A holder also has the field `metadata`. This field has no finder, because its value may be any
 * JSON value.
 */
const holderFields: Shape = {
  session: text,
  name: optional(text),
  permits: optional(positiveInteger),
  maxHold: optional(duration),
  fence,
  since: calendarTime,
}
const onlyTrue = accepting((value) => value === true)
/** The requests of a deadlock, each waiting for the next. */
const cycle = listOf(
  record({
    key: optional(key),
    session: text,
    name: optional(text),
    scope: optional(id),
  }),
)
const refusedDeadlock = record({ since: calendarTime, cycle })
/**
 * The fields that only special locks and requests have: those that use permits, a set, a scope,
 * `once`, an election or `maxHold` (a limit on how long the lock may be held).
 */
const specialFields: Shape = {
  permits: optional(positiveInteger),
  capacity: optional(positiveInteger),
  keyCount: optional(positiveInteger),
  maxHold: optional(duration),
  scope: optional(id),
  once: optional(onlyTrue),
  election: optional(flag),
}
/**
 * The lock of a leader also has the field `value`. Like `metadata`, this field has no finder,
 * because its value may be any JSON value.
 */
const lockFields: Shape = { key, mode, ttl: optional(duration), ...holderFields, ...specialFields }
/** A request that waits, as queries show it, without its id. */
const waitingFields: Shape = {
  key,
  mode,
  session: text,
  name: optional(text),
  since: calendarTime,
  ...specialFields,
  upgrade: optional(onlyTrue),
}
/** A request that waits, as watches show it: with its id, by which later events name it. */
const queuedFields: Shape = { ...waitingFields, request: id }
const barrierCallFields: Shape = {
  key,
  // A barrier with one party would delay no call.
  parties: integerBetween(2),
  // How many calls wait at the barrier.
  waiting: positiveInteger,
  session: text,
  name: optional(text),
  since: calendarTime,
}
/**
 * A result of a `once` that the broker keeps for later calls, as queries show it: without the value
 * itself.
 */
const keptResultFields: Shape = {
  key,
  size: integerFromZero,
  fence,
  since: calendarTime,
  // `keep` is the whole time for which the broker keeps the value, and `remaining` is how much of
  // this time is left.
  keep: duration,
  remaining: optional(integerFromZero),
}
const sessionFields: Shape = {
  session: text,
  lease: duration,
  grace: durationFromZero,
  connected: flag,
  principal: optional(text),
  address: optional(text),
}
const lockEvent = record({ event: text, ...lockFields })
const queueEvent = record({
  event: text,
  // A newer broker may have more reasons.
  reason: optional(text),
  ...queuedFields,
})
/**
 * The finders for a change of a lock or a queue, by the kind of the change. Example of a message:
 *
 *     { type: 'event', watch: 3, event: { event: 'locked', key: 'k', ... } }
 *
 * The outer field `event` is the change. The inner field `event` is its kind.
 */
const changeFaultFinders = new Map<unknown, FaultFinder>([
  ...lockEventNames.map((kind) => [kind, lockEvent] as const),
  ['queued', queueEvent],
  ['dequeued', queueEvent],
])
/** A newer broker may have more kinds, which the client ignores, so the fields are not checked. */
const unknownChange = record({ event: text })
const holders = listOf(record({ ...holderFields, key: optional(key) }))
/** The fields that the messages `found` and `watching` share: an id and a list of held locks. */
const heldListFields: Shape = {
  id,
  held: listOf(
    record({ ...lockFields, ttlRemaining: optionalTimeLeft, maxHoldRemaining: optionalTimeLeft }),
    maxQueryItems,
  ),
  heldCount: integerFromZero,
  more: flag,
}

const idRecord = record({ id })
/** `within`: in how many ms the token expires, or the broker closes the connections. */
const withinRecord = record({ within: integerFromZero })
const ids = listOf(id)
/** The id of one watch, or a list of ids. */
const idOrIds: FaultFinder = (value) => (Array.isArray(value) ? ids(value) : id(value))

const messageFaultFinders: { readonly [T in ServerMessage['type']]: FaultFinder } = {
  welcome: record({
    session: shortText,
    resumed: flag,
    secret: optional(shortText),
    lease: duration,
    grace: durationFromZero,
    maxHoldMs: optional(duration),
    at: instant,
    version: optional(shortText),
    features: optional(listOf(shortText)),
    cell: optional(shortText),
  }),
  snapshot: record({
    held: listOf(
      record({
        id,
        key,
        mode,
        fence,
        // The newest fence of a lock that was upgraded. `fence` is the first fence of the lock.
        presentFence: optional(fence),
        ttl: optional(duration),
        at: optional(instant),
      }),
    ),
    // The ids of the requests that wait.
    waiting: listOf(id),
    more: flag,
  }),
  granted: record({ id, fence, at: optional(instant) }),
  scopeEnded: idRecord,
  downgraded: idRecord,
  unlocked: idRecord,
  refreshed: idRecord,
  proclaimed: idRecord,
  revoked: idRecord,
  passed: idRecord,
  // The field `value` has no finder, because its value may be any JSON value.
  result: record({ id, fence }),
  authenticated: idRecord,
  expiring: withinRecord,
  failed: record({
    id,
    code: text,
    message: text,
    holders: optional(holders),
    capacity: optional(positiveInteger),
    cycle: optional(cycle),
  }),
  lost: record({
    fence,
    // Any text is valid: the client must treat the lock as lost even if a newer broker gives an
    // unknown reason.
    reason: text,
    note: optional(text),
  }),
  queued: record({ id, ahead: integerFromZero, holders }),
  // `waiting` is the number of requests that wait for the lock with this fence.
  contended: record({ fence, waiting: integerFromZero }),
  ping: record({ n: integerFromZero }),
  ack: record({ n: positiveInteger, at: instant }),
  found: record({
    ...heldListFields,
    waiting: listOf(record(waitingFields), maxQueryItems),
    waitingCount: integerFromZero,
    arrived: optional(listOf(record(barrierCallFields), maxQueryItems)),
    arrivedCount: optional(integerFromZero),
    kept: optional(listOf(record(keptResultFields), maxQueryItems)),
    keptCount: optional(integerFromZero),
    // At most one session, because a query of the kind `sessions` names one session.
    sessions: optional(listOf(record(sessionFields), 1)),
    sessionsCount: optional(integerFromZero),
  }),
  watching: record({
    ...heldListFields,
    waiting: optional(listOf(record(queuedFields), maxQueryItems)),
    waitingCount: optional(integerFromZero),
  }),
  // See the example at `changeFaultFinders`.
  event: record({
    watch: idOrIds,
    event: (value) => (changeFaultFinders.get(kindOf(value)) ?? unknownChange)(value),
  }),
  stats: record({
    id,
    stats: record({
      totalLocks: integerFromZero,
      activeLocks: integerFromZero,
      failedLocks: integerFromZero,
      expiredLocks: integerFromZero,
      refreshCount: integerFromZero,
      unlockCount: integerFromZero,
      successRate: accepting((value) => typeof value === 'number' && value >= 0 && value <= 1),
      barriers: optional(integerFromZero),
      barrierCalls: optional(integerFromZero),
      keptResults: optional(integerFromZero),
      refusedDeadlocks: optional(integerFromZero),
      newestDeadlock: optional(refusedDeadlock),
      deadlocks: optional(listOf(refusedDeadlock)),
    }),
  }),
  draining: withinRecord,
}

/**
 * Returns the fault of a message from a broker: the faulty field and its value, such as
 * "granted.fence cannot be -1". Returns undefined for a valid message. Also returns undefined for a
 * message of unknown type, because a client ignores unknown types. Never throws. The returned text
 * contains no string that the broker sent.
 */
export function faultOfBrokerMessage(message: unknown): string | undefined {
  return isValidFast(message) ? undefined : faultByShape(message)
}

/**
 * The first stage. True if the message is certainly valid, so that `faultByShape` would find no
 * fault. False if the second stage must decide.
 */
export function isValidFast(message: unknown): boolean {
  if (!isRecord(message)) return false
  const { type, id, fence, at } = message as Partial<Record<string, unknown>>
  switch (type) {
    case 'granted':
      return (
        isIntegerInRange(id, 1) &&
        isIntegerInRange(fence, 1) &&
        (at === undefined || Number.isSafeInteger(at))
      )
    case 'unlocked':
    case 'refreshed':
      return isIntegerInRange(id, 1)
    default:
      return false
  }
}

/**
 * The second stage: checks the message with the table `messageFaultFinders` and returns its fault;
 * undefined if the message is valid or of unknown type.
 */
export function faultByShape(message: unknown): string | undefined {
  // The caller puts this text after a beginning such as "the broker sent an invalid message: ".
  if (!isRecord(message)) return `it${faultText(message)}`
  const type = ownField(message, 'type')
  if (typeof type !== 'string') return `its type${faultText(type)}`
  if (!Object.hasOwn(messageFaultFinders, type)) return undefined
  const fault = messageFaultFinders[type as ServerMessage['type']](message)
  return fault && type + fault
}

/** Whether a value is a safe integer from `min` to `max`, `min` and `max` included. */
export function isIntegerInRange(value: unknown, min: number, max = Infinity): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}

/**
 * Whether the client knows the kind of a change. A newer broker may have more kinds, which a client
 * ignores.
 */
export function isKnownEvent(change: object): boolean {
  return changeFaultFinders.has(kindOf(change))
}

/** The kind of a change, such as `locked`. */
function kindOf(change: unknown): unknown {
  return isRecord(change) ? ownField(change, 'event') : undefined
}

function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Reads a field of the object itself, because fields of its prototype are not in the message. */
function ownField(value: object, field: string): unknown {
  return Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined
}

/** The fault of a value, with a space in front, to be appended to the path of the value. */
export function faultText(value: unknown): string {
  return value === undefined ? ' is missing' : ` cannot be ${shownValue(value)}`
}

/** The text for a faulty value. Hides strings, which may be long or have control characters. */
function shownValue(value: unknown): string {
  if (typeof value === 'string') return 'this string'
  if (typeof value !== 'object' || value === null) return String(value)
  return Array.isArray(value) ? 'this array' : 'this object'
}
