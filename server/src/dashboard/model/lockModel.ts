/**
 * The holders and waiters of all keys that this page knows.
 *
 * A watch is a subscription that reports every grant and release as an event. Queries return the
 * queues, and the locks that did not fit into the first message of the watch. The broker may
 * compute the result of a query, then send an event, and then send the result, which lacks the
 * change of this event. So each pending query records the events since the page sent the query.
 */
import type { HeldInfo, LockEvent, QueryResult, StateEvent, WaitingInfo } from '@holdfast/client'

/** A lock that this page knows. */
export interface KnownLock extends HeldInfo {
  /**
   * When the lock ends if its session does not refresh it, by the monotonic clock of the page, in
   * ms. Undefined if the lock has neither a ttl nor a `maxHold`, or if this time is not known.
   */
  readonly endsAt?: number | undefined
}

/** A key with its holders and its queue. */
export interface KeyRow {
  readonly key: string
  readonly held: readonly KnownLock[]
  readonly waiting: readonly WaitingInfo[]
}

/** A query whose result has not arrived yet. */
export interface PendingQuery {
  /** The query returns the keys that begin with this prefix. */
  readonly prefix: string
  /**
   * The fences of the locks that were released since the query was sent. A fence is an integer that
   * rises with every grant.
   */
  readonly released: Set<number>
  /** Locks that were granted, or whose mode has changed, since the query was sent. */
  readonly locked: LockEvent[]
  /**
   * The fence of the newest upgrade since the query was sent, by key. No lock of the key has a
   * lower fence any more: the upgraded lock got this fence, and all others have ended.
   */
  readonly upgraded: Map<string, number>
}

/** The model of the locks and requests that the dashboard's session receives from the broker. */
export class LockModel {
  /** The monotonic clock of the page, in ms. */
  readonly #now: () => number
  readonly #rows = new Map<string, KeyRow>()
  readonly #pendingQueries = new Set<PendingQuery>()
  /** How many locks the rows have. */
  #knownHeldCount = 0
  /** How many locks the broker has, by its last count and the events since then. */
  #heldCount = 0
  /** How many waiting requests the broker has, by its last count and the events since then. */
  #waitingCount = 0
  /** How many waiting requests the rows have. */
  #knownWaitingCount = 0
  /** Whether the newest list of the locks of all keys was complete. */
  #knowsAllLocks = true
  /** Whether the newest list of the waiting requests of all keys was complete. */
  #knowsAllQueues = true

  /** @param now The monotonic clock of the page, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The row of each known key, by key. */
  get rows(): ReadonlyMap<string, KeyRow> {
    return this.#rows
  }

