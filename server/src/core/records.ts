/**
 * The records of the table: sessions with their stored answers, locks, requests, and one state for
 * each key in use, with its holders and its queue. The records themselves are the nodes of the
 * linked lists, so that each of them leaves its list in O(1).
 *
 * Code outside `core` must only read these records.
 */
import type { ErrorCode, Holder, LockMode } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { OpenSession, RequestLock, SessionLimits } from './commands.js'
import { answerBytes, revocationBytes, textBytes } from './weights.js'

/**
 * Shared by all sessions that never held or waited, such as most of an idle crowd. Always empty.
 */
const noLocks = new IdTable<Lock>()
const noRequests = new IdTable<Request>()

/** The types of requests whose outcome is stored. */
export type RequestType = 'lock' | 'unlock' | 'refresh' | 'revoke'

/** The outcome of a request. The table stores it for a session that can resume. */
export type Answer =
  | { readonly kind: 'granted'; readonly lock: Lock }
  | { readonly kind: 'unlocked' }
  /** The lock may be gone by now. */
  | { readonly kind: 'refreshed'; readonly fence: number }
  | { readonly kind: 'revoked' }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      /** With `LOCK_NOT_HELD`: the type of the request. Other codes imply the type. */
      readonly request?: Exclude<RequestType, 'lock'> | undefined
      /** With `LOCK_HELD`, and without metadata with `LOCK_TIMEOUT`. */
      readonly holders?: readonly StoredHolder[] | undefined
      /** An upper bound for the bytes of `holders` as JSON; 0 without `holders`. */
      readonly holderBytes?: number | undefined
      /** With `QUOTA_EXCEEDED`: the limit that was reached. */
      readonly limit?: keyof SessionLimits | undefined
    }

const requestOf = {
  granted: 'lock',
  unlocked: 'unlock',
  refreshed: 'refresh',
  revoked: 'revoke',
} as const

/**
 * Whether an answer can be that of a request of this type. A `LOCK_NOT_HELD` in a snapshot of an
 * older broker does not say which request it answers, so it fits each of the three.
 */
export function answers(answer: Answer, type: RequestType): boolean {
  if (answer.kind !== 'failed') return requestOf[answer.kind] === type
  if (answer.code !== 'LOCK_NOT_HELD') return type === 'lock'
  return answer.request === undefined ? type !== 'lock' : answer.request === type
}

/** A {@link Holder} whose metadata is still JSON text. */
export interface StoredHolder extends Omit<Holder, 'metadata'> {
  readonly metadata: string | undefined
}

/** A lock that an operator ended, and the operator's reason. */
export interface Revocation {
  readonly fence: number
  readonly note: string
}

const noRevocations: readonly Revocation[] = []
/** How many revocations a session keeps, for the client that resumes. */
const maxRevocations = 16

/** A client's session with the broker: its identity, limits, locks, requests and stored answers. */
export class Session {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
  readonly lease: number
  readonly grace: number
  readonly limits: SessionLimits
  /** The broker that keeps its deadlines. */
  ownerBroker: string
  /** Number of the session's present or last connection; rises with each resume. */
  attachEpoch = 1
  suspended = false
  /** Hash of the newest secret that the client is known to have. */
  secret: string | undefined
  /** Hash of a newer secret that was sent and that the client has not yet proved to have. */
  nextSecret: string | undefined
  /**
   * The attempt that last resumed with `secret`; undefined if there was none or it had no number.
   */
  lastResumeAttempt: number | undefined
  /** The highest request id so far. */
  lastId = 0
  #held = noLocks
  #waiting = noRequests
  /** By request id, oldest first; undefined for a session that cannot resume. */
  readonly answers: Map<number, Answer> | undefined
  /** Bytes of the holders in these answers. */
  storedHolderBytes = 0
  /**
   * The newest revoked locks of a session that can resume, oldest first. The client may have been
   * disconnected at the time, as the holder of a stuck lock often is, so a resume reports them
   * again.
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

  hold(lock: Lock): void {
    if (this.#held === noLocks) this.#held = new IdTable()
    this.#held.add(lock)
  }

  waitFor(request: Request): void {
    if (this.#waiting === noRequests) this.#waiting = new IdTable()
    this.#waiting.add(request)
  }

  /** Stores the revocation of a lock. Returns the additional bytes. */
  onRevoked(fence: number, note: string): number {
    if (this.answers === undefined) return 0
    const before = this.revocationBytes
    this.revocations = [...this.revocations, { fence, note }].slice(-maxRevocations)
    return this.revocationBytes - before
  }

  /** Bytes of the stored revocations. */
  get revocationBytes(): number {
    let bytes = 0
    for (const { note } of this.revocations) bytes += revocationBytes + textBytes(note)
    return bytes
  }

  /** Bytes of the stored answers. */
  get answerBytes(): number {
    const count = this.answers?.size ?? 0
    return count === 0 ? 0 : count * answerBytes + 2 * this.storedHolderBytes
  }

  /**
   * Stores the answer to a request until the client acknowledges it, if the session can resume.
   * Each request has one answer. Returns the additional bytes.
   */
  storeAnswer(id: number, answer: Answer): number {
    if (this.answers === undefined) return 0
    this.answers.set(id, answer)
    const holderBytes = holderBytesOf(answer)
    this.storedHolderBytes += holderBytes
    return answerBytes + 2 * holderBytes
  }

