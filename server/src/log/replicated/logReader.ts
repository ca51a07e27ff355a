/**
 * Reads the log for one broker. The reader restores the table of the broker from a snapshot, and
 * then passes on the entries (batches of commands) that follow the snapshot, in order and in short
 * turns. The broker begins again from another snapshot if it has missed an entry, or if the log has
 * compacted (dropped) entries that the broker needs.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { LogEnvironment } from '../../platform/environment.js'
import { runInTurns } from '../../platform/turns.js'
import type { StateMachine } from '../log.js'
import type { ClusterConfig, Engine } from './engine.js'
import { EntryQueue, type EntrySteps } from './entryQueue.js'
import { logClosed } from './logErrors.js'
import type { LoadedSnapshot } from './snapshot.js'
import { SnapshotCatchUp } from './snapshotCatchUp.js'

export interface LogReaderDeps {
  readonly stateMachine: Pick<StateMachine, 'restore'>
  readonly engine: Pick<Engine, 'append' | 'follow' | 'snapshot'>
  readonly environment: LogEnvironment
  readonly config: Pick<ClusterConfig, 'deadMs'>
  /** Called when the table has the state of a snapshot, before any entry after the snapshot. */
  readonly onRestored: (snapshot: LoadedSnapshot) => void
  /** Begins to handle the next entry, and returns the steps that handle it. */
  readonly handleEntry: (position: number, text: string) => EntrySteps
  /**
   * Called when all received entries are handled and the log has compacted the next entry. The
   * reader has stopped then.
   */
  readonly onCompacted: () => void
  /** Called when the log has failed for good. */
  readonly onFailed: (error: HoldfastError) => void
  /** Called after each failed attempt to load a snapshot, with the reason. */
  readonly onProblem: (problem: string) => void
}

export class LogReader {
  readonly #deps: LogReaderDeps
  /** The received entries that this broker has not handled yet. */
  readonly #entryQueue: EntryQueue
  /** The stream of entries; undefined until {@link readFrom} begins the stream. */
  #subscription: { stop(): void } | undefined
  #snapshotCatchUp: SnapshotCatchUp | undefined
  /** The most parts that a single attempt to load a snapshot has loaded. */
  #partsLoaded = 0
  /** The number of steps in which this broker has restored its table. */
  #restoreSteps = 0
  #hasEnded = false

  constructor(deps: LogReaderDeps) {
    this.#deps = deps
    this.#entryQueue = new EntryQueue(deps.environment)
  }

  /** Whether this broker has handled some steps of an entry, but not all. */
  get isMidEntry(): boolean {
    return this.#entryQueue.isMidEntry
  }

  /**
   * A number that rises with each loaded part of a snapshot, and with each step in which the table
   * is restored. If an attempt to load a snapshot fails, the number rises again only when a later
   * attempt has loaded more parts.
   */
  get snapshotProgress(): number {
    return this.#partsLoaded + this.#restoreSteps
  }

  /** See {@link SnapshotCatchUp.newestSnapshot}. */
  newestSnapshot(): Promise<LoadedSnapshot | undefined> {
    return this.#newCatchUp().newestSnapshot()
  }

  /** See {@link SnapshotCatchUp.snapshotAfter}. */
  snapshotAfter(position: number): Promise<LoadedSnapshot> {
    return this.#newCatchUp().snapshotAfter(position)
  }

  /**
   * Restores the snapshot, and reads the log from the position of the snapshot. Without a snapshot,
   * reads the log from its beginning.
   *
   * @throws {HoldfastError} `UNAVAILABLE` if {@link end} is called before the snapshot is restored.
   */
  async readFrom(snapshot: LoadedSnapshot | undefined): Promise<void> {
    if (this.#hasEnded) throw logClosed()
    const { stateMachine, engine, environment, onRestored, handleEntry, onFailed } = this.#deps
    if (snapshot !== undefined) {
      await runInTurns(this.#countSteps(stateMachine.restore(snapshot.items)), environment)
      if (this.#hasEnded) throw logClosed()
      onRestored(snapshot)
    }
    this.#subscription = engine.follow(snapshot?.position ?? 0, {
      entry: (position, text) =>
        this.#entryQueue.add(text.length, () => handleEntry(position, text)),
      // The queue calls `#onCompacted` after the entries that were received before.
      compacted: () => this.#entryQueue.add(0, this.#onCompacted),
      failed: onFailed,
    })
  }

  /** Stops the stream of entries, and drops the received entries that are not handled yet. */
  stop(): void {
    this.#subscription?.stop()
    this.#entryQueue.clear()
  }

  /** Stops for good: loads no more snapshots and reads no more entries. */
  end(): void {
    this.#hasEnded = true
    this.#snapshotCatchUp?.stop()
    this.stop()
  }

  readonly #onCompacted = (): undefined => {
    this.stop()
    this.#deps.onCompacted()
  };

  *#countSteps(steps: Iterator<undefined, void, undefined>): Generator<undefined, void, undefined> {
    while (steps.next().done !== true) {
      this.#restoreSteps++
      yield
    }
  }

  #newCatchUp(): SnapshotCatchUp {
    const { engine, environment, config, onProblem } = this.#deps
    this.#snapshotCatchUp = new SnapshotCatchUp({
      engine,
      environment,
      config,
      onProblem,
      onPart: (count) => {
        this.#partsLoaded = Math.max(this.#partsLoaded, count)
      },
    })
    return this.#snapshotCatchUp
  }
}
