/**
 * Finds the snapshot from which a broker continues. A broker needs a snapshot when it starts, when
 * it has missed an entry, and when the log has compacted (dropped) entries that the broker needs.
 *
 * After a compaction a newer snapshot usually exists, because brokers compact only entries that a
 * snapshot contains. If no newer snapshot exists, another program has compacted the log. Then this
 * broker asks the live brokers for a snapshot of their table.
 */
import { HoldfastError, type Timer } from '@holdfast/shared'
import type { LogEnvironment } from '../../platform/environment.js'
import type { ClusterConfig, Engine } from './engine.js'
import { encodeCommands } from './entry.js'
import { noSnapshotAvailable, PermanentLogError } from './logErrors.js'
import { type LoadedSnapshot, loadSnapshot } from './snapshot.js'

/** The pause between two attempts, in ms. */
const retryMs = 1_000
/** The longest time for writing a snapshot, in ms. */
const snapshotWriteMs = 10_000

export interface SnapshotCatchUpDeps {
  readonly engine: Pick<Engine, 'append' | 'snapshot'>
  readonly environment: Pick<LogEnvironment, 'clock' | 'newId'>
  readonly config: Pick<ClusterConfig, 'deadMs'>
  /** Called with the reason each time an attempt fails, or must wait for another broker. */
  readonly onProblem: (problem: string) => void
  /** Called with the number of loaded parts of a snapshot, each time a part was loaded. */
  readonly onPart: (count: number) => void
}

export class SnapshotCatchUp {
  readonly #deps: SnapshotCatchUpDeps
  #timer: Timer | undefined
  #isOver = false

  constructor(deps: SnapshotCatchUpDeps) {
    this.#deps = deps
  }

  /** Stops the attempts. A promise of this object that waits for another attempt never settles. */
  stop(): void {
    this.#isOver = true
    this.#deps.environment.clock.clearTimer(this.#timer)
  }

  /**
   * Resolves with a snapshot that is newer than a position. If no such snapshot exists, asks the
   * live brokers for one. Tries again after every error that is not permanent, until {@link stop}
   * is called.
   *
   * @throws {PermanentLogError} if the beginning of the snapshot is damaged or has a newer format,
   *   or if no live broker makes a snapshot in time.
   * @throws {HoldfastError} `INVALID_OPTION` if the log cannot be used with these options.
   */
  async snapshotAfter(position: number): Promise<LoadedSnapshot> {
    const { engine, environment, config, onProblem, onPart } = this.#deps
    const { clock, newId } = environment
    // The oldest member makes the snapshot. If this member is dead, the other members must declare
    // it dead first, and then the next oldest member makes the snapshot.
    const timeoutMs = 2 * config.deadMs + snapshotWriteMs
    const requesterId = newId()
    let requestedAt: number | undefined
    for (;;) {
      try {
        const loaded = await loadSnapshot(engine, onPart)
        if (loaded !== undefined && loaded.position > position) return loaded
        if (requestedAt !== undefined && clock.monotonic() - requestedAt > timeoutMs) {
          // A permanent error, which the `catch` below throws again.
          throw noSnapshotAvailable(position)
        }
        // No broker ever joins with this id, so every broker ignores the commands of the entry. But
        // every broker reads `snapshotWantedAfter`, even in an ignored entry.
        const entry = encodeCommands({ broker: requesterId, n: 1, at: clock.wall() }, [], {
          snapshotWantedAfter: position,
        })
        await engine.append(requesterId, entry)
        requestedAt ??= clock.monotonic()
        onProblem(
          'entries of the shared log are compacted; waiting for a snapshot from a live broker',
        )
      } catch (error) {
        if (isPermanent(error)) throw error
        onProblem(error instanceof Error ? error.message : String(error))
      }
      await this.#pause()
    }
  }

  /**
   * Resolves with the newest snapshot, or with undefined if there is none. Tries again after every
   * error that is not permanent, until {@link stop} is called.
   *
   * @throws {PermanentLogError} if the beginning of the snapshot is damaged or has a newer format.
   * @throws {HoldfastError} `INVALID_OPTION` if the log cannot be used with these options.
   */
  async newestSnapshot(): Promise<LoadedSnapshot | undefined> {
    const { engine, onProblem, onPart } = this.#deps
    for (;;) {
      try {
        return await loadSnapshot(engine, onPart)
      } catch (error) {
        if (isPermanent(error)) throw error
        onProblem(error instanceof Error ? error.message : String(error))
      }
      await this.#pause()
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#isOver) this.#timer = this.#deps.environment.clock.setTimer(resolve, retryMs)
    })
  }
}

/** Whether another attempt would fail in the same way. */
function isPermanent(error: unknown): boolean {
  return (
    error instanceof PermanentLogError ||
    (error instanceof HoldfastError && error.code === 'INVALID_OPTION')
  )
}
