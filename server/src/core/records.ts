/**
 * The records of the table: sessions, locks, requests and keys. Each key in use has one state, with
 * its holders and its queue. The records themselves are the nodes of the linked lists, so that
 * removing a record from its list takes O(1). `commands.ts` explains the terms, such as lease, ttl,
 * fence, set and scope.
 *
 * The exported classes are in one file, because they refer to each other, and files must not
 * import each other in a cycle. Code outside `core` may read the records, but must not change them.
 */
import type { LockMode } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { BarrierCall } from './barrierCalls.js'
import { LinkedList } from './linkedList.js'
import { KeyExtras, type LockExtras, type Scope } from './lockExtras.js'
import { addPermits, addPermitsUser, removePermits, removePermitsUser } from './permits.js'
import type {
  AnswerOf,
  LockTerms,
  RequestTerms,
  RequestType,
  Revocation,
  WantedTerms,
} from './plainRecords.js'
import type { OpenSession, SessionLimits } from './sessionCommands.js'
import { revocationBytes as bytesPerRevocation, textBytes } from './weights.js'

/** These tables stay empty. A session uses them until it has records of its own to store. */
const noLocks = new IdTable<Lock>()
const noRequests = new IdTable<Request>()
const noBarrierCalls = new IdTable<BarrierCall<Session>>()

export type Answer = AnswerOf<Lock>

const noRevocations: readonly Revocation[] = []
/** How many revocations a session stores at most. */
const maxRevocations = 16

/** A client's session with the broker: its identity, limits, locks, requests and stored answers. */
export class Session {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
  /** How long the session lasts without a message of its client, in ms. */
  readonly lease: number
  /** How long after its last connection a client can resume the session, in ms; 0 for never. */
  readonly grace: number
  readonly limits: SessionLimits
  /** The broker that keeps the deadlines of the session, its locks and its requests. */
  ownerBroker: string
  /**
   * The number of the session's present or last connection. The connection that opened the session
   * has the number 1, and each resume raises the number.
   */
  attachEpoch = 1
  /**
   * A number that rises when another broker becomes the owner. The table ignores a broker's command
   * to end a lock if the command has an older owner epoch.
   */
  ownerEpoch = 0
  /** Whether the session has no connection. */
  suspended = false
  /** Hash of the newest secret (the proof for a resume) that the client is known to have. */
  secret: string | undefined
  /** Hash of a newer secret that the broker has sent; the client may not have received it. */
  nextSecret: string | undefined
  /**
   * The `resumeAttempt` of the last resume with the present `secret`. Undefined without such a
   * resume, or if the client sent no `resumeAttempt`.
   */
  lastResumeAttempt: number | undefined
  /** The highest request id so far. */
  lastId = 0
  #held = noLocks
  #waiting = noRequests
  #barrierCalls = noBarrierCalls
  /** The scopes (logical tasks) with a lock or a waiting request, by number; undefined for none. */
  scopes: Map<number, ScopeOfLocks> | undefined = undefined
  /**
   * How many held locks have a ttl or a `maxHold` (the longest time that a client may hold a lock).
   * A set counts once. While the count is 0, a broker that takes over the session need not search
   * the locks for deadlines.
   */
  timedLockCount = 0
  /**
   * How many keys the sets of this session have, without the first key of each set. (A set is one
   * lock or request for several keys.)
   */
  additionalKeys = 0
  /**
   * Stored answers by request id, oldest first; undefined for a session that cannot resume. Only
   * `storedAnswers.ts` changes this field and the next two fields.
   */
  readonly answers: Map<number, Answer> | undefined
  /** Bytes of the JSON with which the stored answers describe holders of keys. */
  storedHolderBytes = 0
  /** How many stored answers contain the result of a `once` (see `results.ts`). */
  storedResults = 0
  /**
   * The newest revoked locks of a session that can resume, oldest first. A resume reports these
   * locks again, because the client may have been disconnected when the operator revoked them.
   */
  revocations = noRevocations

  constructor(open: Omit<OpenSession, 'type' | 'handshakeId' | 'at'>) {
    this.id = open.session
    this.principal = open.principal
    this.name = open.name
    this.lease = open.lease
    this.grace = open.grace
    this.secret = open.secret
    this.limits = open.limits
    this.ownerBroker = open.ownerBroker
    this.answers = open.grace > 0 ? new Map() : undefined
  }

  get held(): IdTable<Lock> {
    return this.#held
  }

  get waiting(): IdTable<Request> {
    return this.#waiting
  }

  /** Whether a request of this type and with this id waits. */
  isWaiting(id: number, type: RequestType): boolean {
    if (type === 'barrier') return this.#barrierCalls.get(id) !== undefined
    const request = this.#waiting.get(id)
    if (request === undefined) return false
    return type === (request.upgradedLock === undefined ? 'lock' : 'upgrade')
  }

