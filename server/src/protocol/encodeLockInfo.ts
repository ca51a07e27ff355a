/**
 * Encodes what a client may learn about the locks, waiting requests, calls at barriers and kept
 * results of other clients. The JSON objects of this file are the items of queries and watches, the
 * events of watches, and the holders in answers and notices.
 *
 * Remaining times are in ms, rounded up. A *fence* is the number of a grant; a later grant has a
 * higher fence. The `extras` of a lock or request are the options that only few locks and requests
 * have. `clientMessages.ts` of the package `shared` explains the other terms, such as ttl, permits,
 * set, scope, once and barrier.
 */
import type {
  BarrierCallInfo,
  DequeueReason,
  KeptResultInfo,
  LockEvent,
  LockMode,
  QueuedInfo,
  WaitingInfo,
} from '@holdfast/shared'
import type {
  Barrier,
  BarrierCall,
  KeptResult,
  Lock,
  Request,
  Session,
  StoredHolder,
} from '../core/index.js'

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
 * Encodes a lock for the answer to a query or a watch.
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

/** The fields of a waiting request that a query shows, without the metadata, which can be large. */
export type WaiterInfo = Pick<Request, 'id' | 'mode' | 'session' | 'since' | 'extras'>

/** Encodes a waiting request for a query. */
export function encodeWaitingInfo(key: string, waiter: WaiterInfo): string {
  return JSON.stringify(waitingFields(key, waiter))
}

/** Encodes a waiting request for a watch: the fields as for a query, and the id of the request. */
export function encodeQueuedInfo(key: string, waiter: WaiterInfo): string {
  return JSON.stringify(queuedFields(key, waiter))
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

/** The holders that {@link encodeHolders} encoded last, and their text. */
let lastEncoded: { readonly holders: readonly StoredHolder[]; readonly text: string } | undefined

/**
 * Encodes holders. All requests that are refused because of the same holders have the same array of
 * holders. This function keeps the text of the last array, because one turn of the event loop may
 * refuse a hundred clients. The lock table bounds the number and the size of the holders.
 */
export function encodeHolders(holders: readonly StoredHolder[]): string {
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