  /**
   * The number of all held locks at the broker, known or unknown to this page. The last count of
   * the broker may be outdated and too low, so the number is at least the number of known locks.
   */
  get heldCount(): number {
    return Math.max(this.#heldCount, this.#knownHeldCount)
  }

  /**
   * The number of all waiting requests at the broker, known or unknown to this page. The last count
   * of the broker may be outdated and too low, so the number is at least that of known requests.
   */
  get waitingCount(): number {
    return Math.max(this.#waitingCount, this.#knownWaitingCount)
  }

  /** How many held locks this page knows. */
  get knownHeldCount(): number {
    return this.#knownHeldCount
  }

  /** How many waiting requests this page knows. */
  get knownWaitingCount(): number {
    return this.#knownWaitingCount
  }

  /** Whether the broker has locks that this page does not know. */
  get hasUnknownLocks(): boolean {
    return !this.#knowsAllLocks && this.#knownHeldCount < this.#heldCount
  }

  /** Whether the broker has waiting requests that this page does not know. */
  get hasUnknownQueues(): boolean {
    return !this.#knowsAllQueues && this.#knownWaitingCount < this.#waitingCount
  }

  /**
   * Applies the state, which is the first message of a watch: replaces all locks. The queues stay
   * until the result of a query replaces them.
   */
  onState({ held, heldCount }: StateEvent): void {
    const queues = [...this.#rows.values()].filter(({ waiting }) => waiting.length > 0)
    this.#rows.clear()
    this.#knownHeldCount = 0
    this.#heldCount = heldCount
    this.#knowsAllLocks = held.length >= heldCount
    for (const { key, waiting } of queues) this.#rows.set(key, { key, held: [], waiting })
    for (const lock of held) this.#add(lock, this.#endOfListed(lock))
  }

  /**
   * Applies an event of the watch. The field `event` of the event is its kind, such as `locked`.
   */
  onEvent(event: LockEvent): void {
    if (event.event === 'locked') {
      for (const { locked } of this.#pendingQueries) locked.push(event)
      this.#heldCount++
      this.#add(event, this.#endOfGranted(event))
      this.#removeFromQueue(event)
    } else if (event.event === 'proclaimed') {
      // A leader has published a new value. Replace the lock by the event, which has all fields of
      // the lock. If this page does not know the lock, the event adds the lock.
      const { endsAt } = this.#find(event.key, event.fence) ?? {}
      this.#remove(event.key, event.fence)
      this.#add(event, endsAt)
    } else if (event.event === 'upgraded' || event.event === 'downgraded') {
      this.#onModeChange(event)
    } else {
      // All other kinds of events end the lock.
      for (const { released } of this.#pendingQueries) released.add(event.fence)
      this.#heldCount = Math.max(0, this.#heldCount - 1)
      this.#remove(event.key, event.fence)
    }
  }

  /**
   * Replaces a lock whose mode has changed. An upgraded lock has a new fence, and is the only lock
   * of its key, so all other locks of the key are removed. A downgraded lock keeps its fence.
   */
  #onModeChange(event: LockEvent): void {
    const formerLocks = this.#rows.get(event.key)?.held ?? []
    const formerLock = formerLocks.find(({ session, fence }) =>
      event.event === 'downgraded' ? fence === event.fence : session === event.session,
    )
    for (const { fence } of [...formerLocks]) {
      if (event.event === 'downgraded' && fence !== event.fence) continue
      for (const { released } of this.#pendingQueries) released.add(fence)
      this.#remove(event.key, fence)
    }
    for (const { locked, upgraded } of this.#pendingQueries) {
      locked.push(event)
      if (event.event === 'upgraded') upgraded.set(event.key, event.fence)
    }
    // A change of the mode moves neither the end of the ttl nor the end of `maxHold`.
    this.#add(event, formerLock?.endsAt)
    if (event.event === 'upgraded') this.#removeFromQueue(event)
  }

  /**
   * Begins to record events for a query that is about to be sent. Pass the returned object to
   * {@link applyResult} with the result, or to {@link cancelQuery} if no result comes.
   */
  beginQuery(prefix = ''): PendingQuery {
    const query = {
      prefix,
      released: new Set<number>(),
      locked: [],
      upgraded: new Map<string, number>(),
    }
    this.#pendingQueries.add(query)
    return query
  }

  cancelQuery(query: PendingQuery): void {
    this.#pendingQueries.delete(query)
  }

  /**
   * Applies the result of a query. Events that arrived since the query was sent override the
   * result, because the broker may have computed the result before these events.
   */
  applyResult(query: PendingQuery, result: QueryResult): void {
    this.#pendingQueries.delete(query)
    const { prefix, released, locked, upgraded } = query
    const isComplete = result.held.length >= result.heldCount
    if (isComplete) this.#removeUnlisted(prefix, new Set([...result.held, ...locked].map(fenceOf)))
    for (const lock of result.held) {
      const isReplaced = lock.fence < (upgraded.get(lock.key) ?? 0)
      if (!isReplaced && !released.has(lock.fence)) this.#addOrUpdate(lock, this.#endOfListed(lock))
    }
    this.#replaceQueues(prefix, result.waiting)
    if (prefix === '') {
      this.#knowsAllLocks = isComplete
      this.#knowsAllQueues = result.waiting.length >= result.waitingCount
      // Use the broker's count for an incomplete result, because the page cannot know which events
      // since the query are part of the result.
      this.#heldCount = isComplete ? this.#knownHeldCount : result.heldCount
      this.#waitingCount = result.waitingCount
    }
    for (const event of locked) this.#removeFromQueue(event)
  }

  /** The end of a lock that the broker lists with the remaining times. */
  #endOfListed({ ttlRemaining, maxHoldRemaining }: HeldInfo): number | undefined {
    return this.#earliestEnd(ttlRemaining, maxHoldRemaining)
  }

  /** The end of a lock that was just granted. */
  #endOfGranted({ ttl, maxHold }: LockEvent): number | undefined {
    return this.#earliestEnd(ttl, maxHold)
  }

  /** When the shorter of these times is over; undefined if both times are undefined. */
  #earliestEnd(ms: number | undefined, otherMs: number | undefined): number | undefined {
    const shorterMs = Math.min(ms ?? Number.POSITIVE_INFINITY, otherMs ?? Number.POSITIVE_INFINITY)
    return shorterMs === Number.POSITIVE_INFINITY ? undefined : this.#now() + shorterMs
  }

  #find(key: string, fence: number): KnownLock | undefined {
    return this.#rows.get(key)?.held.find((lock) => lock.fence === fence)
  }

  /** Adds a lock, unless this page knows the lock already. */
  #add(info: HeldInfo, endsAt: number | undefined): void {
    // Copy the fields of the lock only, because `info` may be an event, which has other fields too.
    const { key, mode, session, name, metadata, fence, since, ttl } = info
    const { permits, capacity, keyCount, maxHold, scope, once, election, value } = info
    const row = this.#rows.get(key)
    if (row?.held.some((lock) => lock.fence === fence)) return
    const extras = { permits, capacity, keyCount, maxHold, scope, once, election, value }
    const lock = { key, mode, session, name, metadata, fence, since, ttl, endsAt, ...extras }
    const held = [...(row?.held ?? []), lock]
    this.#rows.set(key, { key, held, waiting: row?.waiting ?? [] })
    this.#knownHeldCount++
  }

