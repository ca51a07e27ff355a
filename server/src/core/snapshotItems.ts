/**
 * The items of a snapshot (plain objects), and the functions that make the items of a record.
 * `commands.ts` explains the terms, such as fence, generation, set and once.
 */
import type { LockMode } from '@holdfast/shared'
import type { Barrier } from './barrierCalls.js'
import type { ArriveAtBarrier, RequestLock } from './clientCommands.js'
import type { ExtraTerms } from './lockExtras.js'
import type { Revocation } from './plainRecords.js'
import { type Answer, type KeyState, Lock, type Request, type Session } from './records.js'
import type { OpenSession } from './sessionCommands.js'
import type { KeptResult, SharedResult } from './sharedResults.js'

/**
 * A stored answer, as a snapshot contains it. In place of a lock, it has the fence of the lock,
 * because a repeated answer needs only the fence. In place of the result of a `once`, it has the
 * fence of the result. An earlier item `result` has this fence and the value.
 */
export type SnapshotAnswer =
  | Exclude<Answer, { readonly lock: Lock } | { readonly result: SharedResult }>
  | { readonly kind: 'granted'; readonly fence: number }
  | { readonly kind: 'result'; readonly fence: number }

/** The extras of a lock or request, which most items do not have. */
export interface SnapshotExtras {
  readonly terms: ExtraTerms
  /** The place of a member in its set; undefined outside a set. */
  readonly memberIndex?: number | undefined
  /**
   * For a follower (a `once` request that waits for the run of another caller): the fence of the
   * result of this run. Undefined until the run ends.
   */
  readonly result?: number | undefined
  /** The newest fence of a lock that was upgraded. */
  readonly presentFence?: number | undefined
  /** The first fence of the lock that a waiting upgrade makes exclusive. */
  readonly upgradeOf?: number | undefined
}

export type SnapshotItem =
  /** `fence` is the newest fence. `quiet`: the table grants only requests that steal a lock. */
  | { readonly item: 'table'; readonly fence: number; readonly quiet: boolean }
  | {
      readonly item: 'session'
      readonly open: Omit<OpenSession, 'type' | 'handshakeId' | 'at'>
      readonly attachEpoch: number
      /** Missing in snapshots from the time before owner epochs. A missing epoch means 0. */
      readonly ownerEpoch?: number | undefined
      readonly suspended: boolean
      readonly nextSecret: string | undefined
      readonly lastResumeAttempt: number | undefined
      readonly lastId: number
      readonly answers: readonly (readonly [requestId: number, answer: SnapshotAnswer])[]
      /** Missing in snapshots from the time before revocations. */
      readonly revocations?: readonly Revocation[] | undefined
    }
  | {
      readonly item: 'lock'
      readonly session: string
      readonly key: string
      readonly id: number
      readonly mode: LockMode
      readonly fence: number
      readonly ttl: number | undefined
      /** The number by which the table recognises an outdated proposal to expire the lock. */
      readonly generation: number
      readonly metadata: string | undefined
      readonly since: number
      readonly extras?: SnapshotExtras | undefined
    }
  | ({ readonly item: 'request'; readonly extras?: SnapshotExtras | undefined } & Omit<
      RequestLock,
      'type' | 'attachEpoch' | 'steal' | 'extras'
    >)
  /** A result that a later item refers to by its fence. */
  | {
      readonly item: 'result'
      readonly key: string
      readonly fence: number
      readonly value: string | undefined
    }
  /** The result with this fence is kept for later callers of `once`, for `keep` ms. */
  | {
      readonly item: 'kept'
      readonly fence: number
      readonly keep: number
      readonly ownerBroker: string
      readonly since: number
    }
  | ({ readonly item: 'barrierCall' } & Omit<ArriveAtBarrier, 'type' | 'attachEpoch'>)

/** The first item of every snapshot. */
export function tableItem({ fence, quiet }: { fence: number; quiet: boolean }): SnapshotItem {
  return { item: 'table', fence, quiet }
}

/** The results that the stored answers of a session refer to, and then the item of the session. */
export function itemsOfSession(session: Session): SnapshotItem[] {
  const items: SnapshotItem[] = []
  if (session.storedResults > 0)
    for (const answer of session.answers!.values())
      if (answer.kind === 'result') items.push(resultItem(answer.result))
  items.push(sessionItem(session))
  return items
}

