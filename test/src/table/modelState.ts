/** The state of the model of the lock table: flat lists that are searched from end to end. */
import type { ResumeSession, SessionLimits, StoredHolder } from '@holdfast/server/core'
import type { LockMode } from '@holdfast/shared'
import { isDeadlock } from './naiveDeadlock.js'
import type {
  PlainAnswer,
  PlainBarrierCall,
  PlainDelivery,
  PlainKeptResult,
  PlainLock,
  PlainRequest,
  PlainSession,
  PlainState,
} from './plainValues.js'

/** The part of a lock or request that decides whether it is compatible with the locks of a key. */
export type WantedLock = {
  readonly key: string
  readonly mode: LockMode
  /** The number of permits that the lock takes, if its mode is `permits`. */
  readonly permits?: number | undefined
  readonly capacity?: number | undefined
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type ModelLock = Mutable<PlainLock>

/** The fields of a plain session that `toPlain` computes. */
type Derived = 'held' | 'waiting' | 'barrierCalls' | 'answers' | 'lastResumeAttempt' | 'revocations'

export interface ModelSession extends Omit<Mutable<PlainSession>, Derived> {
  readonly name: string | undefined
  readonly limits: SessionLimits
  /** The command of the last successful resume. */
  acceptedResume: ResumeSession | undefined
  /** Every lock of the session that was revoked. */
  readonly allRevocations: { fence: number; note: string }[]
  /**
   * The id, the answer and the type of each answered request, in the order of the answers. Empty
   * for a session without a grace. A session with a grace survives a drop of its connection.
   */
  answers: [number, PlainAnswer, string][]
}

export class ModelState {
  /** The newest fence. A fence is the number of a grant. */
  fence = 0
  /** Whether the table grants only steals, which take the key from its holders. */
  quiet = false
  readonly sessions: ModelSession[] = []
  /** All held locks, in the order of their grants. */
  readonly locks: ModelLock[] = []
  /** The waiting requests, in the order of their arrival. */
  readonly waitingRequests: PlainRequest[] = []
  /**
   * The waiting upgrades from shared to exclusive, in the order of their arrival. An upgrade stands
   * in no queue.
   */
  readonly upgrades: PlainRequest[] = []
  /** The calls that wait at barriers, in the order of their arrival. */
  barrierCalls: PlainBarrierCall[] = []
  /** The newest result of each key that had a completed run of `once`, with its followers. */
  deliveries: ModelDelivery[] = []
  /** The kept results, oldest first. */
  keptResults: Mutable<PlainKeptResult>[] = []
  /** Keys with holders or waiters, in the order in which the keys came into use. */
  keysInUse: string[] = []

  /** Whether a new lock with these terms is compatible with the locks and upgrades of its key. */
  canHold({ key, mode, permits = 0, capacity = 0 }: WantedLock): boolean {
    const held = this.locks.filter((lock) => lock.key === key)
    // A key with a waiting upgrade has holders, so this condition also covers waiting upgrades.
    if (mode === 'exclusive') return held.length === 0
    if (this.upgrades.some((upgrade) => upgrade.key === key)) return false
    if (held.some((lock) => lock.mode !== mode)) return false
    return mode === 'shared' || sum(held.map((lock) => lock.permits!)) + permits <= capacity
  }

  /** Whether this request is the first of its queue and compatible with every lock of its key. */
  isReadyOnKey(request: PlainRequest): boolean {
    const first = this.waitingRequests.find((waiter) => waiter.key === request.key)
    return first === request && this.canHold(request)
  }

  /**
   * The waiting requests with the id of this request. A set is one call for several keys, and has a
   * request for each key. Any other call has only one request.
   */
  membersOf(request: PlainRequest): PlainRequest[] {
    const { session, id } = request
    return this.waitingRequests.filter((waiter) => waiter.session === session && waiter.id === id)
  }

  /** The followers of the key that must be answered, because their result exists. */
  followersToAnswer(key: string): PlainRequest[] {
    const delivery = this.deliveries.find((candidate) => candidate.key === key)
    return this.waitingRequests.filter((waiter) => delivery?.followers.includes(waiter))
  }

  /** All locks with this fence: one, or one for each key of a set. */
  locksOf(fence: number): ModelLock[] {
    return this.locks.filter((lock) => lock.fence === fence)
  }

  /**
   * The capacity of the key, which all its locks and waiting requests with permits share; undefined
   * if none has permits.
   */
  capacityOf(key: string): number | undefined {
    const users: readonly (PlainLock | PlainRequest)[] = [...this.locks, ...this.waitingRequests]
    return users.find((user) => user.key === key && user.capacity !== undefined)?.capacity
  }

  findSession(id: string): ModelSession | undefined {
    return this.sessions.find((session) => session.id === id)
  }

  findLock(session: string, fence: number): ModelLock | undefined {
    return this.locks.find((lock) => lock.session === session && lock.fence === fence)
  }

  /**
   * Returns the lock with this key and present fence, whichever session holds the lock. The present
   * fence is the fence of the newest upgrade or, without an upgrade, of the grant.
   */
  findLockOfKey(key: string, presentFence: number): ModelLock | undefined {
    return this.locks.find((lock) => lock.key === key && lock.presentFence === presentFence)
  }

  /**
   * Returns a failure that lists the holders of the keys, key by key and oldest first. The list has
   * at most 16 holders and 16 KiB. The lists of all unacknowledged answers of the session have at
   * most 256 KiB. If not even the first holder fits, the failure lists this holder without its
   * metadata. With `LOCK_TIMEOUT`, no holder in the list has metadata.
   *
   * @param exceptFence The fence of a lock that the failure does not list.
   */
  failureWithHolders(
    requester: ModelSession,
    keys: readonly string[],
    isSet: boolean,
    code: 'LOCK_HELD' | 'LOCK_TIMEOUT',
    exceptFence?: number,
  ): PlainAnswer {
    const storedHolders = requester.answers.flatMap(([, answer]) =>
      'holders' in answer ? answer.holders : [],
    )
    const availableBytes = Math.min(16 * 1024, 256 * 1024 - sum(storedHolders.map(sizeOf)))
    const holders = keys
      .flatMap((key) => this.locks.filter((lock) => lock.key === key))
      .filter((lock) => lock.fence !== exceptFence)
      .map(({ session, key, metadata, presentFence: fence, since, permits, maxHold }) => {
        const { name } = this.findSession(session)!
        const holder = { session, name, metadata, fence, since, permits, maxHold }
        return isSet ? { ...holder, key } : holder
      })
      .map((holder) => (code === 'LOCK_HELD' ? holder : { ...holder, metadata: undefined }))
      .slice(0, 16)
    const fitting = holders.filter(
      (_, i) => sum(holders.slice(0, i + 1).map(sizeOf)) <= availableBytes,
    )
    const firstWithoutMetadata = holders
      .slice(0, 1)
      .map((holder) => ({ ...holder, metadata: undefined }))
    return { kind: 'failed', code, holders: fitting.length === 0 ? firstWithoutMetadata : fitting }
  }

  /**
   * What a session uses of its limit `locks`: the number of its locks, waiting requests, upgrades
   * and barrier calls.
   */
  lockLimitUsage(session: string): number {
    const isOfSession = (item: { session: string }) => item.session === session
    const lists = [this.locks, this.waitingRequests, this.upgrades, this.barrierCalls]
    return sum(lists.map((list) => list.filter(isOfSession).length))
  }

  /** Whether the session has a lock with a deadline, a waiting request, or a barrier call. */
  mayHaveDeadlines(session: ModelSession): boolean {
    const calls = this.barrierCalls.filter((call) => call.session === session.id)
    return [...this.#timedLocksOf(session), ...this.requestsOf(session.id), ...calls].length > 0
  }

  /** The locks of a session that have a deadline; of a set, only the first lock. */
  #timedLocksOf(session: ModelSession) {
    return this.#firstMembers(this.locks, session).filter(
      (lock) => lock.ttl !== undefined || lock.maxHold !== undefined,
    )
  }

  /** The waiting requests and upgrades of a session, in the order of their ids. */
  requestsOf(session: string): PlainRequest[] {
    return [...this.waitingRequests, ...this.upgrades]
      .filter((request) => request.session === session)
      .sort((a, b) => a.id - b.id)
  }

  /** Whether these new requests would complete a deadlock. */
  isDeadlock(newRequests: readonly PlainRequest[]): boolean {
    const { locks, waitingRequests: waiting, upgrades } = this
    return isDeadlock({ locks, waiting, upgrades }, newRequests)
  }

  /** Whether a request of this scope waits. A scope is one logical task of the session. */
  isScopeBusy(session: string, scope: number | undefined): boolean {
    return scope !== undefined && this.requestsOf(session).some((waiter) => waiter.scope === scope)
  }

  /** The locks or requests of a session; of a set, only the first member. */
  #firstMembers<T extends PlainLock | PlainRequest>(
    members: readonly T[],
    session: { readonly id: string },
  ): T[] {
    return members.filter(
      (member) =>
        member.session === session.id && (member.set === undefined || member.set[0] === member.key),
    )
  }

  /** The state in plain values, for the comparison with the table. */
  toPlain(): PlainState {
    return {
      fence: this.fence,
      heldCount: this.locks.length,
      waitingCount: this.waitingRequests.length + this.upgrades.length,
      quiet: this.quiet,
      sessions: this.sessions.map(
        ({ name: _, limits: __, acceptedResume, allRevocations, answers, ...session }) => ({
          ...session,
          // The table forgets the attempt as soon as the session has another secret.
          lastResumeAttempt:
            acceptedResume?.proof === session.secret ? acceptedResume?.resumeAttempt : undefined,
          held: this.#firstMembers(this.locks, session).map((lock) => lock.fence),
          waiting: this.#firstMembers(this.requestsOf(session.id), session).map(
            (waiter) => waiter.id,
          ),
          barrierCalls: this.barrierCalls
            .filter((call) => call.session === session.id)
            .map((call) => call.id),
          // A session that can resume stores its newest 16 revocations.
          revocations: session.grace > 0 ? allRevocations.slice(-16) : [],
          answers:
            session.grace > 0 ? answers.map(([id, answer]) => [id, answer] as const) : undefined,
        }),
      ),
      keys: [...this.keysInUse].sort().map((key) => ({
        key,
        holders: this.locks.filter((lock) => lock.key === key).map((lock) => ({ ...lock })),
        queue: this.waitingRequests
          .filter((waiter) => waiter.key === key)
          .map((waiter) => ({ ...waiter })),
        delivery: this.#deliveryOf(key),
        upgrade: this.upgrades.find((upgrade) => upgrade.key === key),
      })),
      barrierCalls: [...this.barrierCalls].sort((a, b) => a.key.localeCompare(b.key)),
      keptResults: this.keptResults.map((kept) => ({ ...kept })),
    }
  }

  #deliveryOf(key: string): PlainDelivery | undefined {
    const followers = this.followersToAnswer(key).map(({ session, id }) => `${session}#${id}`)
    if (followers.length === 0) return undefined
    const { fence, value } = this.deliveries.find((candidate) => candidate.key === key)!
    return { fence, value, followers }
  }
}

