/**
 * The thread that makes a snapshot while the broker goes on: with an engine of its own, and a table
 * of its own.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { ClusterConfig, Engine } from './engine.js'
import { makeSnapshot } from './snapshot.js'

/** What such a thread is given. */
export interface SnapshotOrder<Options> {
  /** Of the engine. */
  readonly options: Options
  readonly charter: ClusterConfig
  readonly upTo: number
  /** Wall time of the order. */
  readonly at: number
}

/** All that such a thread does. */
export async function runSnapshotThread<Options>(
  createEngine: (options: Options) => Engine,
): Promise<void> {
  const { options, charter, upTo, at } = workerData as SnapshotOrder<Options>
  const engine = createEngine(options)
  try {
    parentPort!.postMessage(await makeSnapshot(engine, charter, upTo, at))
  } finally {
    await engine.close()
  }
}
