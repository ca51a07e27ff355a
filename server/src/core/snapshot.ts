/**
 * Converts a whole table to a sequence of small plain items and back. The command log, which
 * records the commands of the table, stores these items as a snapshot. Then the log need not keep
 * the commands before the snapshot.
 *
 * The order of the items preserves every order that matters: sessions by opening, keys by first
 * use, holders and queues as in the table, answers by age.
 */
import { BarrierTable } from './barriers.js'
import { KeyTable } from './keyTable.js'
import { LockExtras, LockSet } from './lockExtras.js'
import { type Answer, type Extras, formerLock, Lock, Request, Session } from './records.js'
import { ResultTable } from './results.js'
import { addScope, onLockGranted, onWaitBegan, scopeOf } from './scopes.js'
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
import { LockTable } from './table.js'

/**
 * Yields the items of the table. The table must not change until the last item was read; see
 * `gradualSnapshot.ts` for a table that goes on.
 */
export function* dump(table: LockTable): Generator<SnapshotItem> {
  yield tableItem(table)
  const yielded = new Set<number>()
  for (const session of table.sessions.values())
    yield* withoutRepeatedResults(itemsOfSession(session), yielded)
  for (const keyState of table.keys.values())
    yield* withoutRepeatedResults(itemsOfKey(keyState), yielded)
  for (const kept of table.keptResults.values())
    yield* withoutRepeatedResults(itemsOfKept(kept), yielded)
  for (const barrier of table.barriers.values()) yield* itemsOfBarrier(barrier)
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