  /** The calls of this session that wait at a barrier. */
  get barrierCalls(): IdTable<BarrierCall<Session>> {
    return this.#barrierCalls
  }

  /**
   * How many locks, waiting requests and calls at barriers count against the limit `locks`. A set
   * counts once for each key.
   */
  get lockCount(): number {
    return this.#held.size + this.#waiting.size + this.#barrierCalls.size + this.additionalKeys
  }

  addBarrierCall(call: BarrierCall<Session>): void {
    if (this.#barrierCalls === noBarrierCalls) this.#barrierCalls = new IdTable()
    this.#barrierCalls.add(call)
  }

  /**
   * Adds a lock to `held`. Of a set, `held` has only the first lock; `additionalKeys` counts the
   * others.
   */
  addHeld(lock: Lock): void {
    if (!lock.isPrimary) {
      this.additionalKeys++
      return
    }
    if (this.#held === noLocks) this.#held = new IdTable()
    this.#held.add(lock)
    if (lock.isTimed) this.timedLockCount++
  }

  removeHeld(lock: Lock): void {
    if (!lock.isPrimary) {
      this.additionalKeys--
      return
    }
    this.#held.remove(lock)
    if (lock.isTimed) this.timedLockCount--
  }

  /**
   * Adds a request to `waiting`. Of a set, `waiting` has only the first request; `additionalKeys`
   * counts the others.
   */
  addWaiting(request: Request): void {
    if (!request.isPrimary) {
      this.additionalKeys++
      return
    }
    if (this.#waiting === noRequests) this.#waiting = new IdTable()
    this.#waiting.add(request)
  }

  removeWaiting(request: Request): void {
    if (request.isPrimary) this.#waiting.remove(request)
    else this.additionalKeys--
  }

  /** Stores the revocation of a lock. Returns the additional bytes. */
  storeRevocation(fence: number, note: string): number {
    if (this.answers === undefined) return 0
    const bytesBefore = this.bytesOfRevocations
    this.revocations = [...this.revocations, { fence, note }].slice(-maxRevocations)
    return this.bytesOfRevocations - bytesBefore
  }

  /** Bytes of the stored revocations. */
  get bytesOfRevocations(): number {
    let bytes = 0
    for (const { note } of this.revocations) bytes += bytesPerRevocation + textBytes(note)
    return bytes
  }
}

/**
 * The fields that only a few requests or locks have, such as permits or a set. When a request is
 * granted, its lock gets the same `Extras` object.
 */
export type Extras = LockExtras<Lock, Request, Session>

/** A scope of a session. */
export type ScopeOfLocks = Scope<Lock, Request, Session>

/** A granted lock. A set has one such lock for each of its keys. */
export class Lock implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  /** The id of the request that was granted. */
  readonly id: number
  mode: LockMode
  /** The fence of the grant, which identifies the lock until its end, even after an upgrade. */
  readonly fence: number
  /** In ms; undefined if the lock does not expire. */
  ttl: number | undefined
  /**
   * A number that rises with each refresh. The table ignores a broker's command to expire the lock
   * if the command has an older generation.
   */
  generation = 0
  readonly metadata: string | undefined
  /** The fields that only a few locks have; undefined for an ordinary lock. */
  extras: Extras | undefined
  /** Wall time of the grant, in ms since 1970. */
  readonly since: number
  previous: Lock | undefined = undefined
  next: Lock | undefined = undefined

  constructor(
    keyState: KeyState,
    session: Session,
    terms: LockTerms,
    extras: Extras | undefined,
    fence: number,
    since: number,
  ) {
    this.keyState = keyState
    this.session = session
    this.id = terms.id
    this.mode = terms.mode
    this.fence = fence
    this.ttl = terms.ttl
    this.metadata = terms.metadata
    this.extras = extras
    this.since = since
  }

  get key(): string {
    return this.keyState.key
  }

  /** The newest fence of the lock. Each upgrade gives the lock a new and higher fence. */
  get presentFence(): number {
    return this.extras?.presentFence ?? this.fence
  }

  /** Whether the lock has a deadline, for which the owner broker of the session runs a timer. */
  get isTimed(): boolean {
    return this.ttl !== undefined || this.extras?.maxHold !== undefined
  }

  /**
   * Outside a set, the lock itself. In a set, the first lock of the set, because only the first
   * lock has the present ttl and the deadlines of the set.
   */
  get primary(): Lock {
    return this.extras?.set?.locks[0] ?? this
  }

  /** False for the locks of a set, except the first lock, which stands for the set. */
  get isPrimary(): boolean {
    const set = this.extras?.set
    return set === undefined || set.locks[0] === this
  }

  /** The number by which an `IdTable` (a map with numbers as keys) finds the lock. */
  get tableId(): number {
    return this.fence
  }
}

/** A lock request in the queue of a key. A set has one such request for each of its keys. */
export class Request implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** In ms; undefined if the request waits for ever. */
  readonly timeout: number | undefined
  readonly metadata: string | undefined
  /** The fields that only a few requests have; undefined for a request for an ordinary lock. */
  readonly extras: Extras | undefined
  /** Wall time of the request, in ms since 1970. */
  readonly since: number
  previous: Request | undefined = undefined
  next: Request | undefined = undefined

  constructor(
    keyState: KeyState,
    session: Session,
    terms: RequestTerms,
    extras: Extras | undefined,
  ) {
    this.keyState = keyState
    this.session = session
    this.id = terms.id
    this.mode = terms.mode
    this.ttl = terms.ttl
    this.timeout = terms.timeout
    this.metadata = terms.metadata
    this.extras = extras
    this.since = terms.at
  }

  get key(): string {
    return this.keyState.key
  }

  /** The lock that an upgrade makes exclusive; undefined for a request for a new lock. */
  get upgradedLock(): Lock | undefined {
    return this.extras?.upgradeOf
  }

  /** False for the requests of a set, except the first request, which stands for the set. */
  get isPrimary(): boolean {
    const set = this.extras?.set
    return set === undefined || set.requests[0] === this
  }

  /** The number by which an `IdTable` (a map with numbers as keys) finds the request. */
  get tableId(): number {
    return this.id
  }
}

/**
 * The queue of a key, and the extras of the key (the fields that only a few keys have). One object
 * has both, so that a {@link KeyState} needs only one field.
 */
class KeyQueue extends LinkedList<Request> {
  extras: KeyExtras<Lock, Request> | undefined = undefined
}

/** Nearly all keys have neither waiters nor extras, and share this queue, which stays empty. */
const emptyQueue = new KeyQueue()

/**
 * A key with its holders and its queue. The object itself is the list of the holders, because a
 * second object for each of a million keys would take memory.
 */
export class KeyState extends LinkedList<Lock> {
  readonly key: string
  /**
   * The position of the key in the order in which keys came into use. 0 for a bookmark: an object
   * that is no key, but marks the place of a paused walk over the keys (see `keyTable.ts`).
   */
  order = 0
  #queue = emptyQueue
  previous: KeyState | undefined = undefined
  next: KeyState | undefined = undefined

