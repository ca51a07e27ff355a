/**
 * One schema of the library superstruct for each message that a broker may send, by `type`. The
 * schemas define which messages are valid. Tests compare `checkBrokerMessage.ts` with the schemas,
 * and the author of another broker may test that broker with them. No client loads this file.
 *
 * The schemas in this file allow unknown fields, unlike the schemas in `clientSchemas.ts`. A client
 * must ignore unknown fields, so that an old client works with a new broker. The schemas of single
 * fields come from `clientSchemas.ts`.
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
  size,
  string,
  type,
  union,
  unknown,
} from 'superstruct'
import type { ErrorCode } from '../errors.js'
import { maxQueryItems } from '../limits.js'
import type {
  BarrierCallInfo,
  HeldInfo,
  KeptResultInfo,
  QueuedInfo,
  ServerMessage,
  WaitingInfo,
} from './brokerMessages.js'
import { Fence, Id, Key, ShortText, safeInteger, Timeout, Ttl } from './clientSchemas.js'

/** A count, a duration or a time since 1970: an integer from 0. */
const Amount = min(safeInteger, 0)
const Mode = enums(['exclusive', 'shared', 'permits'])

const holderFields = {
  session: string(),
  name: optional(string()),
  metadata: unknown(),
  key: optional(Key),
  permits: optional(Id),
  maxHold: optional(Ttl),
  fence: Fence,
  since: Amount,
}
const Cycle = array(
  type({ key: optional(Key), session: string(), name: optional(string()), scope: optional(Id) }),
)
const onlyTrue = optional(literal(true)) as unknown as Describe<true | undefined>
/**
 * The fields that only locks and requests of a special kind have: permits, sets, once, elections.
 */
const specialFields = {
  permits: optional(Id),
  capacity: optional(Id),
  keyCount: optional(Id),
  maxHold: optional(Ttl),
  scope: optional(Id),
  once: onlyTrue,
  election: optional(boolean()),
}
const heldFields = { ...holderFields, ...specialFields, value: unknown(), key: Key, mode: Mode }
/** The held locks in `found` and `watching`. */
const HeldList = size(array(type(heldFields) as Describe<HeldInfo>), 0, maxQueryItems)
const waitingFields = {
  key: Key,
  mode: Mode,
  session: string(),
  name: optional(string()),
  since: Amount,
  ...specialFields,
  upgrade: onlyTrue,
}
const WaitingList = size(array(type(waitingFields) as Describe<WaitingInfo>), 0, maxQueryItems)
const queuedFields = { ...waitingFields, request: Id }
const QueuedList = size(array(type(queuedFields) as Describe<QueuedInfo>), 0, maxQueryItems)
const CallList = size(
  array(
    type({
      key: Key,
      parties: min(safeInteger, 2),
      waiting: Id,
      session: string(),
      name: optional(string()),
      since: Amount,
    }) as Describe<BarrierCallInfo>,
  ),
  0,
  maxQueryItems,
)
const KeptList = size(
  array(
    type({
      key: Key,
      size: Amount,
      fence: Fence,
      since: Amount,
      keep: Ttl,
      remaining: optional(Amount),
    }) as Describe<KeptResultInfo>,
  ),
  0,
  maxQueryItems,
)
/** The held locks in `snapshot`, which have other fields than in `found`. */
const SnapshotLocks = array(
  type({
    id: Id,
    key: Key,
    mode: Mode,
    fence: Fence,
    presentFence: optional(Fence),
    ttl: optional(Ttl),
    at: optional(safeInteger),
  }),
)
const Counters = type({
  totalLocks: Amount,
  activeLocks: Amount,
  failedLocks: Amount,
  expiredLocks: Amount,
  refreshCount: Amount,
  unlockCount: Amount,
  successRate: max(min(number(), 0), 1),
  barriers: optional(Amount),
  barrierCalls: optional(Amount),
  keptResults: optional(Amount),
  refusedDeadlocks: optional(Amount),
  newestDeadlock: optional(type({ since: Amount, cycle: Cycle })),
})

/** The schema of each message from a broker, by `type`. */
export const brokerSchemas = {
  welcome: type({
    type: literal('welcome'),
    session: ShortText,
    resumed: boolean(),
    secret: optional(ShortText),
    lease: Ttl,
    grace: Timeout,
    maxHoldMs: optional(Ttl),
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
  expiring: type({ type: literal('expiring'), within: Amount }),
  failed: type({
    type: literal('failed'),
    id: Id,
    // Any text is valid, because a newer broker may have codes that a client does not know.
    code: string() as unknown as Describe<ErrorCode>,
    message: string(),
    holders: optional(array(type(holderFields))),
    capacity: optional(Id),
    cycle: optional(Cycle),
  }),
  lost: type({
    type: literal('lost'),
    fence: Fence,
    reason: enums(['expired', 'maxHold', 'stolen', 'revoked']),
    note: optional(string()),
  }),
  queued: type({
    type: literal('queued'),
    id: Id,
    ahead: Amount,
    holders: array(type(holderFields)),
  }),
  contended: type({ type: literal('contended'), fence: Fence, waiting: Amount }),
  ping: type({ type: literal('ping'), n: Amount }),
  ack: type({ type: literal('ack'), n: Id, at: safeInteger }),
  found: type({
    type: literal('found'),
    id: Id,
    held: HeldList,
    waiting: WaitingList,
    heldCount: Amount,
    waitingCount: Amount,
    more: boolean(),
    arrived: optional(CallList),
    arrivedCount: optional(Amount),
    kept: optional(KeptList),
    keptCount: optional(Amount),
  }),
  watching: type({
    type: literal('watching'),
    id: Id,
    held: HeldList,
    heldCount: Amount,
    waiting: optional(QueuedList),
    waitingCount: optional(Amount),
    more: boolean(),
  }),
  event: type({
    type: literal('event'),
    watch: union([Id, array(Id)]),
    event: union([
      type({
        event: enums([
          'locked',
          'upgraded',
          'downgraded',
          'unlocked',
          'expired',
          'lost',
          'proclaimed',
        ]),
        ...heldFields,
      }),
      type({
        event: enums(['queued', 'dequeued']),
        reason: optional(enums(['granted', 'timeout', 'aborted', 'ended', 'answered'])),
        ...queuedFields,
      }),
    ]),
  }),
  stats: type({ type: literal('stats'), id: Id, stats: Counters }),
  draining: type({ type: literal('draining'), within: Amount }),
} as const satisfies Record<ServerMessage['type'], unknown>
