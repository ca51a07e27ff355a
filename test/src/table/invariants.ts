/**
 * The invariants of a lock table, checked after every command. There are two kinds:
 *
 * - The records are consistent. Every list is linked both ways, and every counter is right. Every
 *   lock and request is in its session's index and its key's list. Every key in use has a holder or
 *   a waiter.
 * - The effects are complete. A tally records the holders and the queue of a key from the effects
 *   alone. Only a steal may pass a queue, and no grant may be incompatible with another lock. Each
 *   grant must have a higher fence (grant number) than all earlier grants. The tally must equal
 *   the table.
 *
 * Terms: an upgrade makes a shared lock exclusive, and gives the lock a new `presentFence`. A set
 * is one lock on several keys. A `once` runs a task, or waits for the result of another `once`.
 */

import type {
  Command,
  Effect,
  KeyState,
  LinkedList,
  Lock,
  LockTable,
  Request,
  Session,
  SharedResult,
} from '@holdfast/server/core'
import {
  answerBytes,
  barrierBytes,
  barrierCallBytes,
  bytesOfLock,
  bytesOfRequest,
  bytesOfSession,
  keptResultBytes,
  keyStateBytes,
  revocationBytes,
  textBytes,
} from '@holdfast/server/core'

function ensure(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${violation}`)
}

interface Tally {
  /** Each holder, by its fence. */
  readonly holders: Map<number, Lock>
  /** The waiting requests as `session#id`, in order; without upgrades, which join no queue. */
  readonly queue: string[]
}

/** Whether these locks may be held on one key together. */
function areCompatible(locks: readonly (Lock | Request)[]): boolean {
  if (locks.length < 2) return true
  const [{ mode, extras }] = locks as [Lock]
  if (mode === 'exclusive' || locks.some((lock) => lock.mode !== mode)) return false
  if (mode === 'shared') return true
  const capacity = extras!.capacity!
  const permits = locks.reduce((sum, lock) => sum + lock.extras!.permits!, 0)
  return permits <= capacity && locks.every((lock) => lock.extras!.capacity === capacity)
}

export class Invariants {
  readonly #table: LockTable
  readonly #tallies = new Map<string, Tally>()
  /**
   * The keys that the table has reported as unfinished, because a command reached its limit of
   * grants. Waiters that can hold such a key still wait.
   */
  readonly #unfinished = new Set<string>()
  /** The highest fence so far. */
  #fence: number

  /** @param table A table without any applied command. */
  constructor(table: LockTable) {
    this.#table = table
    this.#fence = table.fence
  }

