/**
 * An engine that keeps the entries of a replicated log (a command log that several brokers share)
 * in this process. All brokers share one store. Each broker has engines of its own: one for its
 * log, and one for each snapshot. A test can break the connection between the engines of a broker
 * and the store.
 */
import {
  type ClusterConfig,
  configMismatch,
  DamagedChunkError,
  type Engine,
  type EngineSource,
  type LogEnvironment,
  type LogListener,
  type StoredSnapshot,
} from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'

interface StoredEntry {
  readonly position: number
  readonly text: string
}

interface SnapshotInStore {
  readonly position: number
  readonly parts: readonly string[]
}

/** The state that all engines of one log share. */
export class MemoryStore {
  readonly environment: Pick<LogEnvironment, 'clock' | 'endOfTurn'>
  readonly entries: StoredEntry[] = []
  /** The texts of all entries, also of compacted (removed) entries. */
  readonly allTexts: string[] = []
  snapshots: SnapshotInStore[] = []
  /** The position of the snapshot whose last part is damaged, if there is one. */
  damagedSnapshot: number | undefined
  config: ClusterConfig | undefined
  /**
   * Whether the first broker marks a new log as founding. While a log is founding, its brokers
   * refuse clients, because no majority of the brokers has joined yet.
   */
  marksNewLogAsFounding = false
  isFounding = false
  /** The position up to which all entries are removed. */
  compactedTo = 0
  #position = 0
  readonly #watchers = new Set<() => void>()

  constructor(environment: Pick<LogEnvironment, 'clock' | 'endOfTurn'>) {
    this.environment = environment
  }

  get position(): number {
    return this.#position
  }