  /** Adds a lock, or updates the end of a known lock, because its session may have refreshed it. */
  #addOrUpdate(info: HeldInfo, endsAt: number | undefined): void {
    const { key, fence, ttl } = info
    const known = this.#find(key, fence)
    if (known === undefined) {
      this.#add(info, endsAt)
      return
    }
    if (known.ttl === ttl && known.endsAt === endsAt) return
    const row = this.#rows.get(key)!
    const held = row.held.map((lock) => (lock === known ? { ...lock, ttl, endsAt } : lock))
    this.#rows.set(key, { ...row, held })
  }

  #remove(key: string, fence: number): void {
    const row = this.#rows.get(key)
    if (!row?.held.some((lock) => lock.fence === fence)) return
    this.#knownHeldCount--
    this.#put({ ...row, held: row.held.filter((lock) => lock.fence !== fence) })
  }

  /** Removes the locks of keys with the prefix, except the locks whose fences are listed. */
  #removeUnlisted(prefix: string, listedFences: ReadonlySet<number>): void {
    for (const { key, held } of this.#rows.values()) {
      if (!key.startsWith(prefix)) continue
      for (const { fence } of held) if (!listedFences.has(fence)) this.#remove(key, fence)
    }
  }

  /** Replaces the queues of all keys with the prefix. */
  #replaceQueues(prefix: string, waiting: readonly WaitingInfo[]): void {
    const queues = new Map<string, WaitingInfo[]>()
    for (const request of waiting) {
      const queue = queues.get(request.key)
      if (queue === undefined) queues.set(request.key, [request])
      else queue.push(request)
    }
    for (const row of this.#rows.values()) {
      if (row.waiting.length === 0 || !row.key.startsWith(prefix)) continue
      this.#knownWaitingCount -= row.waiting.length
      this.#put({ ...row, waiting: [] })
    }
    for (const [key, queue] of queues) {
      this.#knownWaitingCount += queue.length
      this.#put({ key, held: this.#rows.get(key)?.held ?? [], waiting: queue })
    }
  }

  /** Removes the request that was granted, by an event `locked` or `upgraded`, from its queue. */
  #removeFromQueue({ event, key, session, since }: LockEvent): void {
    const row = this.#rows.get(key)
    const index = row?.waiting.findIndex((request) => {
      if (request.session !== session) return false
      // The session may have several requests in this queue. A new lock was granted at its `since`,
      // so the request for the lock began to wait no later. This does not identify an upgrade,
      // because an upgraded lock keeps the `since` of its first grant. The flag identifies it.
      return event === 'upgraded' ? request.upgrade : !request.upgrade && request.since <= since
    })
    if (row === undefined || index === undefined || index < 0) return
    this.#knownWaitingCount--
    this.#waitingCount = Math.max(0, this.#waitingCount - 1)
    this.#put({ ...row, waiting: row.waiting.filter((_, i) => i !== index) })
  }

  /** Stores a row, or removes the row if it is empty. */
  #put(row: KeyRow): void {
    if (row.held.length === 0 && row.waiting.length === 0) this.#rows.delete(row.key)
    else this.#rows.set(row.key, row)
  }
}

/** How many permits the locks of a key use together; undefined if the locks have no permits. */
export function usedPermitsOf(held: readonly HeldInfo[]): number | undefined {
  if (held[0]?.mode !== 'permits') return undefined
  return held.reduce((sum, { permits = 0 }) => sum + permits, 0)
}

/**
 * If a lock belongs to a set: the other keys of the set, as far as this page knows these keys. A
 * set is several keys that one request locks together; the locks of a set have the same fence.
 */
export function otherKeysOf(
  { key, fence, keyCount }: HeldInfo,
  rows: ReadonlyMap<string, KeyRow>,
): string[] {
  // Only the locks of a set have a `keyCount`.
  if (keyCount === undefined) return []
  return [...rows.values()]
    .filter((row) => row.key !== key && row.held.some((lock) => lock.fence === fence))
    .map((row) => row.key)
}

function fenceOf({ fence }: { readonly fence: number }): number {
  return fence
}
