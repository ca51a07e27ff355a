/**
 * One schema of the library superstruct for each message that a broker may send, by `type`. The
 * schemas define which messages are valid. Tests compare `checkBrokerMessage.ts` with the schemas.
 * The author of another broker may test that broker with these schemas. No client loads this file.
 *
 * The schemas in this file allow unknown fields, unlike the schemas in `clientSchemas.ts`. A client
 * must ignore unknown fields, so that an old client works with a new broker. The schemas of single
 * fields come from `clientSchemas.ts`. `clientMessages.ts` explains the terms of the protocol.
 */
import {
  array,
  boolean,
  type Describe,
  enums,
  literal,
  max,
  min,
  number,
  optional,
  refine,
  size,
  string,
  type,
  union,
  unknown,
} from 'superstruct'
import type { BrokerLossReason, ErrorCode } from '../errors.js'
import { maxCalendarTime, maxQueryItems } from '../limits.js'
import {
  type DequeueReason,
  type HeldInfo,
  lockEventNames,
  type QueuedInfo,
  type QueueEvent,
  type ServerMessage,
  type WaitingInfo,
} from './brokerMessages.js'
import type { LockMode } from './clientMessages.js'
import {
  Duration,
  DurationFromZero,
  Fence,
  Id,
  Key,
  PositiveInteger,
  ShortText,
  safeInteger,
} from './clientSchemas.js'
import type { BarrierCallInfo, KeptResultInfo, SessionInfo } from './queryItems.js'

/** A count, or a duration without an upper limit: an integer from 0. */
const IntegerFromZero = min(safeInteger, 0)
/** A time on the broker's wall clock, in ms since 1970. */
const CalendarTime = max(min(safeInteger, 0), maxCalendarTime)
/** Any text is valid, because a newer broker may have modes that a client does not know. */
const Mode = string() as unknown as Describe<LockMode>

const holderFields = {
  session: string(),
  name: optional(string()),
  metadata: unknown(),
  key: optional(Key),
  permits: optional(PositiveInteger),
  maxHold: optional(Duration),
  fence: Fence,
  since: CalendarTime,
}
/** The requests of a deadlock, which wait for each other. */
const Cycle = array(
  type({ key: optional(Key), session: string(), name: optional(string()), scope: optional(Id) }),
)
const queueEventNames: readonly QueueEvent['event'][] = ['queued', 'dequeued']
const knownEventNames = new Set<string>([...lockEventNames, ...queueEventNames])
/** A client ignores an event of an unknown kind, so its other fields may have any value. */
const UnknownEventName = refine(string(), 'unknown kind', (name) => !knownEventNames.has(name))
const optionalTrue = optional(literal(true)) as unknown as Describe<true | undefined>
/**
 * The fields of locks and requests that use permits, a set, a scope, `once`, an election or
 * `maxHold` (a limit on how long the lock may be held).
 */
const specialFields = {
  permits: optional(PositiveInteger),
  capacity: optional(PositiveInteger),
  keyCount: optional(PositiveInteger),
  maxHold: optional(Duration),
  scope: optional(Id),
  once: optionalTrue,
  // False means the same as an absent field.
  election: optional(boolean()),
}
/** A lock in an event. */
const lockFields = {
  ...holderFields,
  ...specialFields,
  value: unknown(),
  key: Key,
  mode: Mode,
  ttl: optional(Duration),
}
/** A lock in `found` or `watching`. Such a lock also has the remaining times. */
const heldFields = {
  ...lockFields,
  ttlRemaining: optional(DurationFromZero),
  maxHoldRemaining: optional(DurationFromZero),
}
/** The held locks in `found` and `watching`. */
const HeldList = size(array(type(heldFields) as Describe<HeldInfo>), 0, maxQueryItems)
const waitingFields = {
  key: Key,
  mode: Mode,
  session: string(),
  name: optional(string()),
  since: CalendarTime,
  ...specialFields,
  upgrade: optionalTrue,
}
const WaitingList = size(array(type(waitingFields) as Describe<WaitingInfo>), 0, maxQueryItems)
const queuedFields = { ...waitingFields, request: Id }
const QueuedList = size(array(type(queuedFields) as Describe<QueuedInfo>), 0, maxQueryItems)
const BarrierCallList = size(
  array(
    type({
      key: Key,
      // A barrier with one party would delay no call.
      parties: min(safeInteger, 2),
      waiting: PositiveInteger,
      session: string(),
      name: optional(string()),
      since: CalendarTime,
    }) as Describe<BarrierCallInfo>,
  ),
  0,
  maxQueryItems,
)
const KeptList = size(
  array(
    type({
      key: Key,
      size: IntegerFromZero,
      fence: Fence,
      since: CalendarTime,
      keep: Duration,
      remaining: optional(IntegerFromZero),
    }) as Describe<KeptResultInfo>,
  ),
  0,
  maxQueryItems,
)
/** At most one session, because a query of the kind `sessions` names one session. */
const SessionList = size(
  array(
    type({
      session: string(),
      lease: Duration,
      grace: DurationFromZero,
      connected: boolean(),
      principal: optional(string()),
      address: optional(string()),
    }) as Describe<SessionInfo>,
  ),
  0,
  1,
)
/** The held locks in `snapshot`. They have other fields than the held locks in `found`. */
const SnapshotLocks = array(
  type({
    id: Id,
    key: Key,
    mode: Mode,
    fence: Fence,
    // The newest fence; absent if the lock was not upgraded. `fence` is the first fence.
    presentFence: optional(Fence),
    ttl: optional(Duration),
    // Each `at` in this file is a time on the broker's monotonic clock, which may be negative.
    at: optional(safeInteger),
  }),
)
const RefusedDeadlock = type({ since: CalendarTime, cycle: Cycle })
const StatsFields = type({
  totalLocks: IntegerFromZero,
  activeLocks: IntegerFromZero,
  failedLocks: IntegerFromZero,
  expiredLocks: IntegerFromZero,
  refreshCount: IntegerFromZero,
  unlockCount: IntegerFromZero,
  successRate: max(min(number(), 0), 1),
  barriers: optional(IntegerFromZero),
  barrierCalls: optional(IntegerFromZero),
  keptResults: optional(IntegerFromZero),
  refusedDeadlocks: optional(IntegerFromZero),
  newestDeadlock: optional(RefusedDeadlock),
  deadlocks: optional(array(RefusedDeadlock)),
})

