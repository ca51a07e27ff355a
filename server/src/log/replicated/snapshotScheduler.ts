/**
 * Decides when this broker makes a snapshot of a shared log. The oldest member (the broker that
 * joined the log first) makes a snapshot when enough entries or enough time have passed since the
 * last snapshot. If two brokers make a snapshot at the same time, the log keeps only one of the two
 * snapshots.
 *
 * An operator can let etcd itself compact the log, which drops old entries. Then etcd must retain
 * entries for at least twice the time between two snapshots, so that a snapshot has every dropped
 * entry.
 *
 * Snapshots are normally made from the entries of the log, and not from the broker's table. The
 * broker saves its own table only if another program has compacted entries that no snapshot has,
 * if the last snapshot is damaged, or if another broker requests a newer snapshot.
 */
import { Worker } from 'node:worker_threads'
import type { ClusterConfig, EngineSource } from './engine.js'
import { makeSnapshot, type SnapshotOutcome } from './snapshot.js'
import type { SnapshotThreadInput, SnapshotThreadResult } from './snapshotThread.js'

export interface SnapshotSchedulerDeps {
  readonly source: EngineSource
  /** Returns the settings with which the log was opened. */
  readonly config: () => ClusterConfig
  /**
   * When a snapshot is due: after this number of entries, after this number of characters in all
   * entries together, or this time after the newest snapshot, in ms.
   */
  readonly interval: { readonly entries: number; readonly characters: number; readonly ms: number }
  readonly wall: () => number
  readonly monotonic: () => number
  /** Whether all entries after this position are available. */
  readonly canReplayFrom: (position: number) => Promise<boolean>
  /** Called when this broker has saved a snapshot of this position. */
  readonly onMade: (position: number) => void
}

/** Saves the broker's current table as a snapshot. */
export type SaveOwnState = (onCompactionProblem: (why: string) => void) => Promise<SnapshotOutcome>

/** The time between two checks that the entries after the newest snapshot are available, in ms. */
const checkIntervalMs = 60_000
/** A failed snapshot is tried again after at most this share of `interval.ms`. */
const retryShare = 0.1
const compactedByOthers =
  'another program has compacted entries of the shared log that no snapshot contains: ' +
  'retain entries for at least twice the time between two snapshots (--snapshot-every)'

export class SnapshotScheduler {
  readonly #deps: SnapshotSchedulerDeps
  /** How many entries, and characters in them, came since the last snapshot or try to make one. */
  #entries = 0
  #characters = 0
  /** The monotonic time at which the next snapshot is due; undefined before the first entry. */
  #dueAt: number | undefined
  #newest: { readonly position: number; readonly wallTime: number } | undefined
  #failureCount = 0
  #problem: string | undefined
  #compactionProblem: string | undefined
  /** The monotonic time of the last check. */
  #checkedAt: number | undefined
  /** Whether the last check found that entries after the newest snapshot are missing. */
  #isCompacted = false
  /**
   * Cancels the snapshot under way; does nothing for a snapshot of this broker's table. Undefined
   * if no snapshot is under way.
   */
  #abort: (() => void) | undefined

  constructor(deps: SnapshotSchedulerDeps) {
    this.#deps = deps
  }