  /**
   * Reduces the stored grant of a released lock to its fence, which is all that a repeated answer
   * needs. This frees the metadata and a long key.
   */
  dropHolderDetails(lock: Lock): void {
    if (lock.metadata === undefined && lock.key.length <= keptKeyLength) return
    const answer = this.answers?.get(lock.id)
    if (answer?.kind !== 'granted' || answer.lock !== lock) return
    this.answers!.set(lock.id, { kind: 'granted', lock: formerLock(this, lock.id, lock.fence) })
  }

  /** Drops answers that the client has received. Returns the bytes that this frees. */
  forgetAnswers(ids: readonly number[]): number {
    const { answers } = this
    if (answers === undefined) return 0
    let bytes = 0
    for (const id of ids) {
      // Only a few sessions have such answers, but every session acknowledges.
      const holderBytes = this.storedHolderBytes > 0 ? holderBytesOf(answers.get(id)) : 0
      if (!answers.delete(id)) continue
      this.storedHolderBytes -= holderBytes
      bytes += answerBytes + 2 * holderBytes
    }
    return bytes
  }
}

function holderBytesOf(answer: Answer | undefined): number {
  return answer?.kind === 'failed' ? (answer.holderBytes ?? 0) : 0
}

/** Keys up to this length stay with the stored grant of a released lock. */
const keptKeyLength = 64

/** The common fields of a lock command and of the request that it may become. */
export interface LockTerms {
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** A granted lock. */
export class Lock implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  /** The id of the request that was granted. */
  readonly id: number
  readonly mode: LockMode
  readonly fence: number
  /** In ms; undefined if it does not expire. */
  ttl: number | undefined
  /**
   * Rises with each refresh, and when another broker takes over the deadline, so that the table can
   * ignore a proposal for an older deadline.
   */
  generation = 0
  readonly metadata: string | undefined
  /** Wall time of the grant. */
  readonly since: number
  previous: Lock | undefined = undefined
  next: Lock | undefined = undefined

  constructor(
    keyState: KeyState,
    session: Session,
    terms: LockTerms,
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
    this.since = since
  }

  get key(): string {
    return this.keyState.key
  }

  get tableId(): number {
    return this.fence
  }
}

/** A lock request in the queue of a key. */
export class Request implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** In ms; undefined if it waits for ever. */
  readonly timeout: number | undefined
  readonly metadata: string | undefined
  /** Wall time of the request. */
  readonly since: number
  previous: Request | undefined = undefined
  next: Request | undefined = undefined

  constructor(
    keyState: KeyState,
    session: Session,
    command: Omit<RequestLock, 'type' | 'session' | 'attachEpoch' | 'key' | 'steal'>,
  ) {
    this.keyState = keyState
    this.session = session
    this.id = command.id
    this.mode = command.mode
    this.ttl = command.ttl
    this.timeout = command.timeout
    this.metadata = command.metadata
    this.since = command.at
  }

  get key(): string {
    return this.keyState.key
  }

  get tableId(): number {
    return this.id
  }
}

/** A doubly linked list whose nodes hold their own `previous` and `next`. */
export class LinkedList<T extends { previous: T | undefined; next: T | undefined }> {
  first: T | undefined = undefined
  last: T | undefined = undefined
  length = 0

  append(member: T): void {
    member.previous = this.last
    member.next = undefined
    if (this.last === undefined) this.first = member
    else this.last.next = member
    this.last = member
    this.length++
  }

  /** Inserts a member behind another one, or at the front. */
  insertAfter(member: T, before: T | undefined): void {
    const next = before === undefined ? this.first : before.next
    member.previous = before
    member.next = next
    if (before === undefined) this.first = member
    else before.next = member
    if (next === undefined) this.last = member
    else next.previous = member
    this.length++
  }

  remove(member: T): void {
    if (member.previous === undefined) this.first = member.next
    else member.previous.next = member.next
    if (member.next === undefined) this.last = member.previous
    else member.next.previous = member.previous
    member.previous = undefined
    member.next = undefined
    this.length--
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let member = this.first; member !== undefined; member = member.next) yield member
  }
}

/** The queue of every key without waiters, which is nearly every key. Always empty. */
const emptyQueue = new LinkedList<Request>()

/**
 * A key with its holders and its queue, first come, first served. The object itself is the list of
 * its holders: there can be a million keys, and this saves an object for each.
 */
export class KeyState extends LinkedList<Lock> {
  readonly key: string
  /** Position among the keys in use: rises with each key that comes into use. 0 for a bookmark. */
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

  /** Whether the key has neither a holder nor a waiter. */
  get isIdle(): boolean {
    return this.first === undefined && this.#queue.first === undefined
  }

  /** Appends a request to the queue. */
  enqueue(request: Request): void {
    if (this.#queue === emptyQueue) this.#queue = new LinkedList<Request>()
    this.#queue.append(request)
  }

  /** Whether a lock of this mode is compatible with the present holders. */
  admits(mode: LockMode): boolean {
    const holder = this.first
    return holder === undefined || (mode === 'shared' && holder.mode === 'shared')
  }
}

/** The key of every former lock of which only the fence is stored. */
const noKey = new KeyState('')

/** What the table keeps of a lock that is gone, for the answer that granted it. */
export function formerLock(session: Session, id: number, fence: number): Lock {
  const terms: LockTerms = { id, mode: 'exclusive', ttl: undefined, metadata: undefined }
  return new Lock(noKey, session, terms, fence, 0)
}
