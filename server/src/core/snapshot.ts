/**
 * Converts a whole table to a sequence of small plain items and back. The command log, which
 * records the commands of the table, stores these items as a snapshot. Then the log need not keep
 * the commands before the snapshot.
 *
 * The items preserve every order that matters:
 * - sessions in the order of their opening
 * - keys in the order in which they came into use
 * - holders and queues as in the table
 * - answers from the oldest to the newest
 */
import { BarrierTable } from './barriers.js'
import { KeyTable } from './keyTable.js'
import { LockExtras, LockSet } from './lockExtras.js'
import { type Answer, type Extras, Lock, Request, Session } from './records.js'
import { ResultTable } from './results.js'
import { addScope, onLockGranted, onWaitBegan, scopeOf } from './scopes.js'
import { hashOfText, ShardedMap } from './shardedMap.js'
import { KeptResult, SharedResult } from './sharedResults.js'
import {
  itemsOfBarrier,
  itemsOfKept,
  itemsOfKey,
  itemsOfSession,
  type SnapshotAnswer,
  type SnapshotExtras,
  type SnapshotItem,
  tableItem,
  withoutRepeatedResults,
} from './snapshotItems.js'
import { formerLock, storeAnswer } from './storedAnswers.js'
import { LockTable } from './table.js'
import { bytesOfLock, bytesOfRequest } from './weights.js'

/**
 * Yields the items of the table. The table must not change until the last item was read; see
 * `gradualSnapshot.ts` for a table that changes meanwhile.
 */
export function* dump(table: LockTable): Generator<SnapshotItem> {
  yield tableItem(table)
  // Several records can share one result of a `once`. Do not yield the same result twice.
  const yieldedFences = new Set<number>()
  for (const session of table.sessions.values())
    yield* withoutRepeatedResults(itemsOfSession(session), yieldedFences)
  for (const keyState of table.keys.values())
    yield* withoutRepeatedResults(itemsOfKey(keyState), yieldedFences)
  for (const kept of table.keptResults.values())
    yield* withoutRepeatedResults(itemsOfKept(kept), yieldedFences)
  for (const barrier of table.barriers.values()) yield* itemsOfBarrier(barrier)
}

/**
 * Rebuilds a table from its items.
 *
 * @throws {Error} if an item names an unknown session or result.
 */
export function restore(items: Iterable<SnapshotItem>): LockTable {
  const steps = restoreGradually(items)
  for (;;) {
    const { value, done } = steps.next()
    if (done === true) return value
  }
}

/** A step of {@link restoreGradually} reads at most this many items. */
const itemsPerStep = 64

/**
 * Rebuilds a table in short steps, so that the caller can do other work between two steps.
 *
 * @throws {Error} if an item names an unknown session or result.
 */
export function* restoreGradually(
  items: Iterable<SnapshotItem>,
): Generator<undefined, LockTable, undefined> {
  const restorer = new TableRestorer()
  let count = 0
  for (const item of items) {
    restorer.add(item)
    if (++count % itemsPerStep === 0) yield
  }
  for (const _ of restorer.complete()) {
    if (++count % itemsPerStep === 0) yield
  }
  return restorer.table()
}

/** The records of a table that is being rebuilt. */
class TableRestorer {
  readonly #sessions = new Map<string, Session>()
  readonly #keys = new KeyTable()
  readonly #barriers = new BarrierTable()
  /** A set is the locks or the requests of one call for several keys. */
  readonly #sets = new RestoredSets()
  readonly #results = new ResultTable()
  readonly #resultsByFence = new Map<number, SharedResult>()
  readonly #waitingRequests: Request[] = []
  readonly #answers: (readonly [Session, number, SnapshotAnswer])[] = []
  /** `quiet`: whether the table grants only requests that steal the lock. */
  #tableItem = { fence: 0, quiet: false }
  #heldCount = 0
  /** Bytes of the locks and requests. */
  #bytes = 0

