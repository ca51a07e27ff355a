/**
 * The shared log itself, as several brokers see it from afar: one order of entries, and snapshots.
 * It is never wrong and never away; only the ways to it are.
 */
import type { ClusterConfig } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import type { Random } from './random.js'

export interface Kept {
  readonly position: number
  readonly text: string
}

export interface KeptSnapshot {
  readonly position: number
  readonly parts: readonly string[]
}

/** Whoever is told of every entry as it comes in. */
export type EntryListener = (kept: Kept) => void

export class SharedStore {
  readonly #random: Random
  readonly #listeners = new Set<EntryListener>()
  /** What is appended is answered as it should be. */
  isWell = false
  #entries: Kept[] = []
  #snapshots: KeptSnapshot[] = []
  #config: string | undefined
  #position = 0
  #compactedTo = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** Of the newest entry. */
  get position(): number {
    return this.#position
  }

  get compactedTo(): number {
    return this.#compactedTo
  }

  get newestSnapshot(): KeptSnapshot | undefined {
    return this.#snapshots.at(-1)
  }

  /** @throws {HoldfastError} `INVALID_OPTION` for another config than that of the first. */
  open(config: ClusterConfig): void {
    const text = JSON.stringify(config)
    this.#config ??= text
    if (text !== this.#config) throw new HoldfastError('INVALID_OPTION', 'Another config.')
  }

  /** Positions have gaps, as those of real engines do. */
  append(text: string): void {
    this.#position += this.#random.int(1, 3)
    const kept = { position: this.#position, text }
    this.#entries.push(kept)
    for (const listener of [...this.#listeners]) listener(kept)
  }

  /** Every entry after this position, now and to come; undefined if they are gone. */
  listen(after: number, listener: EntryListener): (() => void) | undefined {
    if (after < this.#compactedTo) return undefined
    for (const kept of this.#entries) if (kept.position > after) listener(kept)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  saveSnapshot(position: number, parts: readonly string[]): boolean {
    if (position <= (this.newestSnapshot?.position ?? 0)) return false
    this.#snapshots.push({ position, parts })
    return true
  }

  /** The newest snapshot and the one before it stay. */
  forget(position: number): void {
    this.#snapshots = this.#snapshots.slice(-2)
    this.#compactedTo = Math.max(this.#compactedTo, position)
    this.#entries = this.#entries.filter((kept) => kept.position > position)
  }
}
