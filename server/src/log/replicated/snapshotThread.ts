/**
 * A worker thread that makes a snapshot of a replicated log while the broker goes on. The thread
 * has its own engine (connection to the storage) and its own lock table.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { ClusterConfig, Engine } from './engine.js'
import { makeSnapshot, type SnapshotOutcome } from './snapshot.js'

export interface SnapshotThreadInput<Options> {
  readonly options: Options
  readonly config: ClusterConfig
  /** The last position that the snapshot includes. */
  readonly upTo: number
  /** The wall time at which the broker started the thread, in ms since 1970. */
  readonly at: number
}

/** The message that the thread sends. */
export interface SnapshotThreadResult {
  readonly outcome: SnapshotOutcome
  /** Why the compaction (the removal of old entries) failed; undefined if it did not fail. */
  readonly compactionProblem: string | undefined
}

/** The main function of the thread: makes one snapshot and reports its outcome. */
export async function runSnapshotThread<Options>(
  createEngine: (options: Options) => Engine,
): Promise<void> {
  const { options, config, upTo, at } = workerData as SnapshotThreadInput<Options>
  const engine = createEngine(options)
  try {
    let compactionProblem: string | undefined
    const outcome = await makeSnapshot(engine, config, upTo, at, (why) => {
      compactionProblem = why
    })
    const result: SnapshotThreadResult = { outcome, compactionProblem }
    parentPort!.postMessage(result)
  } finally {
    await engine.close()
  }
}
