/**
 * Converts a whole table to a sequence of small plain items and back. The command log, which
 * records the commands of the table, stores these items as a snapshot. Then the log need not keep
 * the commands before the snapshot.
 *
 * The order of the items preserves every order that matters: sessions by opening, keys by first
 * use, holders and queues as in the table, answers by age.
 */
import type { LockMode } from '@holdfast/shared'
import { BarrierTable } from './barriers.js'
import type { ArriveAtBarrier, OpenSession, RequestLock } from './commands.js'
import { KeyTable } from './keyTable.js'
import { type ExtraTerms, LockExtras, LockSet } from './lockExtras.js'
import type { Revocation } from './plainRecords.js'
import { type Answer, type Extras, formerLock, Lock, Request, Session } from './records.js'
import { ResultTable } from './results.js'
import { addScope, onLockGranted, onWaitBegan, scopeOf } from './scopes.js'
import { KeptResult, SharedResult } from './sharedResults.js'
import { LockTable } from './table.js'

/**
 * An answer with a fence in place of the lock, because a repeated answer needs only the fence. An
 * answer with a result has the fence of the result in place of the value, because the item `result`
 * has the value once for all answers.
 */
type SnapshotAnswer =
  | Exclude<Answer, { readonly lock: Lock } | { readonly result: SharedResult }>
  | { readonly kind: 'granted'; readonly fence: number }
  | { readonly kind: 'result'; readonly fence: number }

/** The extras of a lock or request, which most items do not have. */
interface SnapshotExtras {
  readonly terms: ExtraTerms
  /** The place of a member in its set, and the number of members. */
  readonly member?: readonly [index: number, size: number] | undefined
  /** The fence of the result that a follower must still be answered with. */
  readonly result?: number | undefined
  /** The newest fence of a lock that was upgraded. */
  readonly presentFence?: number | undefined
  /** The first fence of the lock that a waiting upgrade makes exclusive. */
  readonly upgradeOf?: number | undefined
}

export type SnapshotItem =
  | { readonly item: 'table'; readonly fence: number; readonly quiet: boolean }
  | {
      readonly item: 'session'
      readonly open: Omit<OpenSession, 'type' | 'handshakeId' | 'at'>
      readonly attachEpoch: number
      readonly suspended: boolean
      readonly nextSecret: string | undefined
      readonly lastResumeAttempt: number | undefined
      readonly lastId: number
      readonly answers: readonly (readonly [number, SnapshotAnswer])[]
      /** Missing in snapshots that were written before revocations existed. */
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
  | {
      readonly item: 'kept'
      readonly fence: number
      readonly keep: number
      readonly ownerBroker: string
      readonly since: number
    }
  | ({ readonly item: 'barrierCall' } & Omit<ArriveAtBarrier, 'type' | 'attachEpoch'>)

/** Yields the items of the table. The table must not change until the last item was read. */
export function* dump(table: LockTable): Generator<SnapshotItem> {
  yield { item: 'table', fence: table.fence, quiet: table.quiet }
  const yielded = new Set<number>()
  for (const session of table.sessions.values()) {
    if (session.storedResults > 0)
      for (const answer of session.answers!.values())
        if (answer.kind === 'result') yield* resultItem(yielded, answer.result)
    yield sessionItem(session)
  }
  for (const { key, holders, queue, extras } of table.keys.values()) {
    const delivered = extras?.delivery?.result
    if (delivered !== undefined) yield* resultItem(yielded, delivered)
    for (const lock of holders) yield lockItem(key, lock)
    if (extras?.upgrade !== undefined) yield requestItem(key, extras.upgrade)
    for (const request of queue) yield requestItem(key, request)
  }
  for (const { result, keep, ownerBroker, since } of table.keptResults.values()) {
    yield* resultItem(yielded, result)
    yield { item: 'kept', fence: result.fence, keep, ownerBroker, since }
  }
  for (const { key, parties, calls } of table.barriers.values()) {
    for (const { session, id, timeout, since } of calls) {
      yield { item: 'barrierCall', session: session.id, key, parties, id, timeout, at: since }
    }
  }
}

/**
 * Yields a result before the first item that refers to the result.
 *
 * @param yielded The fences of the results that were yielded before.
 */
function* resultItem(yielded: Set<number>, result: SharedResult): Generator<SnapshotItem> {
  const { key, fence, value } = result
  if (yielded.has(fence)) return
  yielded.add(fence)
  yield { item: 'result', key, fence, value }
}

/** Rebuilds a table from its items. @throws {Error} if an item names an unknown session. */
export function restore(items: Iterable<SnapshotItem>): LockTable {
  const sessions = new Map<string, Session>()
  const keys = new KeyTable()
  const barriers = new BarrierTable()
  const sets = new RestoredSets()
  const results = new ResultTable()
  const resultsByFence = new Map<number, SharedResult>()
  const waitingRequests: Request[] = []
  const answers: (readonly [Session, number, SnapshotAnswer])[] = []
  let tableItem = { fence: 0, quiet: false }
  for (const item of items) {
    switch (item.item) {
      case 'table':
        tableItem = item
        break
      case 'session': {
        const session = restoreSession(item)
        sessions.set(session.id, session)
        for (const [id, answer] of item.answers) answers.push([session, id, answer])
        break
      }
      case 'lock': {
        const session = findSession(sessions, item.session)
        const keyState = keys.getOrCreate(item.key)
        const extras = sets.extrasOf(session, item.extras, `lock ${item.fence}`)
        const lock = new Lock(keyState, session, item, extras, item.fence, item.since)
        lock.generation = item.generation
        if (extras?.set !== undefined) extras.set.locks[item.extras!.member![0]] = lock
        keyState.addHolder(lock)
        session.addHeld(lock)
        onLockGranted(lock)
        break
      }
      case 'request': {
        const session = findSession(sessions, item.session)
        const keyState = keys.getOrCreate(item.key)
        const extras = sets.extrasOf(session, item.extras, `request ${item.id} ${item.session}`)
        const request = new Request(keyState, session, item, extras)
        if (extras?.set !== undefined) extras.set.requests[item.extras!.member![0]] = request
        keyState.enqueue(request)
        session.addWaiting(request)
        if (extras?.once) {
          const resultFence = item.extras?.result
          const result =
            resultFence === undefined ? undefined : findResult(resultsByFence, resultFence)
          results.restoreFollower(request, result)
        }
        waitingRequests.push(request)
        break
      }
      case 'result':
        resultsByFence.set(item.fence, new SharedResult(item.key, item.fence, item.value))
        break
      case 'kept':
        results.restoreKept(
          new KeptResult(
            findResult(resultsByFence, item.fence),
            item.keep,
            item.ownerBroker,
            item.since,
          ),
        )
        break
      case 'barrierCall':
        barriers.add(findSession(sessions, item.session), item)
        break
    }
  }
  // After all members of sets are known, because only the first member is in the scope of its set.
  for (const request of waitingRequests) onWaitBegan(request)
  for (const [session, id, answer] of answers) {
    session.storeAnswer(id, restoreAnswer(session, id, answer, resultsByFence))
  }
  results.bytes += sumOf(resultsByFence.values())
  const { fence, quiet } = tableItem
  return new LockTable({ sessions, keys, barriers, results, fence, quiet })
}

/** Connects the members of the sets that a snapshot contains. */
class RestoredSets {
  readonly #sets = new Map<string, LockSet<Lock, Request>>()

  /** The extras of an item. Members of the same set, which have the same `name`, share the set. */
  extrasOf(session: Session, item: SnapshotExtras | undefined, name: string): Extras | undefined {
    if (item === undefined) return undefined
    const { terms, member, presentFence, upgradeOf } = item
    const set = member && this.#setOf(name)
    const extras = new LockExtras<Lock, Request, Session>(terms, set)
    if (terms.scope !== undefined) {
      extras.scope = scopeOf(session, terms.scope)
      // At once, so that all members of a set get the same scope.
      addScope(session, extras.scope)
    }
    extras.presentFence = presentFence
    if (upgradeOf !== undefined) extras.upgradeOf = session.held.get(upgradeOf)
    return extras
  }

  #setOf(name: string): LockSet<Lock, Request> {
    let set = this.#sets.get(name)
    if (set === undefined) {
      set = new LockSet()
      this.#sets.set(name, set)
    }
    return set
  }
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
  const members: readonly (Lock | Request)[] =
    lockOrRequest instanceof Lock ? set.locks : set.requests
  return { terms, member: [members.indexOf(lockOrRequest), members.length] }
}

