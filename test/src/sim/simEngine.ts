/**
 * A simulated engine of the replicated log. The engine connects a broker to the store, which has
 * the command log of all brokers. The simulated connection has the faults of a real connection.
 * Answers get lost. A request arrives after its caller gave up, arrives twice, or arrives after a
 * later request. The stream of entries breaks, and the engine starts the stream again after the
 * last received entry.
 */
import type {
  ClusterConfig,
  Engine,
  EngineSource,
  LogListener,
  StoredSnapshot,
} from '@holdfast/server/internal'
import type { Timer } from '@holdfast/shared'
import type { Path } from './network.js'
import { Pipe } from './pipe.js'
import type { Random } from './random.js'
import type { SharedStore, StoredEntry } from './sharedStore.js'
import type { SimProcess } from './simProcess.js'
import type { World } from './world.js'

/** How long an engine waits for an answer, in ms. */
const answerTimeoutMs = 600
/** How long an engine waits for any entry on a stream, in ms. */
const streamTimeoutMs = 1_500
/** The longest time until the store stores a `doubled` entry again, in ms. */
const maxRepeatMs = 3_000
/** The size of each packet. It does not matter, because no code reads the bytes of these pipes. */
const packetBytes = 0

/**
 * The probabilities that an append has no answer (`silent`), reports a failure (`failing`), or is
 * stored twice (`doubled`).
 */
export interface AppendFaults {
  readonly silent: number
  readonly failing: number
  readonly doubled: number
}

export const noAppendFaults: AppendFaults = { silent: 0, failing: 0, doubled: 0 }

export interface SimEngineDeps {
  readonly world: World
  readonly process: SimProcess
  readonly random: Random
  readonly store: SharedStore
  readonly path: Path
  readonly appendFaults: AppendFaults
  /** Called with each entry; must call `deliver` to deliver the entry to the broker. */
  readonly onEntry: (entry: StoredEntry, deliver: () => void) => void
  /** Called when the broker stops reading, and discards the entries that it has not handled yet. */
  readonly onStoppedReading?: (() => void) | undefined
  /** Undefined for an engine that drops no entries, such as that of a snapshot. */
  readonly drops?: DropRules | undefined
}

/** Which entries an engine may drop, and how it delivers the entry after a dropped one. */
export interface DropRules {
  /**
   * Whether an entry may be dropped. True only if the `next` entry shows the broker that an entry
   * is missing. Otherwise the broker would not notice the loss, and would act on a wrong table.
   */
  mayDrop(entry: StoredEntry, next: StoredEntry): boolean
  /**
   * Checks how the broker handles the entry after a dropped entry. Must call `deliver` to deliver
   * the entry to the broker.
   */
  onEntryAfterDrop(entry: StoredEntry, deliver: () => void): void
}

/** A network connection to the store. The engine replaces a faulty connection. */
interface StoreConnection {
  readonly up: Pipe
  readonly down: Pipe
}

export class SimEngine implements Engine {
  readonly #deps: SimEngineDeps
  /** For each call that waits for its answer, the function that rejects the call. */
  readonly #rejections = new Set<(error: Error) => void>()
  readonly #streams = new Set<Stream>()
  #connection: StoreConnection
  #isClosed = false
  #mustDrop = false
  /** The positions of the dropped entries. A later stream does not drop these entries again. */
  readonly #dropped = new Set<number>()

  constructor(deps: SimEngineDeps) {
    this.#deps = deps
    this.#connection = this.#newConnection()
  }

  /**
   * Cuts the present connection to the store. Of the packets under way, only `keepUp` packets to
   * the store and `keepDown` packets from the store still arrive.
   */
  break({ keepUp, keepDown }: { readonly keepUp: number; readonly keepDown: number }): void {
    this.#connection.up.cut(Math.min(keepUp, this.#connection.up.packetsUnderWay))
    this.#connection.down.cut(Math.min(keepDown, this.#connection.down.packetsUnderWay))
  }

  /** Makes the engine drop the next entry that `drops.mayDrop` accepts. */
  dropSoon(): void {
    this.#mustDrop = true
  }

  open(config: ClusterConfig): Promise<void> {
    return this.#call('open', ({ store }) => store.open(config))
  }

