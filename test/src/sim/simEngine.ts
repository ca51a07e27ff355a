/**
 * An engine for replicated logs on the simulated network: one broker's line to the shared store,
 * with everything that can be wrong with such a line. Answers get lost, what was asked arrives
 * although it was given up, or twice, or after what was asked later; and the stream of entries
 * breaks, is found silent, and is begun again where it was.
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
import type { SimProcess } from './process.js'
import type { Random } from './random.js'
import type { Kept, SharedStore } from './sharedStore.js'
import type { World } from './world.js'

/** How long an engine waits for an answer, and for anything on a stream, in ms. */
const answerMs = 600
const streamMs = 1_500
/** Most that an entry may be late that comes in once more, in ms. */
const encoreMs = 3_000

/** How likely it is that an append has no answer, is said to have failed, comes in twice. */
export interface Trouble {
  readonly silent: number
  readonly failing: number
  readonly doubled: number
}

export const noTrouble: Trouble = { silent: 0, failing: 0, doubled: 0 }

export interface SimEngineDeps {
  readonly world: World
  readonly process: SimProcess
  readonly random: Random
  readonly store: SharedStore
  readonly path: Path
  readonly luck: Trouble
  /** An entry is about to be handed over: wraps that. */
  readonly onEntry: (kept: Kept, take: () => void) => void
}

/** One connection to the store; another one takes its place when something is wrong with it. */
interface Line {
  readonly up: Pipe
  readonly down: Pipe
}

export class SimEngine implements Engine {
  readonly #deps: SimEngineDeps
  readonly #calls = new Set<(error: Error) => void>()
  readonly #streams = new Set<Stream>()
  #line: Line
  #isClosed = false

  constructor(deps: SimEngineDeps) {
    this.#deps = deps
    this.#line = this.#newLine()
  }

  /** The line that is used now loses these of what is under way, and all that follows. */
  break(keptUp: number, keptDown: number): void {
    this.#line.up.cut(Math.min(keptUp, this.#line.up.packetsUnderWay))
    this.#line.down.cut(Math.min(keptDown, this.#line.down.packetsUnderWay))
  }

  open(config: ClusterConfig): Promise<void> {
    return this.#call('open', ({ store }) => store.open(config))
  }

