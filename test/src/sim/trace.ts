/**
 * Records the trace of a run as lines of text. The last lines help to explain a failure. A hash
 * over all lines shows whether two runs of one seed are equal.
 */
import type { World } from './world.js'

export class Trace {
  readonly #world: World
  /** The newest lines. When there are `#maxLines`, each new line replaces the oldest line. */
  readonly #lines: string[] = []
  readonly #maxLines: number
  #count = 0
  /** The halves of the hash. Any start values work. */
  #high = 0xdeadbeef
  #low = 0x41c6ce57

  constructor(world: World, maxLines: number) {
    this.#world = world
    this.#maxLines = maxLines
  }

  get lineCount(): number {
    return this.#count
  }

  /** The hash of all lines. Equal runs have equal hashes. */
  get hash(): string {
    const hex = (n: number) => (n >>> 0).toString(16).padStart(8, '0')
    return `${hex(this.#high)}${hex(this.#low)}`
  }

  /**
   * Adds a line about `source`, such as the name of a process. Only the newest lines are kept, but
   * the hash covers all lines.
   */
  add(source: string, text: string): void {
    const line = `${this.#world.now.toFixed(3)} ${source} ${text}`
    this.#lines[this.#count++ % this.#maxLines] = line
    for (let i = 0; i < line.length; i++) {
      const code = line.charCodeAt(i)
      this.#high = Math.imul(this.#high ^ code, 0x9e3779b1)
      this.#low = Math.imul(this.#low ^ code, 0x5f356495)
    }
    this.#high ^= this.#high >>> 15
    this.#low ^= this.#low >>> 13
  }

  /** The last lines, oldest first. */
  lastLines(): string[] {
    if (this.#count <= this.#maxLines) return this.#lines.slice()
    const oldest = this.#count % this.#maxLines
    return [...this.#lines.slice(oldest), ...this.#lines.slice(0, oldest)]
  }
}
