/**
 * Commands that wait to be appended, as text, and how many of them fit into one entry. What comes
 * while an entry is under way is the next one; so the slower the log, the larger its entries.
 */
import type { Command } from '../../core/index.js'
import type { LogLoad } from '../log.js'

/** Most that one entry has: room enough below the largest value that an engine takes. */
const perEntry = { commands: 2_000, characters: 256 * 1024 }
/** With more than this waiting nothing new is begun; with twice as much nothing is taken at all. */
const queue = { commands: 100_000, characters: 32 * 1024 * 1024 }

export class Batch {
  #waiting: string[] = []
  /** How many of them are taken already. */
  #taken = 0
  #characters = 0

  get length(): number {
    return this.#waiting.length - this.#taken
  }

  get load(): LogLoad {
    const share = Math.max(this.length / queue.commands, this.#characters / queue.characters)
    return share < 1 ? 'room' : share < 2 ? 'full' : 'overfull'
  }

  add(command: Command): void {
    const text = JSON.stringify(command)
    this.#waiting.push(text)
    this.#characters += text.length
  }

  /** The oldest, as many as fit into one entry. */
  takeBatch(): readonly string[] {
    let end = this.#taken
    const last = Math.min(this.#waiting.length, end + perEntry.commands)
    let characters = 0
    while (end < last) {
      const { length } = this.#waiting[end]!
      if (characters > 0 && characters + length > perEntry.characters) break
      characters += length
      end++
    }
    const texts = this.#waiting.slice(this.#taken, end)
    this.#characters -= characters
    this.#taken = end
    if (end === this.#waiting.length) this.clear()
    else if (end * 2 > this.#waiting.length) this.#shift()
    return texts
  }

  clear(): void {
    this.#waiting = []
    this.#taken = 0
    this.#characters = 0
  }

  /** Lets go of those that are taken, but seldom, since those that are left are moved by it. */
  #shift(): void {
    this.#waiting = this.#waiting.slice(this.#taken)
    this.#taken = 0
  }
}
