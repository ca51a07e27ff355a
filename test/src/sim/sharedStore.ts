/**
 * The content of the shared command log, which orders the commands of several brokers: one sequence
 * of entries, and snapshots. The store itself never fails. Only the engines, through which brokers
 * use the store, and the network paths to the store have faults.
 */
import type { ClusterConfig } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import type { Random } from './random.js'

export interface StoredEntry {
  readonly position: number
  readonly text: string
}

export interface SimSnapshot {
  readonly position: number
  readonly parts: readonly string[]
}

export type EntryListener = (entry: StoredEntry) => void

export class SharedStore {
  readonly #random: Random
  readonly #listeners = new Set<EntryListener>()
  /** Whether the faults of the run have ended, so that the engines cause no more append faults. */
  areFaultsOver = false
  #entries: StoredEntry[] = []
  #snapshots: SimSnapshot[] = []
  /** The configuration of the first broker, as JSON. */
  #config: string | undefined
  #position = 0
  #compactedTo = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** The position of the newest entry. */
  get position(): number {
    return this.#position
  }

  /** The entries up to and including this position were removed. */
  get compactedTo(): number {
    return this.#compactedTo
  }

  get newestSnapshot(): SimSnapshot | undefined {
    return this.#snapshots.at(-1)
  }

  /** @throws {HoldfastError} `INVALID_OPTION` if the config differs from the stored config */
  open(config: ClusterConfig): void {
    const text = JSON.stringify(config)
    this.#config ??= text
    if (text !== this.#config)
      throw new HoldfastError('INVALID_OPTION', 'The cluster config differs from the stored config')
  }

  /** Adds an entry. Positions have gaps, because a real engine may have gaps. */
  append(text: string): void {
    this.#position += this.#random.int(1, 3)
    const entry = { position: this.#position, text }
    this.#entries.push(entry)
    for (const listener of [...this.#listeners]) listener(entry)
  }

  /**
   * Returns the first entry after a position; undefined if no such entry exists yet, or if later
   * positions were compacted.
   */
  next(position: number): StoredEntry | undefined {
    if (position < this.#compactedTo) return undefined
    return this.#entries.find((entry) => entry.position > position)
  }

  /**
   * Calls `listener` for every present and future entry after a position.
   *
   * @returns a function that ends the calls; undefined if later positions were compacted
   */
  listen(after: number, listener: EntryListener): (() => void) | undefined {
    if (after < this.#compactedTo) return undefined
    for (const entry of this.#entries) if (entry.position > after) listener(entry)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @returns false if the store has a snapshot of this position or of a later position */
  saveSnapshot(position: number, parts: readonly string[]): boolean {
    if (position <= (this.newestSnapshot?.position ?? 0)) return false
    this.#snapshots.push({ position, parts })
    return true
  }

  /** Removes the entries up to and including a position, and all but the newest two snapshots. */
  compact(position: number): void {
    this.#snapshots = this.#snapshots.slice(-2)
    this.#compactedTo = Math.max(this.#compactedTo, position)
    this.#entries = this.#entries.filter((entry) => entry.position > position)
  }
}