/** The schema of each message from a broker, by `type`. */
export const brokerSchemas = {
  welcome: type({
    type: literal('welcome'),
    session: ShortText,
    resumed: boolean(),
    secret: optional(ShortText),
    lease: Duration,
    grace: DurationFromZero,
    maxHoldMs: optional(Duration),
    at: safeInteger,
    version: optional(ShortText),
    features: optional(array(ShortText)),
    cell: optional(ShortText),
  }),
  snapshot: type({
    type: literal('snapshot'),
    held: SnapshotLocks,
    waiting: array(Id),
    more: boolean(),
  }),
  granted: type({ type: literal('granted'), id: Id, fence: Fence, at: optional(safeInteger) }),
  scopeEnded: type({ type: literal('scopeEnded'), id: Id }),
  downgraded: type({ type: literal('downgraded'), id: Id }),
  unlocked: type({ type: literal('unlocked'), id: Id }),
  refreshed: type({ type: literal('refreshed'), id: Id }),
  proclaimed: type({ type: literal('proclaimed'), id: Id }),
  revoked: type({ type: literal('revoked'), id: Id }),
  passed: type({ type: literal('passed'), id: Id }),
  result: type({ type: literal('result'), id: Id, fence: Fence, value: unknown() }),
  authenticated: type({ type: literal('authenticated'), id: Id }),
  expiring: type({ type: literal('expiring'), within: IntegerFromZero }),
  failed: type({
    type: literal('failed'),
    id: Id,
    // Any text is valid, because a newer broker may have codes that a client does not know.
    code: string() as unknown as Describe<ErrorCode>,
    message: string(),
    holders: optional(array(type(holderFields))),
    capacity: optional(PositiveInteger),
    cycle: optional(Cycle),
  }),
  lost: type({
    type: literal('lost'),
    fence: Fence,
    // Any text is valid, because the lock is lost whatever the reason.
    reason: string() as unknown as Describe<BrokerLossReason>,
    note: optional(string()),
  }),
  queued: type({
    type: literal('queued'),
    id: Id,
    ahead: IntegerFromZero,
    holders: array(type(holderFields)),
  }),
  contended: type({ type: literal('contended'), fence: Fence, waiting: IntegerFromZero }),
  ping: type({ type: literal('ping'), n: IntegerFromZero }),
  ack: type({ type: literal('ack'), n: PositiveInteger, at: safeInteger }),
  found: type({
    type: literal('found'),
    id: Id,
    held: HeldList,
    waiting: WaitingList,
    heldCount: IntegerFromZero,
    waitingCount: IntegerFromZero,
    more: boolean(),
    arrived: optional(BarrierCallList),
    arrivedCount: optional(IntegerFromZero),
    kept: optional(KeptList),
    keptCount: optional(IntegerFromZero),
    sessions: optional(SessionList),
    sessionsCount: optional(IntegerFromZero),
  }),
  watching: type({
    type: literal('watching'),
    id: Id,
    held: HeldList,
    heldCount: IntegerFromZero,
    waiting: optional(QueuedList),
    waitingCount: optional(IntegerFromZero),
    more: boolean(),
  }),
  event: type({
    type: literal('event'),
    watch: union([Id, array(Id)]),
    // This outer field `event` is a change of a lock or a queue. The inner field `event` is the
    // kind of the change.
    event: union([
      type({
        event: enums(lockEventNames),
        ...lockFields,
      }),
      type({
        event: enums(queueEventNames),
        reason: optional(string() as unknown as Describe<DequeueReason>),
        ...queuedFields,
      }),
      type({ event: UnknownEventName }),
    ]),
  }),
  stats: type({ type: literal('stats'), id: Id, stats: StatsFields }),
  draining: type({ type: literal('draining'), within: IntegerFromZero }),
} as const satisfies Record<ServerMessage['type'], unknown>
