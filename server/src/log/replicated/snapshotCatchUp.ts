/**
 * Finds the snapshot from which a broker continues. A broker needs a snapshot when it starts, when
 * it has missed an entry, and when the log has compacted (dropped) entries that the broker needs.
 *
 * After a compaction a newer snapshot usually exists, because brokers compact only entries that a
 * snapshot contains. If no newer snapshot exists, another program has compacted the log. Then this
 * broker asks the live brokers to save a new snapshot. This broker also asks if a chunk of the
 * newest snapshot is damaged, because only a newer snapshot can replace that snapshot.
 */
import { HoldfastError, type Timer } from '@holdfast/shared'
import type { LogEnvironment } from '../../platform/environment.js'
import type { ClusterConfig, Engine } from './engine.js'
import { encodeCommands } from './entry.js'
import {
  DamagedChunkError,
  damageUnrepaired,
  noSnapshotAvailable,
  PermanentLogError,
} from './logErrors.js'
import { type LoadedSnapshot, loadSnapshot } from './snapshot.js'

/** The pause between two attempts to load a snapshot, in ms. */
const retryMs = 1_000
/** The longest time for writing a snapshot, in ms. */
const snapshotWriteMs = 10_000

export interface SnapshotCatchUpDeps {
  readonly engine: Pick<Engine, 'append' | 'snapshot'>
  readonly environment: Pick<LogEnvironment, 'clock' | 'newId'>
  readonly config: Pick<ClusterConfig, 'deadMs'>
  /** Called after each attempt that found no suitable snapshot, with the reason. */
  readonly onProblem: (problem: string) => void
  /** Called after each loaded part of a snapshot, with the number of parts so far. */
  readonly onPart: (count: number) => void
}

export class SnapshotCatchUp {
  readonly #deps: SnapshotCatchUpDeps
  #timer: Timer | undefined
  #isOver = false

  constructor(deps: SnapshotCatchUpDeps) {
    this.#deps = deps
  }

  /** Stops the attempts. The promises that wait for another attempt never settle. */
  stop(): void {
    this.#isOver = true
    this.#deps.environment.clock.clearTimer(this.#timer)
  }

  /**
   * Resolves with a snapshot that is newer than a position. If no such snapshot exists, or if a
   * chunk of the snapshot is damaged, asks the live brokers for a new snapshot. Tries again after
   * every error that is not permanent, until {@link stop} is called.
   *
   * @throws {PermanentLogError} if the newest snapshot stays damaged or has a newer format, or if
   *   no live broker makes a snapshot in time.
   * @throws {HoldfastError} `INVALID_OPTION` if the log cannot be used with these options.
   */
  async snapshotAfter(position: number): Promise<LoadedSnapshot> {
    return (await this.#find(position))!
  }

  /**
   * Resolves with the newest snapshot, or with undefined if there is none. If a chunk of the
   * snapshot is damaged, asks the live brokers for a newer snapshot. Tries again after every error
   * that is not permanent, until {@link stop} is called.
   *
   * @throws {PermanentLogError} if the newest snapshot stays damaged or has a newer format.
   * @throws {HoldfastError} `INVALID_OPTION` if the log cannot be used with these options.
   */
  newestSnapshot(): Promise<LoadedSnapshot | undefined> {
    return this.#find(undefined)
  }

  /** @param after The snapshot must be newer than this position; undefined for any snapshot. */
  async #find(after: number | undefined): Promise<LoadedSnapshot | undefined> {
    const { environment, config, onProblem } = this.#deps
    const { clock, newId } = environment
    // The oldest member makes the snapshot. If this member is dead, the other members must declare
    // it dead first, and then the next oldest member makes the snapshot.
    const timeoutMs = 2 * config.deadMs + snapshotWriteMs
    const requesterId = newId()
    let requestedAt: number | undefined
    let damage: DamagedChunkError | undefined
    for (;;) {
      try {
        const found = await this.#load()
        if (found instanceof DamagedChunkError) {
          // If a new snapshot is damaged too, the next request gets the full timeout again, because
          // a broker has answered the former request.
          if (found.position !== damage?.position) requestedAt = undefined
          damage = found
        } else {
          // If there is no snapshot, -1 is below every position.
          if (after === undefined || (found?.position ?? -1) > after) return found
          damage = undefined
        }
        const wantedAfter = Math.max(after ?? 0, damage?.position ?? 0)
        if (requestedAt !== undefined && clock.monotonic() - requestedAt > timeoutMs) {
          // This error is permanent, so the `catch` below throws the error again.
          throw damage === undefined ? noSnapshotAvailable(wantedAfter) : damageUnrepaired(damage)
        }
        await this.#request(requesterId, wantedAfter)
        requestedAt ??= clock.monotonic()
        const problem = damage?.message ?? 'entries of the shared log are compacted'
        onProblem(`${problem}; waiting for a snapshot from a live broker`)
      } catch (error) {
        if (isPermanent(error)) throw error
        onProblem(error instanceof Error ? error.message : String(error))
      }
      await this.#pause()
    }
  }

  /** Resolves with the newest snapshot, if there is one, or with the error of a damaged chunk. */
  async #load(): Promise<LoadedSnapshot | DamagedChunkError | undefined> {
    try {
      return await loadSnapshot(this.#deps.engine, this.#deps.onPart)
    } catch (error) {
      if (error instanceof DamagedChunkError) return error
      throw error
    }
  }

  /** Asks the live brokers for a snapshot that is newer than this position. */
  async #request(requesterId: string, snapshotWantedAfter: number): Promise<void> {
    const { engine, environment } = this.#deps
    // No broker ever joins with this id, so every broker ignores the entry, except for
    // `snapshotWantedAfter`.
    const head = { broker: requesterId, n: 1, at: environment.clock.wall() }
    await engine.append(requesterId, encodeCommands(head, [], { snapshotWantedAfter }))
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