// Uses an object literal, because a spread takes ten times as long, and a table may have a million
// locks.
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
  const { attachEpoch, suspended, nextSecret, lastResumeAttempt, lastId } = session
  const open = { session: id, principal, name, lease, grace, secret, limits, ownerBroker }
  const answers = [...(session.answers ?? [])].map(
    ([request, answer]) => [request, snapshotAnswer(answer)] as const,
  )
  const { revocations } = session
  const changingFields = {
    attachEpoch,
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

function restoreSession(item: Extract<SnapshotItem, { item: 'session' }>): Session {
  const session = new Session(item.open)
  session.attachEpoch = item.attachEpoch
  session.suspended = item.suspended
  session.nextSecret = item.nextSecret
  session.lastResumeAttempt = item.lastResumeAttempt
  session.lastId = item.lastId
  session.revocations = item.revocations ?? []
  return session
}

function restoreAnswer(
  session: Session,
  id: number,
  answer: SnapshotAnswer,
  results: ReadonlyMap<number, SharedResult>,
): Answer {
  if (answer.kind === 'result') {
    return { kind: answer.kind, result: findResult(results, answer.fence) }
  }
  if (answer.kind !== 'granted') return answer
  const lock = session.held.get(answer.fence) ?? formerLock(session, id, answer.fence)
  return { kind: answer.kind, lock }
}

function findResult(results: ReadonlyMap<number, SharedResult>, fence: number): SharedResult {
  const result = results.get(fence)
  if (result === undefined) {
    throw new Error(`the snapshot refers to the result ${fence} but does not contain it`)
  }
  return result
}

function sumOf(results: Iterable<SharedResult>): number {
  let bytes = 0
  for (const result of results) bytes += result.bytes
  return bytes
}

function findSession(sessions: ReadonlyMap<string, Session>, id: string): Session {
  const session = sessions.get(id)
  if (session === undefined) {
    throw new Error(`the snapshot refers to the session "${id}" but does not contain it`)
  }
  return session
}
