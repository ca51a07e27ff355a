/**
 * What the table is made of: sessions, locks, requests, and for each key in use an entry with its
 * holders and its queue. Holders and queue are linked through the records themselves, so that any
 * of them leaves in O(1), however many there are.
 *
 * Everybody outside `core` only reads these.
 */
import type { LockMode } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import type { OpenSession, RequestLock, SessionLimits } from './commands.js'
import type { Answer } from './effects.js'
import { answerBytes, revocationBytes, textBytes } from './weights.js'

/** What all sessions have that never held or waited, most of an idle crowd. Stay empty. */
const noLocks = new IdTable<Lock>()
const noRequests = new IdTable<Request>()

/** A lock that an operator has ended, and why. */
export interface Revocation {
  readonly fence: number
  readonly note: string
}

const noRevocations: readonly Revocation[] = []
/** How many revocations a session is told again. */
const maxRevocations = 16

/** One client's standing with the broker. */
export class Session {
  readonly id: string
  readonly principal: string
  readonly name: string | undefined
  readonly lease: number
  readonly grace: number
  readonly limits: SessionLimits
  /** The broker that keeps its deadlines. */
  ownerBroker: string
  /** Number of the connection it is on or was on last; rises with each resume. */
  attachEpoch = 1
  suspended = false
  /** Hash of the secret that the client is known to have. */
  secret: string | undefined
  /** Hash of a newer secret that was sent and not yet proved received. */
  nextSecret: string | undefined
  /** The try that `secret` let in last; undefined if there was none, or it had no number. */
  lastResumeAttempt: number | undefined
  /** The highest request id seen. */
  lastId = 0
  #held = noLocks
  #waiting = noRequests
  /** By request id, oldest first; undefined for a session that cannot resume. */
  readonly answers: Map<number, Answer> | undefined
  /** Bytes that the holders in these answers take. */
  storedHolderBytes = 0
  /**
   * The newest revocations of locks of a session that can resume, oldest first. Its client may have
   * been away, as the clients of locks that operators end often are, and is told again.
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

  /** One of its locks is revoked. Returns the bytes that the session keeps more for it. */
  onRevoked(fence: number, note: string): number {
    if (this.answers === undefined) return 0
    const before = this.revocationBytes
    this.revocations = [...this.revocations, { fence, note }].slice(-maxRevocations)
    return this.revocationBytes - before
  }

  /** Bytes that the revocations which it is told again take. */
  get revocationBytes(): number {
    let bytes = 0
    for (const { note } of this.revocations) bytes += revocationBytes + textBytes(note)
    return bytes
  }

  /** Bytes that its stored answers take. */
  get answerBytes(): number {
    const count = this.answers?.size ?? 0
    return count === 0 ? 0 : count * answerBytes + 2 * this.storedHolderBytes
  }

  /**
   * Keeps an answer until its client acknowledges it, if this session can resume. Each request has
   * one answer. Returns the bytes that it takes.
   */
  storeAnswer(id: number, answer: Answer): number {
    if (this.answers === undefined) return 0
    this.answers.set(id, answer)
    const holderBytes = holderBytesOf(answer)
    this.storedHolderBytes += holderBytes
    return answerBytes + 2 * holderBytes
  }

  /**
   * A lock was released whose grant may still be stored: of the lock, the fence is all that is told
   * again, and its metadata and a long key are not kept for that.
   */
  dropHolderDetails(lock: Lock): void {
    if (lock.metadata === undefined && lock.key.length <= keptKeyLength) return
    const answer = this.answers?.get(lock.id)
    if (answer?.kind !== 'granted' || answer.lock !== lock) return
    this.answers!.set(lock.id, { kind: 'granted', lock: formerLock(this, lock.id, lock.fence) })
  }

  /** The client has these answers. Returns the bytes that they took. */
  forgetAnswers(ids: readonly number[]): number {
    const { answers } = this
    if (answers === undefined) return 0
    let bytes = 0
    for (const id of ids) {
      // Few sessions have such answers, and all sessions acknowledge.
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

/** Keys up to this length are kept with the stored answer of a released lock. */
const keptKeyLength = 64

/** What was asked for: a command that wants a lock, or the request it became. */
export interface LockTerms {
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** JSON text. */
  readonly metadata: string | undefined
}

/** One grant. */
export class Lock implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  /** The request that was granted. */
  readonly id: number
  readonly mode: LockMode
  readonly fence: number
  /** In ms; undefined if it does not expire. */
  ttl: number | undefined
  /**
   * Counts the refreshes, and the moves of its deadline from broker to broker, so that an older
   * deadline can be told from the present one.
   */
  generation = 0
  readonly metadata: string | undefined
  /** Wall time of the grant. */
  readonly since: number
  previous: Lock | undefined = undefined
  next: Lock | undefined = undefined

  constructor(entry: KeyState, session: Session, terms: LockTerms, fence: number, since: number) {
    this.keyState = entry
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

/** One ask for a lock that had to wait. */
export class Request implements LockTerms {
  readonly keyState: KeyState
  readonly session: Session
  readonly id: number
  readonly mode: LockMode
  readonly ttl: number | undefined
  /** In ms; undefined if it waits for ever. */
  readonly timeout: number | undefined
  readonly metadata: string | undefined
  /** Wall time of the ask. */
  readonly since: number
  previous: Request | undefined = undefined
  next: Request | undefined = undefined

  constructor(
    entry: KeyState,
    session: Session,
    command: Omit<RequestLock, 'type' | 'session' | 'attachEpoch' | 'key' | 'steal'>,
  ) {
    this.keyState = entry
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

/** A doubly linked list through its members' own `previous` and `next`. */
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

  /** Puts a member right behind another one, or first. */
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

/** The queue of every key that nobody has waited for, which is nearly every key. Stays empty. */
const nobody = new LinkedList<Request>()

/**
 * A key, who holds it, and who waits, first come first. It is itself the chain of its holders:
 * there are as many entries as locks, and a million of them can do without a second object each.
 */
export class KeyState extends LinkedList<Lock> {
  readonly key: string
  /** Its place among the keys in use: rises with each key that comes into use. 0 for a bookmark. */
  order = 0
  #queue = nobody
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

  /** Whether nobody holds it and nobody waits for it. */
  get isIdle(): boolean {
    return this.first === undefined && this.#queue.first === undefined
  }

  /** Takes a place at the end of the queue. */
  enqueue(request: Request): void {
    if (this.#queue === nobody) this.#queue = new LinkedList<Request>()
    this.#queue.append(request)
  }

  /** Whether a lock of this mode could be held beside those that are. */
  admits(mode: LockMode): boolean {
    const holder = this.first
    return holder === undefined || (mode === 'shared' && holder.mode === 'shared')
  }
}

/** The key of every lock that is remembered for its fence alone. */
const forgotten = new KeyState('')

/** What is remembered of a lock that is gone: the answer that granted it. */
export function formerLock(session: Session, id: number, fence: number): Lock {
  const terms: LockTerms = { id, mode: 'exclusive', ttl: undefined, metadata: undefined }
  return new Lock(forgotten, session, terms, fence, 0)
}