  /** Adds the records of the next item. */
  add(item: SnapshotItem): void {
    switch (item.item) {
      case 'table':
        this.#tableItem = item
        break
      case 'session': {
        const session = restoreSession(item)
        this.#sessions.set(session.id, session)
        for (const [id, answer] of item.answers) this.#answers.push([session, id, answer])
        break
      }
      case 'lock':
        this.#addLock(item)
        break
      case 'request':
        this.#addRequest(item)
        break
      case 'result': {
        const result = new SharedResult(item.key, item.fence, item.value)
        this.#resultsByFence.set(item.fence, result)
        break
      }
      case 'kept': {
        const result = findResult(this.#resultsByFence, item.fence)
        this.#results.restoreKept(new KeptResult(result, item.keep, item.ownerBroker, item.since))
        break
      }
      case 'barrierCall':
        this.#barriers.add(findSession(this.#sessions, item.session), item)
        break
    }
  }

  #addLock(item: Extract<SnapshotItem, { item: 'lock' }>): void {
    const session = findSession(this.#sessions, item.session)
    const keyState = this.#keys.getOrCreate(item.key)
    // All locks of a set have the same fence, so the fence names the set.
    const extras = this.#sets.extrasOf(session, item.extras, `lock ${item.fence}`)
    const lock = new Lock(keyState, session, item, extras, item.fence, item.since)
    lock.generation = item.generation
    if (extras?.set !== undefined) extras.set.locks[item.extras!.memberIndex!] = lock
    keyState.addHolder(lock)
    session.addHeld(lock)
    onLockGranted(lock)
    this.#heldCount++
    this.#bytes += bytesOfLock(lock)
  }

  #addRequest(item: Extract<SnapshotItem, { item: 'request' }>): void {
    const session = findSession(this.#sessions, item.session)
    const keyState = this.#keys.getOrCreate(item.key)
    // All requests of a set have the same id and session.
    const setName = `request ${item.id} ${item.session}`
    const extras = this.#sets.extrasOf(session, item.extras, setName)
    const request = new Request(keyState, session, item, extras)
    if (extras?.set !== undefined) extras.set.requests[item.extras!.memberIndex!] = request
    keyState.enqueue(request)
    session.addWaiting(request)
    // A follower is a `once` request that waits for the result of another caller. The result is
    // undefined while that caller still computes the result.
    if (extras?.once) {
      const resultFence = item.extras?.result
      const result =
        resultFence === undefined ? undefined : findResult(this.#resultsByFence, resultFence)
      this.#results.restoreFollower(request, result)
    }
    this.#waitingRequests.push(request)
    this.#bytes += bytesOfRequest(request)
  }

  /** Finishes the requests and the answers, after the last item. Yields after each of them. */
  *complete(): Generator<undefined> {
    // `onWaitBegan` must know which request is the first of its set. The members of a set are in
    // separate items, so this is known only after the last item.
    for (const request of this.#waitingRequests) {
      onWaitBegan(request)
      yield
    }
    for (const [session, id, answer] of this.#answers) {
      storeAnswer(session, id, restoreAnswer(session, id, answer, this.#resultsByFence))
      yield
    }
    this.#results.bytes += totalBytesOf(this.#resultsByFence.values())
  }

  /** The table, after {@link complete}. */
  table(): LockTable {
    const records = {
      sessions: this.#sessions,
      keys: this.#keys,
      barriers: this.#barriers,
      results: this.#results,
    }
    const totals = {
      held: this.#heldCount,
      waiting: this.#waitingRequests.length,
      bytes: this.#bytes,
    }
    return new LockTable({ ...records, ...this.#tableItem, totals })
  }
}

/** Connects the members of the sets that a snapshot contains. */
class RestoredSets {
  readonly #sets = new ShardedMap<string, LockSet<Lock, Request>>(hashOfText)

  /**
   * The extras (rare fields) of a lock or request.
   *
   * @param setName The name by which all members of a set find the set; ignored outside a set.
   */
  extrasOf(
    session: Session,
    storedExtras: SnapshotExtras | undefined,
    setName: string,
  ): Extras | undefined {
    if (storedExtras === undefined) return undefined
    const { terms, memberIndex, presentFence, upgradeOf } = storedExtras
    const set = memberIndex === undefined ? undefined : this.#setOf(setName)
    const extras = new LockExtras<Lock, Request, Session>(terms, set)
    if (terms.scope !== undefined) {
      extras.scope = scopeOf(session, terms.scope)
      // `onWaitBegan` would add the scope too late: for the next member of the set, `scopeOf` must
      // not make another scope.
      addScope(session, extras.scope)
    }
    // Only a lock that was upgraded has a `presentFence`, the fence of its newest upgrade.
    extras.presentFence = presentFence
    // The snapshot lists the locks of a key before its waiting upgrade, so `session.held` already
    // has the lock that the upgrade makes exclusive.
    if (upgradeOf !== undefined) extras.upgradeOf = session.held.get(upgradeOf)
    return extras
  }

  #setOf(setName: string): LockSet<Lock, Request> {
    let set = this.#sets.get(setName)
    if (set === undefined) {
      set = new LockSet()
      this.#sets.add(setName, set)
    }
    return set
  }
}

function restoreSession(item: Extract<SnapshotItem, { item: 'session' }>): Session {
  const session = new Session(item.open)
  session.attachEpoch = item.attachEpoch
  session.ownerEpoch = item.ownerEpoch ?? 0
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
  // A lock that has ended is no longer in `held`.
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

function totalBytesOf(results: Iterable<SharedResult>): number {
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