  append(_slot: string, entry: string): Promise<void> {
    const { random, store } = this.#deps
    const { silent, failing, doubled } = store.areFaultsOver
      ? noAppendFaults
      : this.#deps.appendFaults
    const isSilent = random.chance(silent)
    const isFailing = random.chance(failing)
    // Half of the failed appends are stored all the same.
    const isStored = !isFailing || random.chance(0.5)
    const repeatAfterMs = random.chance(doubled) ? random.between(0, maxRepeatMs) : undefined
    return this.#call(
      'append',
      ({ store, world }) => {
        if (isStored) store.append(entry)
        if (repeatAfterMs !== undefined) world.after(repeatAfterMs, () => store.append(entry))
        if (isFailing) throw new Error('the outcome is unknown')
      },
      isSilent,
    )
  }

  follow(position: number, listener: LogListener): { stop(): void } {
    const { process, store, onEntry, drops } = this.#deps
    const stream = new Stream({
      position,
      listener,
      store,
      process,
      onEntry,
      drops,
      tryDrop: (entry) => this.#tryDrop(entry),
      connection: () => this.#connection,
      reconnect: (connection) => this.#reconnect(connection),
      onStop: () => this.#streams.delete(stream),
    })
    this.#streams.add(stream)
    stream.start()
    return {
      stop: () => {
        stream.stop()
        this.#deps.onStoppedReading?.()
      },
    }
  }

  async snapshot(): Promise<StoredSnapshot | undefined> {
    const newest = await this.#call('snapshot', ({ store }) => store.newestSnapshot)
    return newest && { position: newest.position, parts: asyncIterable(newest.parts) }
  }

  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    const partTexts = [...parts]
    return this.#call('saveSnapshot', ({ store }) => store.saveSnapshot(position, partTexts))
  }

  compact(position: number): Promise<void> {
    return this.#call('compact', ({ store }) => store.compact(position))
  }

  canReplayFrom(position: number): Promise<boolean> {
    return this.#call('canReplayFrom', ({ store }) => position >= store.compactedTo)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const stream of [...this.#streams]) stream.stop()
    for (const fail of [...this.#rejections]) fail(new Error('the engine was closed'))
  }

  /**
   * Sends a request to the store; the request or its answer may get lost.
   *
   * @param isSilent Whether the store sends no answer.
   */
  #call<T>(name: string, serve: (deps: SimEngineDeps) => T, isSilent: boolean = false): Promise<T> {
    const { process } = this.#deps
    if (this.#isClosed) return Promise.reject(new Error('the engine is closed'))
    const connection = this.#connection
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        if (!this.#rejections.delete(fail)) return
        process.clock.clearTimer(timer)
        finish()
      }
      const fail = (error: Error): void => settle(() => reject(error))
      this.#rejections.add(fail)
      const timer = process.clock.setTimer(() => {
        this.#reconnect(connection)
        fail(new Error(`${name}: no answer`))
      }, answerTimeoutMs)
      connection.up.send(packetBytes, () => {
        const answer = outcomeOf(() => serve(this.#deps))
        if (isSilent) return
        connection.down.send(packetBytes, () => {
          process.receive(() => {
            settle(() => ('value' in answer ? resolve(answer.value) : reject(answer.error)))
          })
        })
      })
    })
  }

  /** Drops the entry if a drop is due and allowed. Returns whether the entry was dropped. */
  #tryDrop(entry: StoredEntry): boolean {
    const { store, drops } = this.#deps
    if (!this.#mustDrop || drops === undefined || this.#dropped.has(entry.position)) return false
    const next = store.next(entry.position)
    if (next === undefined || !drops.mayDrop(entry, next)) return false
    this.#mustDrop = false
    this.#dropped.add(entry.position)
    return true
  }

  /**
   * Replaces this connection, if it is still the present one. Packets under way on the replaced
   * connection may still arrive.
   */
  #reconnect(connection: StoreConnection): void {
    if (connection !== this.#connection || this.#isClosed) return
    this.#connection = this.#newConnection()
    for (const stream of this.#streams) stream.start()
  }

  #newConnection(): StoreConnection {
    const { world, random, path } = this.#deps
    return { up: new Pipe(world, random, path.up), down: new Pipe(world, random, path.down) }
  }
}

interface StreamDeps {
  readonly position: number
  readonly listener: LogListener
  readonly store: SharedStore
  readonly process: SimProcess
  readonly onEntry: SimEngineDeps['onEntry']
  readonly drops: DropRules | undefined
  readonly tryDrop: (entry: StoredEntry) => boolean
  readonly connection: () => StoreConnection
  readonly reconnect: (connection: StoreConnection) => void
  readonly onStop: () => void
}

/**
 * Delivers the entries after a position to a listener. When the engine replaces its connection, the
 * stream starts again on the new connection.
 */
class Stream {
  readonly #deps: StreamDeps
  #position: number
  /** The number of starts. Entries that arrive for an earlier start are ignored. */
  #starts = 0
  #unlisten: (() => void) | undefined
  #watchdog: Timer | undefined
  /** Whether an entry has arrived, or the stream has started, since the watchdog last fired. */
  #hasReceived = false
  #isStopped = false
  /** Whether the engine has dropped the previous entry. */
  #hasDropped = false

  constructor(deps: StreamDeps) {
    this.#deps = deps
    this.#position = deps.position
  }

  start(): void {
    const { store, process, listener } = this.#deps
    const { up, down } = this.#deps.connection()
    const after = this.#position
    const startNumber = ++this.#starts
    const isCurrent = (): boolean => startNumber === this.#starts && !this.#isStopped
    this.#hasReceived = true
    if (this.#watchdog === undefined) this.#watch()
    up.send(packetBytes, () => {
      this.#unlisten?.()
      if (!isCurrent()) return
      this.#unlisten = store.listen(after, (entry) => {
        if (process.isDead) this.#unlisten?.()
        else {
          down.send(packetBytes, () => process.receive(() => isCurrent() && this.#deliver(entry)))
        }
      })
      if (this.#unlisten !== undefined) return
      // The store has removed entries that this stream still needs.
      down.send(packetBytes, () => {
        process.receive(() => {
          if (!isCurrent()) return
          this.stop()
          listener.compacted()
        })
      })
    })
  }

  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#unlisten?.()
    this.#deps.process.clock.clearTimer(this.#watchdog)
    this.#deps.onStop()
  }

  #deliver(entry: StoredEntry): void {
    const { listener, onEntry, drops, tryDrop } = this.#deps
    this.#hasReceived = true
    this.#position = entry.position
    const deliver = (): void => listener.entry(entry.position, entry.text)
    if (this.#hasDropped) {
      this.#hasDropped = false
      drops!.onEntryAfterDrop(entry, deliver)
    } else if (tryDrop(entry)) this.#hasDropped = true
    else onEntry(entry, deliver)
  }

  /** Makes the engine reconnect when no entry has arrived for `streamTimeoutMs`. */
  #watch(): void {
    const { process, connection, reconnect } = this.#deps
    this.#watchdog = process.clock.setTimer(() => {
      const isSilent = !this.#hasReceived
      this.#hasReceived = false
      this.#watch()
      if (isSilent) reconnect(connection())
    }, streamTimeoutMs)
  }
}

/** Creates one engine that serves the log to a broker, and one for each snapshot of the broker. */
export class SimEngineSource implements EngineSource {
  readonly #deps: SimEngineDeps
  /** The engine that serves the log. Every later engine serves a snapshot. */
  logEngine: SimEngine | undefined

  constructor(deps: SimEngineDeps) {
    this.#deps = deps
  }

  create(): Engine {
    const isForLog = this.logEngine === undefined
    // The entries of a snapshot engine change no table of a broker, so no oracle observes them.
    const onEntry = isForLog
      ? this.#deps.onEntry
      : (_: StoredEntry, deliver: () => void) => deliver()
    const drops = isForLog ? this.#deps.drops : undefined
    const onStoppedReading = isForLog ? this.#deps.onStoppedReading : undefined
    const engine = new SimEngine({ ...this.#deps, onEntry, drops, onStoppedReading })
    this.logEngine ??= engine
    return engine
  }
}

/** The value that the function returns, or the error that it throws. */
function outcomeOf<T>(serve: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: serve() }
  } catch (error) {
    return { error }
  }
}

async function* asyncIterable(parts: readonly string[]): AsyncGenerator<string> {
  yield* parts
}
