/**
 * Where a broker goes on that finds the entries it needs gone: at a newer snapshot than the one it
 * had. Usually one is there, since brokers forget only what a snapshot has. If there is none, it
 * was somebody else who forgot, and those that live are asked for one: they have the whole table.
 */
import { HoldfastError, type Timer } from '@holdfast/shared'
import type { LogEnvironment } from '../../platform/environment.js'
import type { ClusterConfig, Engine } from './engine.js'
import { encodeCommands } from './entry.js'
import { Fault, noSnapshotAnywhere } from './logErrors.js'
import { type Loaded, loadSnapshot } from './snapshot.js'

/** Between two looks, in ms. */
const againMs = 1_000
/** What writing a snapshot may take, in ms. */
const writingMs = 10_000

export interface SnapshotCatchUpDeps {
  readonly engine: Pick<Engine, 'append' | 'snapshot'>
  readonly environment: Pick<LogEnvironment, 'clock' | 'newId'>
  readonly charter: Pick<ClusterConfig, 'deadMs'>
  /** What it waits for. */
  readonly onProblem: (why: string) => void
}

export class SnapshotCatchUp {
  readonly #deps: SnapshotCatchUpDeps
  #timer: Timer | undefined
  #isOver = false

  constructor(deps: SnapshotCatchUpDeps) {
    this.#deps = deps
  }

  /** Nothing comes of it any more. */
  stop(): void {
    this.#isOver = true
    this.#deps.environment.clock.clearTimer(this.#timer)
  }

  /**
   * Resolves with a snapshot that is newer than this position, however long the log is out of
   * reach; unless it is stopped.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if nobody who lives makes one, or it is damaged;
   *   `INVALID_OPTION` if the log cannot be used as it is set.
   */
  async after(position: number): Promise<Loaded> {
    const { engine, environment, charter, onProblem } = this.#deps
    const { clock, newId } = environment
    // Whoever ought to make it may have died just now.
    const patienceMs = 2 * charter.deadMs + writingMs
    const broker = newId()
    let askedAt: number | undefined
    for (;;) {
      try {
        const loaded = await loadSnapshot(engine)
        if (loaded !== undefined && loaded.position > position) return loaded
        if (askedAt !== undefined && clock.monotonic() - askedAt > patienceMs) {
          throw noSnapshotAnywhere(position)
        }
        // Of somebody who never joins; so it counts for nothing, and is heard by all.
        const entry = encodeCommands({ broker, n: 1, at: clock.wall() }, [], { wanted: position })
        await engine.append(broker, entry)
        askedAt ??= clock.monotonic()
        onProblem('entries of the log were forgotten; a broker that lives is asked for a snapshot')
      } catch (error) {
        if (isFinal(error)) throw error
        onProblem(error instanceof Error ? error.message : String(error))
      }
      await this.#pause()
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#isOver) this.#timer = this.#deps.environment.clock.setTimer(resolve, againMs)
    })
  }
}

/** Another try would not mend it. */
function isFinal(error: unknown): boolean {
  return (
    error instanceof Fault || (error instanceof HoldfastError && error.code === 'INVALID_OPTION')
  )
}
