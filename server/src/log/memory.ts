/**
 * The default log: order is the order of asking, and a command is applied before `submit` returns.
 * Nothing is kept, and nothing is copied or promised on the way.
 */
import type { Command } from '../core/index.js'
import type { Log, StateMachine } from './log.js'

export class MemoryLog implements Log {
  #replica: StateMachine | undefined
  #applying = false
  readonly #next: Command[] = []

  start(replica: StateMachine): undefined {
    this.#replica = replica
  }

  submit(command: Command): void {
    if (this.#applying) {
      // Acting on an effect may ask for more; it takes its turn after all effects of this one.
      this.#next.push(command)
      return
    }
    this.#applying = true
    try {
      this.#replica?.apply(command)
      while (this.#next.length > 0) this.#replica?.apply(this.#next.shift()!)
    } finally {
      this.#applying = false
    }
  }

  async close(): Promise<void> {}
}
