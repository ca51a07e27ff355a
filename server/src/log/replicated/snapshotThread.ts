/**
 * The thread that makes a snapshot while the broker goes on: with an engine of its own, and a table
 * of its own.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { Charter, Engine } from './engine.js'
import { makeSnapshot } from './snapshot.js'

export interface SnapshotOrder {
  /** The address of a module whose `createEngine(options)` makes an engine. */
  readonly module: string
  readonly options: unknown
  readonly charter: Charter
  readonly upTo: number
  /** Wall time of the order. */
  readonly at: number
}

const { module, options, charter, upTo, at } = workerData as SnapshotOrder

const { createEngine } = (await import(module)) as { createEngine(options: unknown): Engine }
const engine = createEngine(options)
parentPort!.postMessage(await makeSnapshot(engine, charter, upTo, at))
await engine.close()
