/**
 * The notices that clients ask for in the field `notify` of a request:
 *
 * - `queued`: the request has to wait. Sent once, with the holders and the number of requests that
 *   wait before it.
 * - `contended`: requests wait behind the lock. Sent at most once a second for each lock, when
 *   another request begins to wait, and at the grant if requests wait already.
 *
 * A key with thousands of shared locks that want `contended` must not make each new request
 * expensive. So a new request only starts a *round* over these locks, if no round runs. A round
 * informs a limited number of locks in each turn of the event loop, and its connections pay for it.
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
} from '../core/index.js'
import { encodeContended, encodeQueued } from '../protocol/encode.js'

/** Shortest time between two `contended` notices of one lock, in ms. */
const contendedMs = 1_000
/** Locks of one key that a round handles in one turn of the event loop. */
const locksPerTurn = 64

/** The locks of one key that want `contended`. The object is the subject of the key's timer. */
export class ContendedKey {
  readonly keyState: KeyState
  readonly locks = new Set<Lock>()
  /** The rest of the present round; undefined if no round runs. */
  round: Iterator<Lock> | undefined = undefined
  /** Whether a request began to wait after the start of the newest round. */
  needsRound = false
  /** When the first lock that this round passed over may get its notice; Infinity if none. */
  nextDueAt = Number.POSITIVE_INFINITY
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
  /** The work for notices counts like the effects of the command that causes the notices. */
  readonly liveTable: { effectCount: number }
}

export class Notices {
  readonly #deps: NoticesDeps
  readonly #byKey = new Map<KeyState, ContendedKey>()
  /** When each lock got its newest `contended`. Of a set, its first lock stands for the set. */
  readonly #contendedAt = new Map<Lock, number>()
  readonly #answers = new HolderAnswers('LOCK_HELD', true)

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
    if (lock.isPrimary) this.#inform(lock)
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
   * A session has resumed, and its snapshot is in the send queue. A `contended` may have been lost
   * with the former connection, so the broker sends it again. After a restart or a takeover, this
   * broker does not know yet that the locks of the session want notices.
   */
  onResumed(session: Session): void {
    for (const lock of session.held.values()) {
      if (!wants(lock, 'contended')) continue
      for (const member of lock.extras?.set?.locks ?? [lock]) this.#add(member)
      this.#inform(lock)
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

  /** Informs a lock now, or in a round as soon as its next notice may be sent. */
  #inform(lock: Lock): void {
    const now = this.#deps.time.now()
    if (now >= this.#dueAt(lock)) this.#sendContended(lock, now)
    else this.#requestRound(this.#byKey.get(lock.keyState)!)
  }

  #requestRound(contendedKey: ContendedKey): void {
    contendedKey.needsRound = true
    if (!contendedKey.hasTimer) this.#continueRound(contendedKey)
  }

  /** Continues the round of a key, or starts a round. Sets the timer of the key for the rest. */
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
      const lock = primaryOf(member)
      const dueAt = this.#dueAt(lock)
      if (now >= dueAt) this.#sendContended(lock, now)
      else contendedKey.nextDueAt = Math.min(contendedKey.nextDueAt, dueAt)
    }
    if (contendedKey.nextDueAt < Number.POSITIVE_INFINITY) contendedKey.needsRound = true
    if (contendedKey.round !== undefined) this.#setTimer(contendedKey, 0)
    else if (contendedKey.needsRound) {
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
    const { attached, liveTable } = this.#deps
    const connection = attached.get(lock.session)
    const waiting = longestQueueOf(lock.extras?.set?.locks ?? [lock])
    if (connection === undefined || waiting === 0) return
    this.#contendedAt.set(lock, now)
    connection.charge(1)
    liveTable.effectCount += 1
    connection.send(encodeContended(lock.fence, waiting))
  }

  #sendQueued(request: Request): void {
    const connection = this.#deps.attached.get(request.session)
    if (connection === undefined) return
    const set = request.extras?.set
    const { holders = [] } =
      set === undefined
        ? this.#answers.answerFor(request.keyState, 0)
        : this.#answers.answerForSet(blockedKeysOf(set), 0)
    // The request itself is the last of each queue.
    const ahead = longestQueueOf(set?.requests ?? [request]) - 1
    const text = encodeQueued(request.id, ahead, holders)
    connection.charge(costOfBytes(text.length))
    connection.send(text)
  }
}

function wants({ extras }: Lock | Request, notice: NoticeType): boolean {
  return extras?.notify?.includes(notice) === true
}

/** The lock that stands for a set; for any other lock, the lock itself. */
function primaryOf(lock: Lock): Lock {
  return lock.extras?.set?.locks[0] ?? lock
}

/** The length of the longest queue among the keys of these locks or requests. */
function longestQueueOf(members: readonly (Lock | Request)[]): number {
  let longest = 0
  for (const { keyState } of members) longest = Math.max(longest, keyState.queue.length)
  return longest
}
