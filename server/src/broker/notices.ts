/**
 * The notices that clients ask for in the field `notify` of a request:
 *
 * - `queued`: the request must wait. Sent once, with the holders of the lock and the number of
 *   requests that wait before this request.
 * - `contended`: requests wait behind the lock. Sent at most once a second for each lock, when
 *   another request begins to wait, and at the grant if requests wait already.
 *
 * A *set* is a request for several keys. A set has one request for each key, and later one lock for
 * each key. The notices of a set concern the whole set, and the broker sends them for the first
 * request or lock of the set, the *primary*. A request or lock for one key is its own primary. The
 * `extras` of a request or lock are the terms that only few requests have, such as `notify`.
 *
 * A key with thousands of shared locks that want `contended` must not make each new request
 * expensive. So a new request sends no `contended` itself, but asks for a *round* over these locks.
 * If a round runs already, another round follows. A round sends notices for a limited number of
 * locks in each turn of the event loop. Each notice is charged to the connection that receives the
 * notice.
 */
import type { NoticeType } from '@holdfast/shared'
import { costOfBytes } from '../config/workCosts.js'
import type { Connection } from '../connection/connection.js'
import {
  blockedKeysOf,
  HolderAnswers,
  type KeyState,
  type Lock,
  type Request,
  type Session,
  waitingCountOf,
} from '../core/index.js'
import { encodeContended, encodeQueued } from '../protocol/encodeSessionMessages.js'

/** Shortest time between two `contended` notices of one lock, in ms. */
const contendedMs = 1_000
/** How many locks of one key a round handles in one turn of the event loop. */
const locksPerTurn = 64

/** The locks of one key that want `contended`, with the state of their rounds and of the timer. */
export class ContendedKey {
  readonly keyState: KeyState
  readonly locks = new Set<Lock>()
  /** The locks that the running round has yet to handle; undefined if no round runs. */
  round: Iterator<Lock> | undefined = undefined
  /**
   * Whether another round must follow. True if a request began to wait after the start of the
   * newest round, or if that round has skipped a lock.
   */
  needsRound = false
  /**
   * A round skips a lock that had a notice in the last second. This is the earliest time at which a
   * skipped lock may get a notice; Infinity if the round has skipped no lock.
   */
  nextDueAt = Number.POSITIVE_INFINITY
  /** Whether a timer is set, which will continue the running round or start the next round. */
  hasTimer = false

  constructor(keyState: KeyState) {
    this.keyState = keyState
  }
}

export interface NoticesDeps {
  readonly time: {
    now(): number
    setTimer(subject: ContendedKey, ms: number): void
    clearTimer(subject: ContendedKey): void
  }
  /** The connection of each attached session. */
  readonly attached: ReadonlyMap<Session, Connection>
  /**
   * Counts the work of commands, in units of effects (changes of the lock table). A turn has a
   * limit for this work, and a notice adds to the work of its command.
   */
  readonly workCounter: { workUnits: number }
}

export class Notices {
  readonly #deps: NoticesDeps
  readonly #byKey = new Map<KeyState, ContendedKey>()
  /** The time of the newest `contended` of each lock; of a set, only for its primary lock. */
  readonly #contendedAt = new Map<Lock, number>()
  /** Lists the holders for the notice `queued`, as in an answer with the code LOCK_HELD. */
  readonly #holderAnswers = new HolderAnswers('LOCK_HELD', /* showsMetadata */ true)

  constructor(deps: NoticesDeps) {
    this.#deps = deps
  }

  /** A request begins to wait. */
  onQueued(request: Request): void {
    if (request.isPrimary && wants(request, 'queued')) this.#sendQueued(request)
    const contendedKey = this.#byKey.get(request.keyState)
    if (contendedKey !== undefined) this.#requestRound(contendedKey)
  }

  /** A lock is granted. */
  onGranted(lock: Lock): void {
    if (!wants(lock, 'contended')) return
    this.#add(lock)
    if (lock.isPrimary) this.#notifyHolder(lock)
  }

  /** A lock has ended. */
  onReleased(lock: Lock): void {
    if (!wants(lock, 'contended')) return
    this.#contendedAt.delete(lock)
    const contendedKey = this.#byKey.get(lock.keyState)
    if (contendedKey === undefined) return
    contendedKey.locks.delete(lock)
    if (contendedKey.locks.size > 0) return
    this.#byKey.delete(lock.keyState)
    if (contendedKey.hasTimer) this.#deps.time.clearTimer(contendedKey)
  }

  /**
   * A session has resumed. The list of its locks is in the send queue already, so that the client
   * reads the list before the notices. A `contended` may have been lost with the former connection,
   * so the broker sends the notice again. This method also adds the locks of the session, because
   * this broker does not know these locks yet after a restart or a takeover.
   */
  onResumed(session: Session): void {
    // `held` has only the primary lock of each set.
    for (const lock of session.held.values()) {
      if (!wants(lock, 'contended')) continue
      for (const member of lock.extras?.set?.locks ?? [lock]) this.#add(member)
      this.#notifyHolder(lock)
    }
  }

  /** The timer of a key has ended. */
  onTimer(contendedKey: ContendedKey): void {
    contendedKey.hasTimer = false
    this.#continueRound(contendedKey)
  }

