/**
 * Who holds and who waits, as far as this page knows. A watch tells of every lock that is taken and
 * released; queries tell of queues, and of what was there before the watch and did not fit into its
 * beginning. Answers to queries are older than some of the events that come before them, so a
 * question remembers what has happened since it was asked.
 */
import type { HeldInfo, LockEvent, QueryResult, StateEvent, WaitingInfo } from '@holdfast/client'

/** One key that is held or waited for. */
export interface KeyRow {
  readonly key: string
  readonly held: readonly HeldInfo[]
  readonly waiting: readonly WaitingInfo[]
}

/** A query under way. */
export interface PendingQuery {
  /** Only keys that begin so. */
  readonly prefix: string
  /** Fences of locks that were released since. */
  readonly released: Set<number>
  /** Locks that were taken since. */
  readonly locked: LockEvent[]
}

export class LockModel {
  readonly #entries = new Map<string, KeyRow>()
  readonly #questions = new Set<PendingQuery>()
  #knownHeld = 0
  #heldCount = 0
  #waitingCount = 0
  #knownWaiting = 0
  #isWhole = true
  #areQueuesWhole = true

  get entries(): ReadonlyMap<string, KeyRow> {
    return this.#entries
  }

  /** Locks held at the broker, known here or not. */
  get heldCount(): number {
    return Math.max(this.#heldCount, this.#knownHeld)
  }

  /** Requests that wait at the broker, known here or not. */
  get waitingCount(): number {
    return Math.max(this.#waitingCount, this.#knownWaiting)
  }

  get knownHeld(): number {
    return this.#knownHeld
  }

  get knownWaiting(): number {
    return this.#knownWaiting
  }

  /** Whether the broker has locks that it has not told of. */
  get hidesLocks(): boolean {
    return !this.#isWhole && this.#knownHeld < this.#heldCount
  }

  /** Whether the broker has waiting requests that it has not told of. */
  get hidesQueues(): boolean {
    return !this.#areQueuesWhole && this.#knownWaiting < this.#waitingCount
  }

  /** Everything anew: the beginning of a watch. */
  onState({ held, heldCount }: StateEvent): void {
    const queues = [...this.#entries.values()].filter(({ waiting }) => waiting.length > 0)
    this.#entries.clear()
    this.#knownHeld = 0
    this.#heldCount = heldCount
    this.#isWhole = held.length >= heldCount
    for (const { key, waiting } of queues) this.#entries.set(key, { key, held: [], waiting })
    for (const lock of held) this.#add(lock)
  }

  onEvent(event: LockEvent): void {
    if (event.event === 'locked') {
      for (const { locked } of this.#questions) locked.push(event)
      this.#heldCount++
      this.#add(event)
      this.#leaveQueue(event)
    } else {
      for (const { released } of this.#questions) released.add(event.fence)
      this.#heldCount = Math.max(0, this.#heldCount - 1)
      this.#remove(event.key, event.fence)
    }
  }

  /** A query is about to be asked: its answer goes to `answer`, or none comes: `forget`. */
  ask(prefix = ''): PendingQuery {
    const question = { prefix, released: new Set<number>(), locked: [] }
    this.#questions.add(question)
    return question
  }

  forget(question: PendingQuery): void {
    this.#questions.delete(question)
  }

  answer(question: PendingQuery, result: QueryResult): void {
    this.#questions.delete(question)
    const { prefix, released, locked } = question
    const isWhole = result.held.length >= result.heldCount
    if (isWhole) this.#dropOthers(prefix, new Set([...result.held, ...locked].map(fenceOf)))
    for (const lock of result.held) if (!released.has(lock.fence)) this.#add(lock)
    this.#replaceQueues(prefix, result.waiting)
    if (prefix === '') {
      this.#isWhole = isWhole
      this.#areQueuesWhole = result.waiting.length >= result.waitingCount
      // Of what has happened since it was asked, the answer knows an unknown part.
      this.#heldCount = isWhole ? this.#knownHeld : result.heldCount
      this.#waitingCount = result.waitingCount
    }
    for (const event of locked) this.#leaveQueue(event)
  }

  #add({ key, mode, session, name, metadata, fence, since }: HeldInfo): void {
    const entry = this.#entries.get(key)
    if (entry?.held.some((lock) => lock.fence === fence)) return
    const lock = { key, mode, session, name, metadata, fence, since }
    const held = [...(entry?.held ?? []), lock]
    this.#entries.set(key, { key, held, waiting: entry?.waiting ?? [] })
    this.#knownHeld++
  }

  #remove(key: string, fence: number): void {
    const entry = this.#entries.get(key)
    if (!entry?.held.some((lock) => lock.fence === fence)) return
    this.#knownHeld--
    this.#put({ ...entry, held: entry.held.filter((lock) => lock.fence !== fence) })
  }

  #dropOthers(prefix: string, fences: ReadonlySet<number>): void {
    for (const { key, held } of this.#entries.values()) {
      if (!key.startsWith(prefix)) continue
      for (const { fence } of held) if (!fences.has(fence)) this.#remove(key, fence)
    }
  }

  #replaceQueues(prefix: string, waiting: readonly WaitingInfo[]): void {
    const queues = new Map<string, WaitingInfo[]>()
    for (const request of waiting) {
      const queue = queues.get(request.key)
      if (queue === undefined) queues.set(request.key, [request])
      else queue.push(request)
    }
    for (const entry of this.#entries.values()) {
      if (entry.waiting.length === 0 || !entry.key.startsWith(prefix)) continue
      this.#knownWaiting -= entry.waiting.length
      this.#put({ ...entry, waiting: [] })
    }
    for (const [key, queue] of queues) {
      this.#knownWaiting += queue.length
      this.#put({ key, held: this.#entries.get(key)?.held ?? [], waiting: queue })
    }
  }

  /** Whoever was granted a key waits for it no longer. */
  #leaveQueue({ key, session, since }: LockEvent): void {
    const entry = this.#entries.get(key)
    const place = entry?.waiting.findIndex(
      (request) => request.session === session && request.since <= since,
    )
    if (entry === undefined || place === undefined || place < 0) return
    this.#knownWaiting--
    this.#waitingCount = Math.max(0, this.#waitingCount - 1)
    this.#put({ ...entry, waiting: entry.waiting.filter((_, index) => index !== place) })
  }

  #put(entry: KeyRow): void {
    if (entry.held.length === 0 && entry.waiting.length === 0) this.#entries.delete(entry.key)
    else this.#entries.set(entry.key, entry)
  }
}

function fenceOf({ fence }: { readonly fence: number }): number {
  return fence
}
