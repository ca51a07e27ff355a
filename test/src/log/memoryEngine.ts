/**
 * An engine for replicated logs that keeps everything in this process: one store, and for each
 * broker an engine on it whose connection to the store can be made as bad as a test likes.
 */
import type {
  ClusterConfig,
  Engine,
  EngineSource,
  LogEnvironment,
  LogListener,
  StoredSnapshot,
} from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'

interface Kept {
  readonly position: number
  readonly text: string
}

interface KeptSnapshot {
  readonly position: number
  readonly parts: readonly string[]
}

/** What all engines of one log see. */
export class MemoryStore {
  readonly machine: Pick<LogEnvironment, 'clock' | 'endOfTurn'>
  readonly entries: Kept[] = []
  /** Every entry that there ever was. */
  readonly said: string[] = []
  snapshots: KeptSnapshot[] = []
  charter: ClusterConfig | undefined
  compactedTo = 0
  #position = 0
  readonly #followers = new Set<() => void>()

  constructor(machine: Pick<LogEnvironment, 'clock' | 'endOfTurn'>) {
    this.machine = machine
  }

  get position(): number {
    return this.#position
  }

  /** Positions have gaps, as those of real engines do. */
  put(text: string): void {
    this.#position += 2
    this.entries.push({ position: this.#position, text })
    this.said.push(text)
    for (const follower of this.#followers) follower()
  }

  compact(upTo: number): void {
    this.compactedTo = Math.max(this.compactedTo, upTo)
    while ((this.entries[0]?.position ?? Number.POSITIVE_INFINITY) <= upTo) this.entries.shift()
  }

  watch(follower: () => void): () => void {
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }
}

/** How bad the connection to the store is. */
export interface Faults {
  /** Nothing gets through: calls have no answer, and what is followed stands still. */
  isCut: boolean
  /** What is appended is in, and the answer is lost. */
  losesAnswers: boolean
  /** What is appended comes in twice, the second time only when something else is appended. */
  appendsTwice: boolean
  /** How long anything takes, in ms. */
  delayMs: number
}

/** How long a call waits for its answer, in ms. */
const answerMs = 200

export class MemoryEngine implements Engine {
  readonly faults: Faults
  readonly #store: MemoryStore
  #late: string | undefined
  #isClosed = false
  readonly #onClose: (() => void)[] = []
  readonly #resume = new Set<() => void>()
  readonly #following = new Set<{ stop(): void }>()

  constructor(store: MemoryStore, faults: Faults) {
    this.#store = store
    this.faults = faults
  }

  async open(charter: ClusterConfig): Promise<void> {
    await this.#call()
    this.#store.charter ??= charter
    if (JSON.stringify(charter) !== JSON.stringify(this.#store.charter)) {
      throw new HoldfastError('INVALID_OPTION', 'The log has another charter.')
    }
  }

  async append(_slot: string, entry: string): Promise<void> {
    await this.#call()
    if (this.#late !== undefined) this.#store.put(this.#late)
    this.#late = this.faults.appendsTwice ? entry : undefined
    this.#store.put(entry)
    if (this.faults.losesAnswers) throw new Error('no answer')
  }

  follow(from: number, follower: LogListener): { stop(): void } {
    let position = from
    let isUnderWay = false
    const deliver = (): void => {
      isUnderWay = false
      if (this.faults.isCut || !this.#following.has(following)) return
      if (position < this.#store.compactedTo) {
        following.stop()
        follower.compacted()
        return
      }
      for (const entry of this.#store.entries.filter((one) => one.position > position)) {
        if (!this.#following.has(following)) return
        position = entry.position
        follower.entry(position, entry.text)
      }
    }
    const soon = (): void => {
      if (isUnderWay) return
      isUnderWay = true
      this.#later(deliver)
    }
    const unwatch = this.#store.watch(soon)
    this.#resume.add(soon)
    const following = {
      stop: () => {
        unwatch()
        this.#resume.delete(soon)
        this.#following.delete(following)
      },
    }
    this.#following.add(following)
    soon()
    return following
  }

  /** The cut is mended. */
  mend(): void {
    this.faults.isCut = false
    for (const resume of this.#resume) resume()
  }

  async snapshot(): Promise<StoredSnapshot | undefined> {
    await this.#call()
    const newest = this.#store.snapshots.at(-1)
    return newest && { position: newest.position, parts: each(newest.parts) }
  }

  async saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    await this.#call()
    const written = [...parts]
    if ((this.#store.snapshots.at(-1)?.position ?? 0) >= position) return false
    this.#store.snapshots.push({ position, parts: written })
    return true
  }

  async compact(position: number): Promise<void> {
    await this.#call()
    this.#store.snapshots = this.#store.snapshots.slice(-2)
    this.#store.compact(position)
  }

  async canReplayFrom(position: number): Promise<boolean> {
    await this.#call()
    return position >= this.#store.compactedTo
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const close of this.#onClose) close()
    for (const following of [...this.#following]) following.stop()
  }

  /** A round trip to the store. */
  #call(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { clock } = this.#store.machine
      const fail = (): void => reject(new Error('no answer'))
      const wait = (): void => {
        const timer = clock.setTimer(fail, answerMs)
        this.#onClose.push(() => clock.clearTimer(timer), fail)
      }
      if (this.#isClosed) fail()
      else if (this.faults.isCut) wait()
      else this.#later(() => (this.faults.isCut ? wait() : resolve()))
    })
  }

  #later(callback: () => void): void {
    const { clock, endOfTurn } = this.#store.machine
    if (this.faults.delayMs > 0) clock.setTimer(callback, this.faults.delayMs)
    else endOfTurn(callback)
  }
}

/** The engines of one broker: the one that its log uses now, and one for each snapshot. */
export class MemorySource implements EngineSource {
  readonly faults: Faults = { isCut: false, losesAnswers: false, appendsTwice: false, delayMs: 0 }
  readonly #store: MemoryStore
  readonly #engines: MemoryEngine[] = []

  constructor(store: MemoryStore) {
    this.#store = store
  }

  create(): Engine {
    const engine = new MemoryEngine(this.#store, this.faults)
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

async function* each(parts: readonly string[]): AsyncGenerator<string> {
  yield* parts
}
