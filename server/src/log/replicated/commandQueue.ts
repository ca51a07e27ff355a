/**
 * The commands of a broker, as text, that wait to be appended to the shared log. All commands that
 * arrive while an append is under way form the next entry (batch of commands), so a slower log has
 * larger entries.
 */
import type { Command } from '../../core/index.js'
import type { LogLoad } from '../log.js'

/** The limits of one entry, well below the largest entry that PostgreSQL or etcd accepts. */
const entryLimits = { commands: 2_000, characters: 256 * 1024 }
/**
 * The limits of the queue. If the queue reaches a limit, the load is `rejectNew`. If the queue
 * reaches twice a limit, the load is `disconnect`.
 */
const queueLimits = { commands: 100_000, characters: 32 * 1024 * 1024 }

export class CommandQueue {
  #commands: string[] = []
  /** How many commands at the start of `#commands` are in an entry already. */
  #takenCount = 0
  /** The length of all commands that are in no entry yet. */
  #characters = 0

  get length(): number {
    return this.#commands.length - this.#takenCount
  }

  get load(): LogLoad {
    const fullness = Math.max(
      this.length / queueLimits.commands,
      this.#characters / queueLimits.characters,
    )
    if (fullness < 1) return 'ok'
    return fullness < 2 ? 'rejectNew' : 'disconnect'
  }

  add(command: Command): void {
    const text = JSON.stringify(command)
    this.#commands.push(text)
    this.#characters += text.length
  }

  /** Removes and returns the oldest commands that fit into one entry. */
  takeForEntry(): readonly string[] {
    let end = this.#takenCount
    const maxEnd = Math.min(this.#commands.length, end + entryLimits.commands)
    let characters = 0
    while (end < maxEnd) {
      const { length } = this.#commands[end]!
      // A command that is longer than the limit gets an entry of its own.
      if (characters > 0 && characters + length > entryLimits.characters) break
      characters += length
      end++
    }
    const texts = this.#commands.slice(this.#takenCount, end)
    this.#characters -= characters
    this.#takenCount = end
    if (end === this.#commands.length) this.clear()
    else if (end * 2 > this.#commands.length) this.#dropTaken()
    return texts
  }

  clear(): void {
    this.#commands = []
    this.#takenCount = 0
    this.#characters = 0
  }

  /**
   * Drops the taken commands. Called only when most of the commands are taken, because this method
   * copies the remaining commands.
   */
  #dropTaken(): void {
    this.#commands = this.#commands.slice(this.#takenCount)
    this.#takenCount = 0
  }
}
