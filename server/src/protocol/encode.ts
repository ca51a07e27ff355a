/**
 * Encodes the messages of the broker as JSON text. Frequent messages use templates, because a
 * template is several times faster than `JSON.stringify`. Numbers, codes and session ids in a
 * template need no escaping.
 *
 * The messages carry times in ms, rounded down. Only the remaining times of locks and of kept
 * results are rounded up. A *fence* is the number of a grant; a later grant has a higher fence. An
 * upgrade (from shared to exclusive) gives a lock a new fence: `fence` is the first fence of a
 * lock, and `presentFence` is its newest. The `extras` of a lock or request are the options that
 * only few locks and requests have. `clientMessages.ts` of the package `shared` explains the other
 * terms, such as ttl, permits, set, scope, once and barrier.
 */
import {
  type BarrierCallInfo,
  type BrokerLossReason,
  type DequeueReason,
  type ErrorCode,
  errorCodes,
  integerText,
  type KeptResultInfo,
  type LockEvent,
  type LockMode,
  type LockStats,
  type QueuedInfo,
  type RefusedDeadlock,
  type SessionInfo,
  type CycleEntry as SharedCycleEntry,
  type WaitingInfo,
} from '@holdfast/shared'
import { limitMessage, limitNameOf } from '../config/limits.js'
import type {
  Answer,
  Barrier,
  BarrierCall,
  CycleEntry,
  KeptResult,
  Lock,
  Request,
  Session,
  SharedResult,
  StoredHolder,
} from '../core/index.js'
import type { SessionLimits } from '../core/sessionCommands.js'
import { brokerFeatures, brokerVersion } from './features.js'

/** The last fields of every `welcome`, except `cell`. */
const welcomeFields = `"version":${JSON.stringify(brokerVersion)},"features":${JSON.stringify(brokerFeatures)}`

/**
 * @param secret The secret that the client must send to resume the session. Undefined without a
 *   grace, which is the time in which a client may resume.
 * @param at When `hello` arrived, in ms.
 * @param cell The cell of this broker (its share of all keys), such as `1/4`; undefined if the
 *   broker serves all keys.
 */
export function encodeWelcome(
  session: Session,
  resumed: boolean,
  secret: string | undefined,
  at: number,
  cell: string | undefined,
): string {
  const { id, lease, grace, limits } = session
  // A secret is base64url, and a cell is two numbers with a slash, so neither needs escaping.
  const secretField = secret === undefined ? '' : `"secret":"${secret}",`
  const maxHoldField = limits.maxHold === undefined ? '' : `"maxHoldMs":${limits.maxHold},`
  const cellField = cell === undefined ? '' : `,"cell":"${cell}"`
  return (
    `{"type":"welcome","session":"${id}","resumed":${resumed},${secretField}"lease":${lease},` +
    `"grace":${grace},${maxHoldField}"at":${wholeMs(at)},${welcomeFields}${cellField}}`
  )
}

const busyScopeMessage =
  'a scope has one request at a time: wait for the answer to its former request'

const fixedModeMessage =
  'locks of several keys, locks with permits, and locks of a `campaign` or `once` cannot be upgraded or downgraded, and only one upgrade of a lock may wait'

const usedIdMessage = 'the id was used before; use a higher id for a new request'

/**
 * @param startTime When the ttl and the maxHold of the lock started, in ms; undefined for a lock
 *   that has neither.
 */
export function encodeGranted(id: number, fence: number, startTime: number | undefined): string {
  return startTime === undefined
    ? `{"type":"granted","id":${integerText(id)},"fence":${integerText(fence)}}`
    : `{"type":"granted","id":${integerText(id)},"fence":${integerText(fence)},"at":${wholeMs(startTime)}}`
}

export function encodeUnlocked(id: number): string {
  return `{"type":"unlocked","id":${integerText(id)}}`
}

export function encodeFailed(
  id: number,
  code: ErrorCode,
  message: string = errorCodes[code],
  holders?: readonly StoredHolder[],
): string {
  const holdersField = holders === undefined ? '' : `,"holders":[${encodeHolders(holders)}]`
  const text = JSON.stringify(message)
  return `{"type":"failed","id":${id},"code":"${code}","message":${text}${holdersField}}`
}