  append(_slot: string, entry: string): Promise<void> {
    const { random, store } = this.#deps
    const { silent, failing, doubled } = store.isWell ? noTrouble : this.#deps.luck
    const isSilent = random.chance(silent)
    const fails = random.chance(failing)
    const isIn = !fails || random.chance(0.5)
    const encore = random.chance(doubled) ? random.between(0, encoreMs) : undefined
    return this.#call(
      'append',
      ({ store, world }) => {
        if (isIn) store.append(entry)
        if (encore !== undefined) world.in(encore, () => store.append(entry))
        if (fails) throw new Error('the outcome is unknown')
      },
      isSilent,
    )
  }

  follow(position: number, follower: LogListener): { stop(): void } {
    const { process, store, onEntry } = this.#deps
    const stream = new Stream({
      position,
      follower,
      store,
      process,
      onEntry,
      line: () => this.#line,
      moveOn: (line) => this.#moveOn(line),
      onStop: () => this.#streams.delete(stream),
    })
    this.#streams.add(stream)
    stream.begin()
    return stream
  }

  async snapshot(): Promise<StoredSnapshot | undefined> {
    const newest = await this.#call('snapshot', ({ store }) => store.newestSnapshot)
    return newest && { position: newest.position, parts: each(newest.parts) }
  }

  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    const all = [...parts]
    return this.#call('saveSnapshot', ({ store }) => store.saveSnapshot(position, all))
  }

  compact(position: number): Promise<void> {
    return this.#call('forget', ({ store }) => store.forget(position))
  }

  canReplayFrom(position: number): Promise<boolean> {
    return this.#call('reaches', ({ store }) => position >= store.compactedTo)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const stream of [...this.#streams]) stream.stop()
    for (const fail of [...this.#calls]) fail(new Error('the engine was closed'))
  }

  /** A question to the store, and its answer, each of which may get lost. */
  #call<T>(
    what: string,
    serve: (parts: SimEngineDeps) => T,
    isSilent: boolean = false,
  ): Promise<T> {
    const { process } = this.#deps
    if (this.#isClosed) return Promise.reject(new Error('the engine is closed'))
    const line = this.#line
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        if (!this.#calls.delete(fail)) return
        process.clock.clearTimer(timer)
        finish()
      }
      const fail = (error: Error): void => settle(() => reject(error))
      this.#calls.add(fail)
      const timer = process.clock.setTimer(() => {
        this.#moveOn(line)
        fail(new Error(`${what}: no answer`))
      }, answerMs)
      line.up.send(0, () => {
        const answer = outcomeOf(() => serve(this.#deps))
        if (isSilent) return
        line.down.send(0, () => {
          process.receive(() => {
            settle(() => ('value' in answer ? resolve(answer.value) : reject(answer.error)))
          })
        })
      })
    })
  }

  /** What is under way on the former line may still arrive. */
  #moveOn(line: Line): void {
    if (line !== this.#line || this.#isClosed) return
    this.#line = this.#newLine()
    for (const stream of this.#streams) stream.begin()
  }

  #newLine(): Line {
    const { world, random, path } = this.#deps
    return { up: new Pipe(world, random, path.up), down: new Pipe(world, random, path.down) }
  }
}

interface StreamDeps {
  readonly position: number
  readonly follower: LogListener
  readonly store: SharedStore
  readonly process: SimProcess
  readonly onEntry: SimEngineDeps['onEntry']
  readonly line: () => Line
  readonly moveOn: (line: Line) => void
  readonly onStop: () => void
}

/** The entries after a position, over one line after another. */
class Stream {
  readonly #deps: StreamDeps
  #position: number
  /** Counts the beginnings: what comes of an earlier one is too late. */
  #begun = 0
  #unlisten: (() => void) | undefined
  #watchdog: Timer | undefined
  #wasHeard = false
  #isStopped = false

  constructor(deps: StreamDeps) {
    this.#deps = deps
    this.#position = deps.position
  }

  begin(): void {
    const { store, process, follower } = this.#deps
    const { up, down } = this.#deps.line()
    const [after, begun] = [this.#position, ++this.#begun]
    const isCurrent = (): boolean => begun === this.#begun && !this.#isStopped
    this.#wasHeard = true
    if (this.#watchdog === undefined) this.#watch()
    up.send(0, () => {
      this.#unlisten?.()
      if (!isCurrent()) return
      this.#unlisten = store.listen(after, (kept) => {
        if (process.isDead) this.#unlisten?.()
        else down.send(0, () => process.receive(() => isCurrent() && this.#take(kept)))
      })
      if (this.#unlisten !== undefined) return
      down.send(0, () => {
        process.receive(() => {
          if (!isCurrent()) return
          this.stop()
          follower.compacted()
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

  #take(kept: Kept): void {
    const { follower, onEntry } = this.#deps
    this.#wasHeard = true
    this.#position = kept.position
    onEntry(kept, () => follower.entry(kept.position, kept.text))
  }

  /** Silence for long is found suspicious. */
  #watch(): void {
    const { process, line, moveOn } = this.#deps
    this.#watchdog = process.clock.setTimer(() => {
      const isSilent = !this.#wasHeard
      this.#wasHeard = false
      this.#watch()
      if (isSilent) moveOn(line())
    }, streamMs)
  }
}

/** One engine of a broker for its log, and one for each snapshot that it makes. */
export class SimEngineSource implements EngineSource {
  readonly #deps: SimEngineDeps
  /** Of the log itself. */
  main: SimEngine | undefined

  constructor(deps: SimEngineDeps) {
    this.#deps = deps
  }

  create(): Engine {
    // What a snapshot is made of is nobody's table yet.
    const onEntry =
      this.main === undefined ? this.#deps.onEntry : (_: Kept, take: () => void) => take()
    const engine = new SimEngine({ ...this.#deps, onEntry })
    this.main ??= engine
    return engine
  }
}

function outcomeOf<T>(serve: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: serve() }
  } catch (error) {
    return { error }
  }
}

async function* each(parts: readonly string[]): AsyncGenerator<string> {
  yield* parts
}