/** A result, and the requests that waited for the run. Some of them may have left the queue. */
export interface ModelDelivery {
  readonly key: string
  readonly fence: number
  readonly value: string | undefined
  readonly followers: readonly PlainRequest[]
}

/** Removes the first matching item. */
export function removeFirst<T>(list: T[], matches: (item: T) => boolean): void {
  const index = list.findIndex(matches)
  if (index !== -1) list.splice(index, 1)
}

export function keysOf(members: readonly { readonly key: string }[]): string[] {
  return members.map(({ key }) => key)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0)
}

/**
 * Returns the estimated size of a holder in bytes: 130 and the length of its texts as JSON. A text
 * with characters beyond ASCII counts three times its length. The session id is always ASCII.
 */
function sizeOf(holder: Pick<StoredHolder, 'session' | 'name' | 'metadata' | 'key'>): number {
  const { session, name, metadata, key } = holder
  const quoted = (text: string | undefined) => (text === undefined ? '' : JSON.stringify(text))
  const texts = [quoted(name), quoted(key), metadata ?? '']
  const sizes = texts.map((text) => text.length * (/[^\x20-\x7e]/.test(text) ? 3 : 1))
  return 130 + session.length + sum(sizes)
}

/** The shorter of two durations. An undefined duration has no end. */
export function shortestOf(a: number | undefined, b: number | undefined): number | undefined {
  const durations = [a, b].filter((duration) => duration !== undefined)
  return durations.length === 0 ? undefined : Math.min(...durations)
}