/**
 * @param startTime When the ttl and the maxHold of a granted lock started, in ms; undefined for
 *   other answers.
 * @param limits The limits of the session, for the error message about a limit that the session has
 *   reached.
 * @param isVisible Whether the client may query a key; undefined if the client may query all keys.
 */
export function encodeAnswer(
  id: number,
  answer: Answer,
  startTime: number | undefined,
  limits?: SessionLimits,
  isVisible?: (key: string) => boolean,
): string {
  switch (answer.kind) {
    case 'granted':
      return encodeGranted(id, answer.lock.fence, startTime)
    case 'upgraded':
      // An upgrade does not restart the ttl and the maxHold, so the answer has no start time.
      return encodeGranted(id, answer.fence, undefined)
    case 'downgraded':
      return `{"type":"downgraded","id":${id}}`
    case 'scopeEnded':
      return `{"type":"scopeEnded","id":${id}}`
    case 'unlocked':
      return encodeUnlocked(id)
    case 'refreshed':
      return `{"type":"refreshed","id":${id}}`
    case 'proclaimed':
      return `{"type":"proclaimed","id":${id}}`
    case 'revoked':
      return `{"type":"revoked","id":${id}}`
    case 'passed':
      return `{"type":"passed","id":${id}}`
    case 'result':
      return encodeResult(id, answer.result)
    case 'failed':
      if (answer.code === 'CAPACITY_MISMATCH') return encodeMismatch(id, answer)
      if (answer.code === 'DEADLOCK') return encodeDeadlock(id, answer.cycle!, isVisible)
      if (answer.fault !== undefined)
        return encodeFailed(
          id,
          answer.code,
          answer.fault === 'busyScope' ? busyScopeMessage : fixedModeMessage,
        )
      // Without a fault, the lock table answers BAD_MESSAGE only if the id was used before.
      return answer.code === 'BAD_MESSAGE'
        ? encodeFailed(id, answer.code, usedIdMessage)
        : encodeFailed(id, answer.code, limitMessageFor(answer.limit, limits), answer.holders)
  }
}

function encodeResult(id: number, { fence, value }: SharedResult): string {
  const valueField = value === undefined ? '' : `,"value":${value}`
  return `{"type":"result","id":${id},"fence":${fence}${valueField}}`
}

function encodeDeadlock(
  id: number,
  cycle: readonly CycleEntry[],
  isVisible: ((key: string) => boolean) | undefined,
): string {
  return JSON.stringify({
    type: 'failed',
    id,
    code: 'DEADLOCK',
    message: errorCodes.DEADLOCK,
    cycle: isVisible === undefined ? cycle : visibleCycle(cycle, isVisible),
  })
}

/**
 * Hides the keys that the client may not query. The entry of a waiter for such a key keeps only
 * the id of its session and its scope.
 */
function visibleCycle(
  cycle: readonly SharedCycleEntry[],
  isVisible: (key: string) => boolean,
): SharedCycleEntry[] {
  return cycle.map((waiter) => {
    const { key, session, scope } = waiter
    return key !== undefined && isVisible(key) ? waiter : { session, scope }
  })
}

function encodeMismatch(
  id: number,
  { request: requestType, mismatch }: Extract<Answer, { kind: 'failed' }>,
): string {
  const { key, capacityInUse: capacity, requestedCapacity } = mismatch!
  const message =
    requestType === 'barrier'
      ? `the other calls at this barrier have ${capacity} parties, not ${requestedCapacity}`
      : `the key ${JSON.stringify(key)} is in use with the capacity ${capacity}, not ` +
        `${requestedCapacity}; use the same capacity`
  return JSON.stringify({ type: 'failed', id, code: 'CAPACITY_MISMATCH', message, capacity })
}

function limitMessageFor(
  limit: keyof SessionLimits | undefined,
  limits: SessionLimits | undefined,
): string | undefined {
  const limitValue = limit && limits?.[limit]
  return limitValue === undefined ? undefined : limitMessage(limitNameOf(limit!), limitValue)
}

