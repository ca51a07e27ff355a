/**
 * Whose turn it is to make a snapshot, and when: the broker that has been here longest, once enough
 * has come since the last one. Should two do it at once, the engine keeps one of them.
 *
 * They are made from the log, by nobody's table; but from the broker's own one where the log does
 * not have what that takes any more, since somebody else than the brokers has made it forget.
 */
import { Worker } from 'node:worker_threads'
import type { ClusterConfig, EngineSource } from './engine.js'
import { type Made, makeSnapshot } from './snapshot.js'
import type { SnapshotOrder } from './snapshotThread.js'

export interface SnapshotsDeps {
  readonly source: EngineSource
  readonly charter: ClusterConfig
  /** How much comes between two snapshots, in entries and in characters. */
  readonly every: { readonly entries: number; readonly characters: number }
  readonly wall: () => number
  readonly monotonic: () => number
  /** Whether all entries after this position can still be had. */
  readonly canReplayFrom: (position: number) => Promise<boolean>
  /** One was made here, of this position. */
  readonly onMade: (position: number) => void
}

/** Saves the broker's own state of this moment. */
export type SaveOwn = () => Promise<Made>

/** Between two looks whether the entries after the newest one are still there, in ms. */
const lookMs = 60_000
const forgetful = 'something else than the brokers has compacted the log'

export class Snapshots {
  readonly #deps: SnapshotsDeps
  #entries = 0
  #characters = 0
  #newest: { readonly position: number; readonly at: number } | undefined
  #trouble: string | undefined
  /** When was looked, by the monotonic clock. */
  #lookedAt: number | undefined
  #isCompacted = false
  /** Ends what is being made, if anything is. */
  #abandon: (() => void) | undefined

  constructor(deps: SnapshotsDeps) {
    this.#deps = deps
  }

  /** The newest one that is known of. */
  get newest(): { readonly position: number; readonly ageMs: number } | undefined {
    if (this.#newest === undefined) return undefined
    const { position, at } = this.#newest
    return { position, ageMs: Math.max(0, this.#deps.wall() - at) }
  }

  /** Why the last one could not be made, or had to be before its time. */
  get problem(): string | undefined {
    return this.#trouble ?? (this.#isCompacted ? forgetful : undefined)
  }

  /** There is one of this position, made at this wall time. */
  known(position: number, at: number): void {
    if (position <= (this.#newest?.position ?? 0)) return
    this.#newest = { position, at }
    this.#entries = 0
    this.#characters = 0
  }

  /** An entry was taken. @param saveOwn If it is this broker that makes the snapshots. */
  count(position: number, characters: number, saveOwn: SaveOwn | undefined): void {
    this.#entries++
    this.#characters += characters
    if (saveOwn === undefined || this.#abandon !== undefined) return
    const { every } = this.#deps
    const isDue = this.#entries >= every.entries || this.#characters >= every.characters
    if (isDue) this.#make(position, saveOwn)
    else this.#look(saveOwn)
  }

  /** Somebody needs one that is newer than this, which it cannot make itself. */
  wanted(position: number, saveOwn: SaveOwn | undefined): void {
    if (saveOwn === undefined || this.#abandon !== undefined) return
    if ((this.#newest?.position ?? -1) <= position) this.#make(undefined, saveOwn)
  }

  /** Abandons what is under way. */
  stop(): void {
    this.#abandon?.()
  }

  /** If what a newcomer needs is gone, there is a new snapshot before anybody comes. */
  #look(saveOwn: SaveOwn): void {
    const now = this.#deps.monotonic()
    this.#lookedAt ??= now
    if (now - this.#lookedAt < lookMs) return
    this.#lookedAt = now
    const position = this.#newest?.position ?? 0
    this.#deps.canReplayFrom(position).then(
      (isWhole) => {
        this.#isCompacted = !isWhole
        if (!isWhole) this.wanted(position, saveOwn)
      },
      () => {
        // A log that does not answer is noticed elsewhere.
      },
    )
  }

  /** @param upTo From the log, up to there; undefined: from what this broker has. */
  #make(upTo: number | undefined, saveOwn: SaveOwn): void {
    const { onMade, wall } = this.#deps
    // If it fails, it is tried again when as much has come once more.
    this.#entries = 0
    this.#characters = 0
    const [made, abandon] = upTo === undefined ? [saveOwn(), () => {}] : this.#fromLog(upTo)
    this.#abandon = abandon
    made
      .then((one) => (one === 'gone' ? saveOwn() : one))
      .then(
        (one) => {
          this.#abandon = undefined
          this.#trouble = undefined
          if (typeof one !== 'number') return
          this.known(one, wall())
          onMade(one)
        },
        (reason: unknown) => {
          this.#abandon = undefined
          const why = reason instanceof Error ? reason.message : String(reason)
          this.#trouble = `no snapshot could be made: ${why}`
        },
      )
  }

  #fromLog(upTo: number): [Promise<Made>, () => void] {
    return this.#deps.source.elsewhere === undefined ? this.#here(upTo) : this.#there(upTo)
  }

  #here(upTo: number): [Promise<Made>, () => void] {
    const { source, charter, wall } = this.#deps
    const engine = source.create()
    const made = makeSnapshot(engine, charter, upTo, wall()).finally(() => engine.close())
    return [made, () => void engine.close()]
  }

  #there(upTo: number): [Promise<Made>, () => void] {
    const { source, charter, wall } = this.#deps
    const { thread, options } = source.elsewhere!
    const workerData: SnapshotOrder<unknown> = { options, charter, upTo, at: wall() }
    const worker = new Worker(thread, { workerData })
    const made = new Promise<Made>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('it was abandoned')))
    })
    return [made, () => void worker.terminate()]
  }
}
