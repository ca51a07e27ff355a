/**
 * Whose turn it is to make a snapshot, and when: the broker that has been here longest, once enough
 * has come since the last one. Should two do it at once, the engine keeps one of them.
 */
import { Worker } from 'node:worker_threads'
import type { Charter, EngineSource } from './engine.js'
import { makeSnapshot } from './snapshot.js'
import type { SnapshotOrder } from './snapshotThread.js'

export interface SnapshotsParts {
  readonly source: EngineSource
  readonly charter: Charter
  /** How much comes between two snapshots, in entries and in characters. */
  readonly every: { readonly entries: number; readonly characters: number }
  readonly wall: () => number
  /** One was made here, of this position. */
  readonly onMade: (position: number) => void
}

export class Snapshots {
  readonly #parts: SnapshotsParts
  #entries = 0
  #characters = 0
  #newest: { readonly position: number; readonly at: number } | undefined
  #trouble: string | undefined
  /** Ends what is being made, if anything is. */
  #abandon: (() => void) | undefined

  constructor(parts: SnapshotsParts) {
    this.#parts = parts
  }

  /** The newest one that is known of. */
  get newest(): { readonly position: number; readonly ageMs: number } | undefined {
    if (this.#newest === undefined) return undefined
    const { position, at } = this.#newest
    return { position, ageMs: Math.max(0, this.#parts.wall() - at) }
  }

  /** Why the last one could not be made. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** There is one of this position, made at this wall time. */
  known(position: number, at: number): void {
    if (position <= (this.#newest?.position ?? 0)) return
    this.#newest = { position, at }
    this.#entries = 0
    this.#characters = 0
  }

  /** An entry was taken. @param isOurTurn Whether this broker makes the snapshots. */
  count(position: number, characters: number, isOurTurn: boolean): void {
    const { every } = this.#parts
    this.#entries++
    this.#characters += characters
    if (this.#entries < every.entries && this.#characters < every.characters) return
    if (isOurTurn && this.#abandon === undefined) this.#make(position)
  }

  /** Abandons what is under way. */
  stop(): void {
    this.#abandon?.()
  }

  #make(upTo: number): void {
    const { onMade, source } = this.#parts
    // If it fails, it is tried again when as much has come once more.
    this.#entries = 0
    this.#characters = 0
    const [made, abandon] = source.elsewhere === undefined ? this.#here(upTo) : this.#there(upTo)
    this.#abandon = abandon
    made.then(
      (position) => {
        this.#abandon = undefined
        this.#trouble = undefined
        if (position !== undefined) onMade(position)
      },
      (reason: unknown) => {
        this.#abandon = undefined
        const why = reason instanceof Error ? reason.message : String(reason)
        this.#trouble = `no snapshot could be made: ${why}`
      },
    )
  }

  #here(upTo: number): [Promise<number | undefined>, () => void] {
    const { source, charter, wall } = this.#parts
    const engine = source.create()
    const made = makeSnapshot(engine, charter, upTo, wall()).finally(() => engine.close())
    return [made, () => void engine.close()]
  }

  #there(upTo: number): [Promise<number | undefined>, () => void] {
    const { source, charter, wall } = this.#parts
    const { thread, options } = source.elsewhere!
    const workerData: SnapshotOrder<unknown> = { options, charter, upTo, at: wall() }
    const worker = new Worker(thread, { workerData })
    const made = new Promise<number | undefined>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('it was abandoned')))
    })
    return [made, () => void worker.terminate()]
  }
}