/** The items of all locks and waiting requests of a key. */
export function itemsOfKey({ key, holders, queue, extras }: KeyState): SnapshotItem[] {
  const items: SnapshotItem[] = []
  const resultToDeliver = extras?.delivery?.result
  // The result comes first, because the items of the followers refer to the result by its fence.
  if (resultToDeliver !== undefined) items.push(resultItem(resultToDeliver))
  for (const lock of holders) items.push(lockItem(key, lock))
  if (extras?.upgrade !== undefined) items.push(requestItem(key, extras.upgrade))
  for (const request of queue) items.push(requestItem(key, request))
  return items
}

/** The result, and then the item that says that the table keeps the result. */
export function itemsOfKept({ result, keep, ownerBroker, since }: KeptResult): SnapshotItem[] {
  return [resultItem(result), { item: 'kept', fence: result.fence, keep, ownerBroker, since }]
}

/** An item for each call. When a table is restored, the first of these items makes the barrier. */
export function itemsOfBarrier({ key, parties, calls }: Barrier<Session>): SnapshotItem[] {
  return Array.from(calls, ({ session, id, timeout, since }) => {
    return { item: 'barrierCall', session: session.id, key, parties, id, timeout, at: since }
  })
}

/**
 * Yields the items of one record, without the results that the snapshot contains already. So a
 * snapshot contains each result only once.
 *
 * @param yielded The fences of the results that were yielded before. This function adds the fence
 *   of each result that it yields.
 */
export function* withoutRepeatedResults(
  items: readonly SnapshotItem[],
  yielded: Set<number>,
): Generator<SnapshotItem> {
  for (const item of items) {
    if (item.item === 'result') {
      if (yielded.has(item.fence)) continue
      yielded.add(item.fence)
    }
    yield item
  }
}

function resultItem({ key, fence, value }: SharedResult): SnapshotItem {
  return { item: 'result', key, fence, value }
}

function snapshotExtras(lockOrRequest: Lock | Request): SnapshotExtras | undefined {
  const { extras } = lockOrRequest
  if (extras === undefined) return undefined
  const { permits, capacity, maxHold, notify, set, once, followers, presentFence, upgradeOf } =
    extras
  const election = extras.election && { value: extras.election.value }
  const scope = extras.scope?.number
  const terms = { permits, capacity, maxHold, notify, once, election, scope }
  if (set === undefined) {
    const result = followers?.result?.fence
    return { terms, result, presentFence, upgradeOf: upgradeOf?.fence }
  }
  // A member of a set has no `result`, `presentFence` or `upgradeOf`, because a member is neither a
  // `once` nor an upgrade.
  const members: readonly (Lock | Request)[] =
    lockOrRequest instanceof Lock ? set.locks : set.requests
  return { terms, memberIndex: members.indexOf(lockOrRequest) }
}

// Copies each field, because a spread takes ten times as long. A table may have a million locks.
function lockItem(key: string, lock: Lock): SnapshotItem {
  return {
    item: 'lock',
    session: lock.session.id,
    key,
    id: lock.id,
    mode: lock.mode,
    fence: lock.fence,
    ttl: lock.ttl,
    generation: lock.generation,
    metadata: lock.metadata,
    since: lock.since,
    extras: snapshotExtras(lock),
  }
}

function requestItem(key: string, request: Request): SnapshotItem {
  return {
    item: 'request',
    session: request.session.id,
    key,
    id: request.id,
    mode: request.mode,
    ttl: request.ttl,
    timeout: request.timeout,
    metadata: request.metadata,
    at: request.since,
    extras: snapshotExtras(request),
  }
}

function sessionItem(session: Session): SnapshotItem {
  const { id, principal, name, lease, grace, secret, limits, ownerBroker } = session
  const { attachEpoch, ownerEpoch, suspended, nextSecret, lastResumeAttempt, lastId } = session
  const open = { session: id, principal, name, lease, grace, secret, limits, ownerBroker }
  const answers = [...(session.answers ?? [])].map(
    ([requestId, answer]) => [requestId, snapshotAnswer(answer)] as const,
  )
  const { revocations } = session
  const changingFields = {
    attachEpoch,
    ownerEpoch,
    suspended,
    nextSecret,
    lastResumeAttempt,
    lastId,
    answers,
    revocations,
  }
  return { item: 'session', open, ...changingFields }
}

function snapshotAnswer(answer: Answer): SnapshotAnswer {
  if (answer.kind === 'granted') return { kind: answer.kind, fence: answer.lock.fence }
  return answer.kind === 'result' ? { kind: answer.kind, fence: answer.result.fence } : answer
}