  /** Adds an entry. Positions have gaps, like the positions of real engines. */
  put(text: string): void {
    this.#position += 2
    this.entries.push({ position: this.#position, text })
    this.allTexts.push(text)
    for (const watcher of this.#watchers) watcher()
  }

  /** Removes all entries up to this position, inclusive. */
  compact(upTo: number): void {
    this.compactedTo = Math.max(this.compactedTo, upTo)
    while ((this.entries[0]?.position ?? Number.POSITIVE_INFINITY) <= upTo) this.entries.shift()
  }

  /** Calls the function after each `put`. @returns a function that ends the calls */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }
}

/** The failures of the connection to the store. */
export interface Faults {
  /** Calls get no answer, and listeners get no entries. */
  isCut: boolean
  /** Appended entries are stored, but the answers are lost. */
  losesAnswers: boolean
  /** Each append first stores the entry of the former append again, like a late repetition. */
  appendsTwice: boolean
  /** The delay of each call and of each delivery, in ms. */
  delayMs: number
  /** Returns true for an entry that listeners do not get. */
  drops: (text: string) => boolean
}

/** How long a call waits for its answer, in ms. */
const answerMs = 200

export class MemoryEngine implements Engine {
  readonly faults: Faults
  /** In characters; small, so that even a small table needs several parts. */
  readonly partLength = 1_000
  readonly #store: MemoryStore
  readonly #onPart: () => void
  /** The entry that the next append stores a second time. */
  #duplicate: string | undefined
  #isClosed = false
  readonly #onClose: (() => void)[] = []
  readonly #onMend = new Set<() => void>()
  readonly #subscriptions = new Set<{ stop(): void }>()

  /** @param onPart Called after each part of a snapshot that this engine has got. */
  constructor(store: MemoryStore, faults: Faults, onPart: () => void = () => {}) {
    this.#store = store
    this.faults = faults
    this.#onPart = onPart
  }

  /** Connects the engine to the store again. */
  mend(): void {
    this.faults.isCut = false
    for (const scheduleDelivery of this.#onMend) scheduleDelivery()
  }

  // The methods of `Engine`. Most methods make a round trip to the store, which may fail.

  async open(config: ClusterConfig): Promise<void> {
    await this.#call()
    if (this.#store.config === undefined) this.#store.isFounding = this.#store.marksNewLogAsFounding
    this.#store.config ??= config
    const mismatch = configMismatch(config, this.#store.config, 'store')
    if (mismatch !== undefined) throw new HoldfastError('INVALID_OPTION', `The store ${mismatch}`)
  }

  get isFounding(): boolean {
    return this.#store.isFounding
  }

  async endFounding(): Promise<void> {
    this.#store.isFounding = false
  }

  async append(_slot: string, entry: string): Promise<void> {
    await this.#call()
    if (this.#duplicate !== undefined) this.#store.put(this.#duplicate)
    this.#duplicate = this.faults.appendsTwice ? entry : undefined
    this.#store.put(entry)
    if (this.faults.losesAnswers) throw new Error('no answer')
  }

  follow(from: number, listener: LogListener): { stop(): void } {
    let position = from
    let isScheduled = false
    const deliver = (): void => {
      isScheduled = false
      if (this.faults.isCut || !this.#subscriptions.has(subscription)) return
      if (position < this.#store.compactedTo) {
        subscription.stop()
        listener.compacted()
        return
      }
      for (const entry of this.#store.entries.filter((entry) => entry.position > position)) {
        if (!this.#subscriptions.has(subscription)) return
        position = entry.position
        if (this.faults.drops(entry.text)) continue
        listener.entry(position, entry.text)
      }
    }
    const scheduleDelivery = (): void => {
      if (isScheduled) return
      isScheduled = true
      this.#runDelayed(deliver)
    }
    const unwatch = this.#store.watch(scheduleDelivery)
    this.#onMend.add(scheduleDelivery)
    const subscription = {
      stop: () => {
        unwatch()
        this.#onMend.delete(scheduleDelivery)
        this.#subscriptions.delete(subscription)
      },
    }
    this.#subscriptions.add(subscription)
    scheduleDelivery()
    return subscription
  }

  async snapshot(): Promise<StoredSnapshot | undefined> {
    await this.#call()
    const newest = this.#store.snapshots.at(-1)
    if (newest === undefined) return undefined
    const { position, parts } = newest
    return { position, parts: this.#read(position, parts) }
  }

  async saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    await this.#call()
    const receivedParts: string[] = []
    for (const part of parts) {
      receivedParts.push(part)
      this.#onPart()
      await this.#call()
    }
    if ((this.#store.snapshots.at(-1)?.position ?? 0) >= position) return false
    this.#store.snapshots.push({ position, parts: receivedParts })
    return true
  }

  async compact(position: number): Promise<void> {
    await this.#call()
    // Keeps the newest two snapshots, as every engine does.
    this.#store.snapshots = this.#store.snapshots.slice(-2)
    this.#store.compact(position)
  }

  async canReplayFrom(position: number): Promise<boolean> {
    await this.#call()
    return position >= this.#store.compactedTo
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const callback of this.#onClose) callback()
    for (const subscription of [...this.#subscriptions]) subscription.stop()
  }

  async *#read(position: number, parts: readonly string[]): AsyncGenerator<string> {
    const isDamaged = position === this.#store.damagedSnapshot
    yield* isDamaged ? parts.slice(0, -1) : parts
    if (isDamaged) throw new DamagedChunkError(position, 'its last part')
  }

  /** Simulates a round trip to the store. */
  #call(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { clock } = this.#store.environment
      const fail = (): void => reject(new Error('no answer'))
      const failLater = (): void => {
        const timer = clock.setTimer(fail, answerMs)
        // The close of the engine ends the call immediately.
        this.#onClose.push(() => clock.clearTimer(timer), fail)
      }
      if (this.#isClosed) fail()
      else if (this.faults.isCut) failLater()
      else this.#runDelayed(() => (this.faults.isCut ? failLater() : resolve()))
    })
  }

  #runDelayed(callback: () => void): void {
    const { clock, endOfTurn } = this.#store.environment
    if (this.faults.delayMs > 0) clock.setTimer(callback, this.faults.delayMs)
    else endOfTurn(callback)
  }
}

/** The engines of one broker: one for its log, and one for each snapshot. */
export class MemorySource implements EngineSource {
  readonly faults: Faults = {
    isCut: false,
    losesAnswers: false,
    appendsTwice: false,
    delayMs: 0,
    drops: () => false,
  }
  /** Called when an engine has got a part of a snapshot, before the engine requests the next. */
  onPart: () => void = () => {}
  readonly #store: MemoryStore
  readonly #engines: MemoryEngine[] = []

  constructor(store: MemoryStore) {
    this.#store = store
  }

  create(): Engine {
    const engine = new MemoryEngine(this.#store, this.faults, () => this.onPart())
    this.#engines.push(engine)
    return engine
  }

  cut(): void {
    this.faults.isCut = true
  }

  mend(): void {
    for (const engine of this.#engines) engine.mend()
  }
}