/** @param note The reason that the operator gave for a revocation. */
export function encodeLost(fence: number, reason: BrokerLossReason, note?: string): string {
  const noteField = note === undefined ? '' : `,"note":${JSON.stringify(note)}`
  return `{"type":"lost","fence":${fence},"reason":"${reason}"${noteField}}`
}

/** @param ahead How many requests wait before this request. */
export function encodeQueued(id: number, ahead: number, holders: readonly StoredHolder[]): string {
  return `{"type":"queued","id":${id},"ahead":${ahead},"holders":[${encodeHolders(holders)}]}`
}

/** @param waiting How many requests wait behind the lock with this fence. */
export function encodeContended(fence: number, waiting: number): string {
  return `{"type":"contended","fence":${fence},"waiting":${waiting}}`
}

export function encodePing(pingNumber: number): string {
  return `{"type":"ping","n":${pingNumber}}`
}

/**
 * @param messageCount How many messages of this connection the broker has handled.
 * @param at When the newest of these messages arrived, in ms.
 */
export function encodeAck(messageCount: number, at: number): string {
  return `{"type":"ack","n":${messageCount},"at":${wholeMs(at)}}`
}

/**
 * @param isVisible Whether the client may query a key; undefined if the client may query all keys.
 *   The answer leaves out a deadlock if the client may query none of its keys.
 */
export function encodeStats(
  id: number,
  stats: LockStats,
  isVisible: ((key: string) => boolean) | undefined,
): string {
  const { deadlocks } = stats
  if (deadlocks === undefined || isVisible === undefined) {
    return JSON.stringify({ type: 'stats', id, stats })
  }
  const visibleDeadlocks = deadlocks.map((deadlock) => visibleDeadlock(deadlock, isVisible))
  const visible = {
    // Undefined if the newest deadlock is hidden, even if older deadlocks are visible.
    newestDeadlock: visibleDeadlocks[0],
    deadlocks: visibleDeadlocks.filter((deadlock) => deadlock !== undefined),
  }
  return JSON.stringify({ type: 'stats', id, stats: { ...stats, ...visible } })
}

/** The deadlock without the keys and names that are hidden; undefined if every key is hidden. */
function visibleDeadlock(
  { since, cycle }: RefusedDeadlock,
  isVisible: (key: string) => boolean,
): RefusedDeadlock | undefined {
  const shownCycle = visibleCycle(cycle, isVisible)
  return shownCycle.some(({ key }) => key !== undefined) ? { since, cycle: shownCycle } : undefined
}

export function encodeAuthenticated(id: number): string {
  return `{"type":"authenticated","id":${id}}`
}

/** @param withinMs Time until the client's token expires, in ms. */
export function encodeExpiring(withinMs: number): string {
  return `{"type":"expiring","within":${wholeMs(withinMs)}}`
}

/** @param withinMs Time until the broker stops, in ms. */
export function encodeDraining(withinMs: number): string {
  return `{"type":"draining","within":${withinMs}}`
}

/** A copy of a lock of a resumed session, because the lock may end before its encoding. */
export interface SnapshotLock {
  readonly id: number
  readonly key: string
  readonly mode: LockMode
  readonly fence: number
  readonly presentFence: number
  readonly ttl: number | undefined
  /**
   * When the ttl started, in ms; for a lock without a ttl, when the maxHold started. Undefined if
   * the lock has neither.
   */
  readonly at: number | undefined
}

/** Encodes a lock for the `snapshot`, which lists the locks of a session after a resume. */
export function encodeSnapshotLock(lock: SnapshotLock): string {
  const { id, key, mode, fence, ttl } = lock
  const at = lock.at === undefined ? undefined : wholeMs(lock.at)
  const presentFence = lock.presentFence === fence ? undefined : lock.presentFence
  return JSON.stringify({ id, key, mode, fence, presentFence, ttl, at })
}

/**
 * How long a lock lasts from now on, in ms. A field is undefined if the lock has no such limit, or
 * if the time is not known.
 */