  /** Forgets all locks, because this broker serves no clients any more. */
  clear(): void {
    for (const contendedKey of this.#byKey.values()) {
      if (contendedKey.hasTimer) this.#deps.time.clearTimer(contendedKey)
    }
    this.#byKey.clear()
    this.#contendedAt.clear()
  }

  #add(lock: Lock): void {
    let contendedKey = this.#byKey.get(lock.keyState)
    if (contendedKey === undefined) {
      contendedKey = new ContendedKey(lock.keyState)
      this.#byKey.set(lock.keyState, contendedKey)
    }
    contendedKey.locks.add(lock)
  }

  /**
   * Sends `contended` to the holder of a lock now, if requests wait behind the lock. If the last
   * notice of the lock is too recent, a round sends the notice later.
   */
  #notifyHolder(lock: Lock): void {
    const now = this.#deps.time.now()
    if (now >= this.#dueAt(lock)) this.#sendContended(lock, now)
    else this.#requestRound(this.#byKey.get(lock.keyState)!)
  }

  /**
   * Starts a round now, unless the timer of the key is set. In this case a later call of
   * `#continueRound` by the timer starts the round, after the running round if there is one.
   */
  #requestRound(contendedKey: ContendedKey): void {
    contendedKey.needsRound = true
    if (!contendedKey.hasTimer) this.#continueRound(contendedKey)
  }

  /** Continues the round of a key, or starts a round. Sets the timer of the key if work remains. */
  #continueRound(contendedKey: ContendedKey): void {
    const { time } = this.#deps
    if (contendedKey.round === undefined) {
      if (!contendedKey.needsRound) return
      contendedKey.needsRound = false
      contendedKey.nextDueAt = Number.POSITIVE_INFINITY
      contendedKey.round = contendedKey.locks.values()
    }
    const now = time.now()
    for (let handled = 0; handled < locksPerTurn; handled++) {
      const { value: member, done } = contendedKey.round.next()
      if (done) {
        contendedKey.round = undefined
        break
      }
      // A set has one notice for all its locks, and its primary lock stands for the set.
      const lock = member.primary
      const dueAt = this.#dueAt(lock)
      if (now >= dueAt) this.#sendContended(lock, now)
      else contendedKey.nextDueAt = Math.min(contendedKey.nextDueAt, dueAt)
    }
    if (contendedKey.nextDueAt < Number.POSITIVE_INFINITY) contendedKey.needsRound = true
    if (contendedKey.round !== undefined) this.#setTimer(contendedKey, 0)
    else if (contendedKey.needsRound) {
      // If this round skipped no lock, `nextDueAt` is Infinity, and the next round begins after
      // `contendedMs`. All locks that this round notified may then get a notice again.
      this.#setTimer(contendedKey, Math.max(0, Math.min(contendedKey.nextDueAt - now, contendedMs)))
    }
  }

  #setTimer(contendedKey: ContendedKey, ms: number): void {
    contendedKey.hasTimer = true
    this.#deps.time.setTimer(contendedKey, ms)
  }

  /** When the next `contended` of a lock may be sent. */
  #dueAt(lock: Lock): number {
    return (this.#contendedAt.get(lock) ?? Number.NEGATIVE_INFINITY) + contendedMs
  }

  #sendContended(lock: Lock, now: number): void {
    const { attached, workCounter } = this.#deps
    const connection = attached.get(lock.session)
    const waiting = waitingBehind(lock)
    if (connection === undefined || waiting === 0) return
    this.#contendedAt.set(lock, now)
    // A notice costs as much as one effect. Both the receiver and the command that causes the
    // notice are charged for this cost.
    connection.charge(1)
    workCounter.workUnits += 1
    connection.send(encodeContended(lock.fence, waiting))
  }

  #sendQueued(request: Request): void {
    const connection = this.#deps.attached.get(request.session)
    if (connection === undefined) return
    const set = request.extras?.set
    // The stored answers of a session leave less room for the holders in its next stored answer.
    // A notice is not stored, so `storedBytes` is 0.
    const { holders = [] } =
      set === undefined
        ? this.#holderAnswers.answerFor(request.keyState, /* storedBytes */ 0)
        : this.#holderAnswers.answerForSet(blockedKeysOf(set), /* storedBytes */ 0)
    // Subtracts the request itself, which is the last of each queue.
    const ahead = longestQueueLength(set?.requests ?? [request]) - 1
    const text = encodeQueued(request.id, ahead, holders)
    connection.charge(costOfBytes(text.length))
    connection.send(text)
  }
}

/** Whether the client of a lock or request asked for this notice. */
function wants({ extras }: Lock | Request, notice: NoticeType): boolean {
  return extras?.notify?.includes(notice) === true
}

/** How many requests wait behind the lock; for a set, at the key where most requests wait. */
function waitingBehind(lock: Lock): number {
  const waiting = longestQueueLength(lock.extras?.set?.locks ?? [lock])
  // An upgrade of this lock from shared to exclusive does not wait behind this lock. The upgrade
  // waits for the end of the other locks of the key.
  return lock.keyState.extras?.upgrade?.upgradedLock === lock ? waiting - 1 : waiting
}

/** The most requests that wait for one of the keys of these locks or requests. */
function longestQueueLength(members: readonly (Lock | Request)[]): number {
  let length = 0
  for (const { keyState } of members) length = Math.max(length, waitingCountOf(keyState))
  return length
}