  /** Call after each `apply`, with the command and its effects. */
  check(command: Command, effects: readonly Effect[]): void {
    this.follow(command, effects)
    ensure(this.#table.fence === this.#fence, 'the fence moved without a grant')
    this.#compareTallies()
    checkTableRecords(this.#table, this.#unfinished)
  }

  /** Records the effects without a check of the table, to replay a command that was checked. */
  follow(command: Command, effects: readonly Effect[]): void {
    for (const effect of effects) this.#record(command, effect)
    if (command.type === 'raiseFenceFloor') this.#fence = Math.max(this.#fence, command.fence)
  }

  #record(command: Command, effect: Effect): void {
    switch (effect.kind) {
      case 'unfinished':
        this.#unfinished.add(effect.request.key)
        break
      case 'upgraded':
        ensure(effect.lock.presentFence > this.#fence, 'the fence of an upgrade does not rise')
        this.#fence = effect.lock.presentFence
        break
      case 'queued': {
        if (effect.request.upgradedLock !== undefined) break
        const { session, id, key } = effect.request
        this.#tally(key).queue.push(`${session.id}#${id}`)
        break
      }
      case 'withdrawn': {
        if (effect.request.upgradedLock !== undefined) break
        const { session, id, key } = effect.request
        const { queue } = this.#tally(key)
        const index = queue.indexOf(`${session.id}#${id}`)
        ensure(index !== -1, `${session.id}#${id} left a queue that it was not in`)
        queue.splice(index, 1)
        break
      }
      case 'released': {
        const { key, fence } = effect.lock
        ensure(this.#tally(key).holders.delete(fence), `fence ${fence} was released twice`)
        break
      }
      case 'granted': {
        const { lock, request } = effect
        const { holders, queue } = this.#tally(lock.key)
        // Every lock is primary, except the later locks of a set, which have the same fence.
        const { isPrimary } = lock
        ensure(
          isPrimary ? lock.fence > this.#fence : lock.fence === this.#fence,
          `fence ${lock.fence} does not rise`,
        )
        this.#fence = lock.fence
        holders.set(lock.fence, lock)
        ensure(
          lock.keyState.extras?.upgrade === undefined,
          `${lock.key} was granted while an upgrade waits`,
        )
        ensure(areCompatible([...holders.values()]), `incompatible locks on ${lock.key}`)
        const hasWaited = request !== undefined
        if (hasWaited) {
          const first = queue.shift()
          ensure(
            first === `${lock.session.id}#${lock.id}` && request.id === lock.id,
            `${lock.session.id}#${lock.id} was granted before ${first}, which came first`,
          )
        } else {
          // Only a steal may pass the queue of the key, or be granted while the table is quiet.
          const steals = command.type === 'lock' && command.steal
          ensure(steals || !this.#table.quiet, `${lock.key} was granted while quiet`)
          ensure(queue.length === 0 || steals, `granted past the queue of ${lock.key}`)
        }
        break
      }
      default:
    }
  }

  #tally(key: string): Tally {
    let tally = this.#tallies.get(key)
    if (tally === undefined) {
      tally = { holders: new Map(), queue: [] }
      this.#tallies.set(key, tally)
    }
    return tally
  }

  /** Checks that the tallies, which come from the effects, equal the table. */
  #compareTallies(): void {
    for (const [key, tally] of this.#tallies) {
      const keyState = this.#table.keys.get(key)
      if (tally.holders.size === 0 && tally.queue.length === 0) {
        ensure(keyState === undefined, `a state was left behind for ${key}`)
        this.#tallies.delete(key)
        continue
      }
      ensure(keyState !== undefined, `the state of ${key} is gone`)
      const fences = Array.from(keyState.holders, (lock) => lock.fence)
      ensure(`${fences}` === `${[...tally.holders.keys()]}`, `the holders of ${key} differ`)
      const queue = Array.from(keyState.queue, (request) => `${request.session.id}#${request.id}`)
      ensure(`${queue}` === `${tally.queue}`, `the queue of ${key} differs`)
    }
    ensure(
      this.#tallies.size === this.#table.keys.size,
      'the table has a key that no effect created',
    )
  }
}

/**
 * Checks that the table's records are consistent. Throws if not. Removes from `unfinished` the keys
 * that are finished.
 */
export function checkTableRecords(table: LockTable, unfinished = new Set<string>()): void {
  ensure(table.bytes === bytesOf(table), `${bytesOf(table)} bytes, counted ${table.bytes}`)
  let held = 0
  let waiting = 0
  for (const keyState of table.keys.values()) {
    ensure(
      table.keys.get(keyState.key) === keyState,
      `the state of ${keyState.key} is not found by its key`,
    )
    checkKeyState(table, keyState)
    const isUnfinished = checkQueue(table, keyState, unfinished)
    if (!isUnfinished) unfinished.delete(keyState.key)
    held += keyState.holders.length
    waiting += keyState.queue.length + (keyState.extras?.upgrade === undefined ? 0 : 1)
  }
  ensure(held === table.heldCount, `${held} locks, counted ${table.heldCount}`)
  ensure(waiting === table.waitingCount, `${waiting} requests, counted ${table.waitingCount}`)
  // Subtracts the locks and requests of each session, so `held` and `waiting` must end as 0.
  for (const session of table.sessions.values()) {
    const counted = countsOf(session)
    held -= counted.held
    waiting -= counted.waiting
    ensure(
      session.lockCount === counted.held + counted.waiting + session.barrierCalls.size,
      `${session.id} counts ${session.lockCount} locks and requests`,
    )
    const timed = session.held.values().filter(({ isTimed }) => isTimed).length
    ensure(
      session.timedLockCount === timed,
      `${session.id} has ${timed} timed locks, counted ${session.timedLockCount}`,
    )
    for (const request of session.waiting.values()) {
      const { id } = request
      const found = session.waiting.get(id)
      ensure(
        found === request && request.session === session,
        `${session.id}#${id} is in the index under a wrong number`,
      )
    }
    for (const lock of session.held.values()) {
      const { fence } = lock
      const found = session.held.get(fence)
      ensure(
        found === lock && lock.session === session,
        `fence ${fence} is in the index under a wrong number`,
      )
    }
    for (const call of session.barrierCalls.values()) {
      const barrier = table.barriers.get(call.barrier.key)
      ensure(barrier?.calls.has(call) === true, `${session.id}#${call.id} waits at no barrier`)
    }
    if (session.grace === 0)
      ensure(session.answers === undefined, 'a session without a grace stores answers')
    checkHolderBytes(session)
  }
  checkBarriers(table)
  ensure(
    held === 0,
    'a session holds a lock that no key lists, or a key lists a lock that no session holds',
  )
  ensure(
    waiting === 0,
    'a session has a request that no key lists, or a key lists a request that no session has',
  )
}

/** Checks the records of all barriers. */
function checkBarriers({ barriers, sessions }: LockTable): void {
  let callCount = 0
  for (const { key, parties, calls } of barriers.values()) {
    ensure(calls.size > 0, `the barrier ${key} has no waiting call`)
    ensure(calls.size < parties, `the barrier ${key} is complete, but its calls still wait`)
    for (const { id, session } of calls) {
      ensure(sessions.get(session.id) === session, `${session.id}#${id} outlives its session`)
      callCount++
    }
  }
  ensure(callCount === barriers.callCount, `${callCount} calls, counted ${barriers.callCount}`)
}

/** Counts the locks and requests of a session; a set of n keys counts as n. */
function countsOf(session: Session): { held: number; waiting: number } {
  let held = 0
  let waiting = 0
  for (const { extras } of session.held.values()) held += extras?.set?.locks.length ?? 1
  for (const { extras } of session.waiting.values()) waiting += extras?.set?.requests.length ?? 1
  return { held, waiting }
}

/** Returns the bytes of a table, added up record by record. */
function bytesOf(table: LockTable): number {
  let bytes = 0
  for (const { key, holders, queue, extras } of table.keys.values()) {
    bytes += keyStateBytes + textBytes(key)
    if (extras?.upgrade !== undefined) bytes += bytesOfRequest(extras.upgrade)
    for (const lock of holders) bytes += bytesOfLock(lock)
    for (const request of queue) bytes += bytesOfRequest(request)
  }
  for (const { key, calls } of table.barriers.values()) {
    bytes += barrierBytes + textBytes(key) + calls.size * barrierCallBytes
  }
  bytes += keptResultBytes * table.keptResults.size
  for (const result of resultsOf(table)) bytes += result.bytes
  for (const session of table.sessions.values()) {
    bytes += bytesOfSession(session)
    // The table estimates two bytes of memory for each byte of a stored holder.
    bytes += answerBytes * (session.answers?.size ?? 0) + 2 * session.storedHolderBytes
    for (const { note } of session.revocations) bytes += revocationBytes + textBytes(note)
  }
  return bytes
}

/** Returns all results of `once` in the table. Several answers may share one result. */
function resultsOf(table: LockTable): Set<SharedResult> {
  const results = new Set<SharedResult>()
  for (const { result } of table.keptResults.values()) results.add(result)
  for (const { extras } of table.keys.values())
    if (extras?.delivery !== undefined) results.add(extras.delivery.result!)
  for (const { answers } of table.sessions.values())
    for (const answer of answers?.values() ?? [])
      if (answer.kind === 'result') results.add(answer.result)
  return results
}

/** Checks that the counted bytes of the stored holders equal the sum over the answers. */
function checkHolderBytes({ id, answers, storedHolderBytes }: Session): void {
  let bytes = 0
  for (const answer of answers?.values() ?? []) {
    if (answer.kind === 'failed') bytes += answer.holderBytes ?? 0
  }
  ensure(bytes === storedHolderBytes, `${id} stores ${bytes}, counted ${storedHolderBytes}`)
}

/** Checks the records of one key. */
function checkKeyState(table: LockTable, keyState: KeyState): void {
  const { key, holders, queue } = keyState
  ensure(holders.length > 0 || queue.length > 0, `the state of ${key} is empty`)
  checkList(holders, `holders of ${key}`)
  checkList(queue, `queue of ${key}`)
  for (const lock of holders) {
    const { session, fence, id, extras } = lock
    const first = extras?.set === undefined ? lock : extras.set.locks[0]!
    ensure(lock.keyState === keyState, `fence ${fence} is on another key`)
    ensure(table.sessions.get(session.id) === session, `fence ${fence} outlives its session`)
    ensure(session.held.get(fence) === first, `fence ${fence} is not in its session's index`)
    checkMember(lock, extras?.set?.locks)
    ensure(
      (extras?.maxHold ?? Infinity) <= (session.limits.maxHold ?? Infinity),
      `fence ${fence} is held for longer than the limit of its session`,
    )
    ensure(
      lock.presentFence <= table.fence && id <= session.lastId,
      `fence ${fence} or its request id is higher than the highest so far`,
    )
  }
  ensure(areCompatible([...holders]), `the locks on ${key} are not compatible`)
  checkPermits(keyState)
  checkFollowers(keyState)
  checkUpgrade(keyState)
  for (const request of queue) {
    const { session, id, extras } = request
    const first = extras?.set === undefined ? request : extras.set.requests[0]!
    ensure(request.keyState === keyState, `${session.id}#${id} waits on another key`)
    ensure(table.sessions.get(session.id) === session, `${session.id}#${id} outlives its session`)
    ensure(session.waiting.get(id) === first, `${session.id}#${id} is not in its session's index`)
    checkMember(request, extras?.set?.requests)
    ensure(id <= session.lastId, `${session.id}#${id} is higher than the last id`)
  }
}

/**
 * Checks that a lock or request is in its set once. All members of the set must have the same
 * session and id, and different keys.
 */
function checkMember<T extends Lock | Request>(member: T, members: readonly T[] | undefined): void {
  if (members === undefined) return
  const { session, id, key } = member
  const name = `${session.id}#${id}`
  ensure(members.filter((other) => other === member).length === 1, `${name} is not in its set`)
  ensure(
    members.every((other) => other.session === session && other.id === id),
    `the set ${name} has a member of another session or request`,
  )
  ensure(members.filter((other) => other.key === key).length === 1, `${name} has ${key} twice`)
}

/**
 * Checks the followers of a key: calls of `once` that wait for the result of another call. They are
 * in two groups. The group `delivery` must still get the result of a call that has ended. The group
 * `followers` waits for the call that runs. The `once` requests of the queue must be those of
 * `delivery`, followed by those of `followers`.
 */
function checkFollowers({ key, queue, extras }: KeyState): void {
  const { followers, delivery } = extras ?? {}
  const followersInQueue = [...queue].filter((request) => request.extras?.once)
  const grouped = [...(delivery?.requests ?? []), ...(followers?.requests ?? [])]
  ensure(
    followersInQueue.length === grouped.length &&
      followersInQueue.every((request, i) => request === grouped[i]),
    `the followers of ${key} are not those of its queue`,
  )
  ensure(followers?.requests.size !== 0, `${key} keeps a group without followers`)
  ensure(followers?.result === undefined, `${key} has a result that no follower gets`)
  ensure(delivery?.requests.size !== 0, `${key} keeps a delivery without followers`)
  for (const group of [delivery, followers])
    for (const request of group?.requests ?? [])
      ensure(request.extras?.followers === group, `a follower of ${key} is in another group`)
}

/** Checks that a waiting upgrade is for a shared lock of its key, and no permits were upgraded. */
function checkUpgrade({ key, holders, extras }: KeyState): void {
  for (const { mode, fence, presentFence } of holders) {
    ensure(presentFence === fence || mode !== 'permits', `permits ${fence} were upgraded`)
  }
  const upgrade = extras?.upgrade
  if (upgrade === undefined) return
  const { session, id, upgradedLock } = upgrade
  ensure([...holders].includes(upgradedLock!), `${key} has the upgrade of a lock that has ended`)
  ensure(upgradedLock!.mode === 'shared', `${key} has the upgrade of an exclusive lock`)
  ensure(session.waiting.get(id) === upgrade, `the upgrade of ${key} is not in its session's index`)
}

/** Checks that the counted permits of a key equal the permits of its locks and requests. */
function checkPermits({ key, holders, queue, extras }: KeyState): void {
  const users = [...holders, ...queue].filter(({ mode }) => mode === 'permits')
  const used = [...holders].reduce((sum, lock) => sum + (lock.extras?.permits ?? 0), 0)
  const permits = extras?.permits
  ensure(extras === undefined || !extras.isEmpty, `${key} keeps empty extras`)
  if (users.length === 0) {
    ensure(permits === undefined, `${key} keeps a capacity without users`)
    return
  }
  ensure(permits !== undefined, `${key} does not count its permits`)
  ensure(permits.users === users.length, `${key} counts ${permits.users} users`)
  ensure(permits.used === used, `${key} counts ${permits.used} permits, but ${used} are used`)
  ensure(used <= permits.capacity, `${key} exceeds its capacity`)
  ensure(
    users.every((user) => user.extras!.capacity === permits.capacity),
    `${key} has two capacities`,
  )
}

/**
 * Returns whether a key is unfinished: its waiting upgrade or first waiter can be granted, or
 * followers can be answered. Throws if the table has not reported an unfinished key.
 */
function checkQueue(
  table: LockTable,
  { key, holders, queue: { first }, extras }: KeyState,
  unfinished: ReadonlySet<string>,
): boolean {
  if (extras?.delivery !== undefined) {
    ensure(unfinished.has(key), `followers of ${key} wait, although their result exists`)
    return true
  }
  if (table.quiet) return false
  if (extras?.upgrade !== undefined) {
    const hasOneHolder = holders.length === 1
    ensure(!hasOneHolder || unfinished.has(key), `the upgrade of ${key} waits for no other lock`)
    return hasOneHolder
  }
  if (first === undefined) return false
  const members = first.extras?.set?.requests ?? [first]
  const canHold = members.every(
    (member) =>
      member.keyState.queue.first === member &&
      member.keyState.extras?.upgrade === undefined &&
      areCompatible([...member.keyState.holders, member]),
  )
  ensure(
    !canHold || members.some((member) => unfinished.has(member.key)),
    `${first.session.id}#${first.id} waits for ${key} and could hold it`,
  )
  return canHold
}

type Linked<T> = { previous: T | undefined; next: T | undefined }

/** Checks that a list is linked both ways and has the right length. */
function checkList<T extends Linked<T>>(list: LinkedList<T>, name: string): void {
  let length = 0
  let previous: T | undefined
  for (let member = list.first; member !== undefined; member = member.next) {
    ensure(member.previous === previous, `the ${name} are not linked both ways`)
    ensure(++length <= list.length, `the ${name} are more than ${list.length}, or link in a circle`)
    previous = member
  }
  ensure(list.last === previous, `the last of the ${name} is not the end of the list`)
  ensure(length === list.length, `the ${name} are ${length}, counted ${list.length}`)
}