export interface RemainingTimes {
  /** Time until the lock expires if its session does not refresh it. */
  readonly ttlRemaining: number | undefined
  /** Time until the lock ends because of its maxHold. */
  readonly maxHoldRemaining: number | undefined
}

/**
 * Encodes a lock for an answer to a query or a watch, which any session may receive, not only the
 * holder.
 *
 * @param remaining Undefined if the lock has neither ttl nor maxHold, or if the times are unknown.
 */
export function encodeHeldInfo(lock: Lock, remaining: RemainingTimes | undefined): string {
  if (remaining === undefined) return `{${heldFields(lock)}}`
  const { ttlRemaining, maxHoldRemaining } = remaining
  const ttlField = ttlRemaining === undefined ? '' : `,"ttlRemaining":${ttlRemaining}`
  const holdField = maxHoldRemaining === undefined ? '' : `,"maxHoldRemaining":${maxHoldRemaining}`
  return `{${heldFields(lock)}${ttlField}${holdField}}`
}

/**
 * Encodes an event of a lock, such as `{"event":"locked","key":…}`. The whole message is then
 * `{"type":"event","watch":3,"event":{"event":"locked","key":…}}`.
 */
export function encodeLockEvent(event: LockEvent['event'], lock: Lock): string {
  return `{"event":"${event}",${heldFields(lock)}}`
}

/**
 * Encodes an event of a waiting request, such as `{"event":"queued","key":…}`.
 *
 * @param reason Why the request waits no longer; only for `dequeued`.
 */
export function encodeQueueEvent(
  event: 'queued' | 'dequeued',
  request: Request,
  reason: DequeueReason | undefined,
): string {
  return JSON.stringify({ event, ...queuedFields(request.key, request), reason })
}

/** Encodes a waiting request for a watch: the fields as for a query, and the id of the request. */
export function encodeQueuedInfo(key: string, waiter: WaiterInfo): string {
  return JSON.stringify(queuedFields(key, waiter))
}

/** The fields of a waiting request that a query shows, without the metadata, which can be large. */
export type WaiterInfo = Pick<Request, 'id' | 'mode' | 'session' | 'since' | 'extras'>

/** Encodes a waiting request for a query. */
export function encodeWaitingInfo(key: string, waiter: WaiterInfo): string {
  return JSON.stringify(waitingFields(key, waiter))
}

/**
 * Encodes a call that waits at a barrier.
 *
 * @param waiting How many calls wait at the barrier.
 */
export function encodeBarrierCall(
  { key, parties }: Barrier<Session>,
  waiting: number,
  { session, since }: Pick<BarrierCall<Session>, 'session' | 'since'>,
): string {
  const { id, name } = session
  const info: BarrierCallInfo = { key, parties, waiting, session: id, name, since }
  return JSON.stringify(info)
}

/**
 * Encodes a kept result of `once`.
 *
 * @param remainingMs Time until the result is forgotten; undefined if the time is not known.
 */
export function encodeKeptResult(
  { key, result, since, keep }: KeptResult,
  remainingMs: number | undefined,
): string {
  const { fence, value } = result
  const remaining = remainingMs === undefined ? undefined : Math.max(0, Math.ceil(remainingMs))
  const info: KeptResultInfo = { key, size: value?.length ?? 0, fence, since, keep, remaining }
  return JSON.stringify(info)
}

/**
 * Encodes the answer to a query that asks about one session.
 *
 * @param info Undefined if there is no such session.
 */
export function encodeFoundSession(id: number, info: SessionInfo | undefined): string {
  // Every `found` has the lists of locks and requests, which are empty here.
  const locks = { held: [], waiting: [], heldCount: 0, waitingCount: 0 }
  const sessions = info === undefined ? [] : [info]
  const sessionFields = { sessions, sessionsCount: sessions.length }
  return JSON.stringify({ type: 'found', id, ...locks, ...sessionFields, more: false })
}

function waitingFields(key: string, { mode, session, since, extras }: WaiterInfo): WaitingInfo {
  const { id, name } = session
  return { key, mode, session: id, name, since, ...extrasInfo(extras), ...upgradeInfo(extras) }
}