  constructor(key: string) {
    super()
    this.key = key
  }

  get holders(): LinkedList<Lock> {
    return this
  }

  get queue(): LinkedList<Request> {
    return this.#queue
  }

  /** The fields that only a few keys have; undefined for nearly all keys. */
  get extras(): KeyExtras<Lock, Request> | undefined {
    return this.#queue.extras
  }

  set extras(extras: KeyExtras<Lock, Request> | undefined) {
    if (this.#queue === emptyQueue) this.#queue = new KeyQueue()
    this.#queue.extras = extras
  }

  /** Whether the key has neither a holder nor a waiter. */
  get isIdle(): boolean {
    return this.first === undefined && this.#queue.first === undefined
  }

  /**
   * Appends a request to the queue. An upgrade waits in no queue, but in the extras of the key.
   */
  enqueue(request: Request): void {
    if (request.upgradedLock !== undefined) {
      this.extras ??= new KeyExtras()
      this.extras.upgrade = request
      return
    }
    if (this.#queue === emptyQueue) this.#queue = new KeyQueue()
    this.#queue.append(request)
    if (request.extras?.permits !== undefined) addPermitsUser(this, request.extras)
  }

  /** Removes a request from the queue, or the upgrade of the key. */
  dequeue(request: Request): void {
    if (request.upgradedLock !== undefined) {
      this.extras!.upgrade = undefined
      if (this.extras!.isEmpty) this.extras = undefined
      return
    }
    this.#queue.remove(request)
    if (request.extras?.permits !== undefined) removePermitsUser(this)
  }

  /** Appends a lock to the holders. */
  addHolder(lock: Lock): void {
    this.append(lock)
    if (lock.extras?.permits !== undefined) addPermits(this, lock.extras)
  }

  /** Removes a lock from the holders. */
  removeHolder(lock: Lock): void {
    this.remove(lock)
    if (lock.extras?.permits !== undefined) removePermits(this, lock.extras)
  }

  /**
   * Whether a lock with these terms is compatible with the present holders. Exclusive locks are
   * compatible with none, shared locks with shared locks, and permits with permits while their sum
   * stays within the capacity. While an upgrade waits, the key admits no lock. All holders are
   * shared then, so the code checks for an upgrade only if the wanted mode is shared too.
   */
  admits(terms: WantedTerms): boolean {
    const holder = this.first
    if (holder === undefined) return true
    const { mode } = terms
    if (mode !== holder.mode || mode === 'exclusive') return false
    if (mode === 'shared') return this.extras?.upgrade === undefined
    return this.extras!.permits!.hasRoomFor(terms.extras!.permits!)
  }
}