  /** The newest known snapshot. */
  get newest(): { readonly position: number; readonly ageMs: number } | undefined {
    if (this.#newest === undefined) return undefined
    const { position, wallTime } = this.#newest
    return { position, ageMs: Math.max(0, this.#deps.wall() - wallTime) }
  }

  /** How many snapshots have failed at this broker. */
  get failureCount(): number {
    return this.#failureCount
  }

  /** Why the last snapshot or compaction failed, or why a snapshot had to be made early. */
  get problem(): string | undefined {
    return (
      this.#problem ??
      this.#compactionProblem ??
      (this.#isCompacted ? compactedByOthers : undefined)
    )
  }

  /** Records a snapshot of this position, made at this wall time. */
  recordSnapshot(position: number, at: number): void {
    if (position <= (this.#newest?.position ?? 0)) return
    this.#newest = { position, wallTime: at }
    this.#entries = 0
    this.#characters = 0
    const { interval, wall, monotonic } = this.#deps
    const ageMs = Math.max(0, wall() - at)
    this.#dueAt = monotonic() + Math.max(0, interval.ms - ageMs)
  }

  /**
   * Counts an applied entry, and makes a snapshot if a snapshot is due.
   *
   * @param saveOwnState Saves the table of this broker; undefined if another broker makes the
   *   snapshots.
   */
  countEntry(position: number, characters: number, saveOwnState: SaveOwnState | undefined): void {
    this.#entries++
    this.#characters += characters
    const { interval, monotonic } = this.#deps
    const now = monotonic()
    this.#dueAt ??= now + interval.ms
    if (saveOwnState === undefined || this.#abort !== undefined) return
    const isDue =
      this.#entries >= interval.entries ||
      this.#characters >= interval.characters ||
      now >= this.#dueAt
    if (isDue) this.#makeSnapshot(position, saveOwnState)
    else this.#checkReplayable(saveOwnState)
  }

  /** Saves this broker's table, unless the newest snapshot has a position above `position`. */
  requestSnapshot(position: number, saveOwnState: SaveOwnState | undefined): void {
    if (saveOwnState === undefined || this.#abort !== undefined) return
    // If there is no snapshot, -1 is below every position.
    if ((this.#newest?.position ?? -1) <= position) this.#makeSnapshot(undefined, saveOwnState)
  }

  /** Cancels the snapshot under way. */
  stop(): void {
    this.#abort?.()
  }

  /**
   * Checks, at most once a minute, whether the log has dropped entries after the newest snapshot.
   * If so, makes a snapshot early.
   */
  #checkReplayable(saveOwnState: SaveOwnState): void {
    const now = this.#deps.monotonic()
    this.#checkedAt ??= now
    if (now - this.#checkedAt < checkIntervalMs) return
    this.#checkedAt = now
    const position = this.#newest?.position ?? 0
    this.#deps.canReplayFrom(position).then(
      (isComplete) => {
        this.#isCompacted = !isComplete
        if (!isComplete) this.requestSnapshot(position, saveOwnState)
      },
      () => {
        // `ClusterMember` reports an unreachable log.
      },
    )
  }

  /**
   * Starts a snapshot.
   *
   * @param upTo The last position that the snapshot includes, for a snapshot from the log;
   *   undefined for a snapshot from this broker's table.
   */
  #makeSnapshot(upTo: number | undefined, saveOwnState: SaveOwnState): void {
    const { onMade, wall, interval, monotonic } = this.#deps
    this.#compactionProblem = undefined
    // If this snapshot fails, the next try is due after `interval.entries` further entries, after
    // `interval.characters` further characters, or after `retryShare` of `interval.ms`.
    this.#entries = 0
    this.#characters = 0
    this.#dueAt = monotonic() + retryShare * interval.ms
    const [making, abort] =
      upTo === undefined
        ? [saveOwnState(this.#onCompactionProblem), () => {}]
        : this.#makeFromLog(upTo)
    this.#abort = abort
    making
      .then((outcome) => {
        // Operators must learn of the damage, although the next snapshot replaces the damaged one.
        if (outcome === 'damaged') this.#failureCount++
        // If the log is compacted or a chunk is damaged, the broker saves its own table instead.
        return typeof outcome === 'string' ? saveOwnState(this.#onCompactionProblem) : outcome
      })
      .then(
        (outcome) => {
          this.#abort = undefined
          this.#problem = undefined
          // An outcome without a position means that another broker has made a snapshot first.
          if (typeof outcome !== 'number') return
          this.recordSnapshot(outcome, wall())
          onMade(outcome)
        },
        (reason: unknown) => {
          this.#abort = undefined
          this.#failureCount++
          const problem = reason instanceof Error ? reason.message : String(reason)
          this.#problem = `no snapshot could be made (${problem})`
        },
      )
  }

  /** Returns the promise of the outcome, and a function that cancels the snapshot. */
  #makeFromLog(upTo: number): [Promise<SnapshotOutcome>, () => void] {
    return this.#deps.source.snapshotWorker === undefined
      ? this.#makeInThisThread(upTo)
      : this.#makeInWorker(upTo)
  }

  readonly #onCompactionProblem = (why: string): void => {
    this.#compactionProblem = `the log was not compacted (${why})`
  }

  #makeInThisThread(upTo: number): [Promise<SnapshotOutcome>, () => void] {
    const { source, config, wall } = this.#deps
    const engine = source.create()
    const making = makeSnapshot(engine, config(), upTo, wall(), this.#onCompactionProblem)
    return [making.finally(() => engine.close()), () => void engine.close()]
  }

  #makeInWorker(upTo: number): [Promise<SnapshotOutcome>, () => void] {
    const { source, config, wall } = this.#deps
    const { thread, options } = source.snapshotWorker!
    const workerData: SnapshotThreadInput<unknown> = { options, config: config(), upTo, at: wall() }
    const worker = new Worker(thread, { workerData })
    const making = new Promise<SnapshotOutcome>((resolve, reject) => {
      worker.once('message', ({ outcome, compactionProblem }: SnapshotThreadResult) => {
        if (compactionProblem !== undefined) this.#onCompactionProblem(compactionProblem)
        resolve(outcome)
      })
      worker.once('error', reject)
      // An exit after the message has no effect, because the promise is settled then.
      worker.once('exit', () => reject(new Error('the snapshot thread has exited early')))
    })
    return [making, () => void worker.terminate()]
  }
}