function queuedFields(key: string, waiter: WaiterInfo): QueuedInfo {
  return { ...waitingFields(key, waiter), request: waiter.id }
}

/** The field `upgrade`, if the request is an upgrade; otherwise undefined. */
export function upgradeInfo(extras: Request['extras']): Pick<WaitingInfo, 'upgrade'> | undefined {
  return extras?.upgradeOf === undefined ? undefined : { upgrade: true }
}

/**
 * The fields for the extras of a lock or request; undefined for a lock or request without extras.
 */
export function extrasInfo(
  extras: Lock['extras'],
):
  | Pick<
      WaitingInfo,
      'permits' | 'capacity' | 'keyCount' | 'maxHold' | 'scope' | 'once' | 'election'
    >
  | undefined {
  if (extras === undefined) return undefined
  const { permits, capacity, maxHold, set, scope, once, election } = extras
  // A set that waits has requests and no locks. A granted set has locks, and may still have its
  // requests, so look at the locks first.
  const keyCount = set && (set.locks.length || set.requests.length)
  return {
    ...(permits === undefined ? {} : { permits }),
    ...(capacity === undefined ? {} : { capacity }),
    ...(keyCount === undefined ? {} : { keyCount }),
    ...(maxHold === undefined ? {} : { maxHold }),
    ...(scope === undefined ? {} : { scope: scope.number }),
    ...(once === undefined ? {} : { once }),
    ...(election === undefined ? {} : { election: true }),
  }
}

function heldFields(lock: Lock): string {
  const { key, mode, session, metadata, presentFence, since, extras } = lock
  // In the answers to queries and watches, the field `fence` has the newest fence of the lock.
  const holder = { session: session.id, name: session.name, metadata, fence: presentFence, since }
  // Of a set, only the first lock (the primary) has the ttl.
  const { ttl } = lock.primary
  const ttlField = ttl === undefined ? '' : `,"ttl":${ttl}`
  const fields = `${keyAndMode(key, mode)},${holderFields(holder)}${ttlField}`
  if (extras === undefined) return fields
  // Cut off the braces around the fields. The text is empty for a lock whose extras have only
  // `notify`, which watchers do not see.
  const extrasFields = JSON.stringify(extrasInfo(extras)).slice(1, -1)
  // The value of a leader is JSON text already.
  const value = extras.election?.value
  const valueField = value === undefined ? '' : `,"value":${value}`
  return `${fields}${extrasFields === '' ? '' : `,${extrasFields}`}${valueField}`
}

function keyAndMode(key: string, mode: LockMode): string {
  return `"key":${JSON.stringify(key)},"mode":"${mode}"`
}

/** The holders that {@link encodeHolders} encoded last, and their text. */
let lastEncoded: { readonly holders: readonly StoredHolder[]; readonly text: string } | undefined

/**
 * Encodes holders. All requests that are refused because of the same holders have the same array of
 * holders. This function keeps the text of the last array, because one turn of the event loop may
 * refuse a hundred clients. The lock table bounds the number and the size of the holders.
 */
function encodeHolders(holders: readonly StoredHolder[]): string {
  if (lastEncoded?.holders !== holders) {
    lastEncoded = { holders, text: holders.map((holder) => `{${holderFields(holder)}}`).join(',') }
  }
  return lastEncoded.text
}

/** Encodes the fields of a holder. The metadata is JSON text already. */
function holderFields(holder: StoredHolder): string {
  const { session, name, metadata, fence, since, key, permits, maxHold } = holder
  const nameField = name === undefined ? '' : `,"name":${JSON.stringify(name)}`
  const metadataField = metadata === undefined ? '' : `,"metadata":${metadata}`
  const keyField = key === undefined ? '' : `,"key":${JSON.stringify(key)}`
  const permitsField = permits === undefined ? '' : `,"permits":${permits}`
  const maxHoldField = maxHold === undefined ? '' : `,"maxHold":${maxHold}`
  const optionalFields = nameField + metadataField + keyField + permitsField + maxHoldField
  return `"session":"${session}"${optionalFields},"fence":${fence},"since":${since}`
}

function wholeMs(ms: number): number {
  return Math.floor(ms)
}
