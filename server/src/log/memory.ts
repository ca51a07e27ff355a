/**
 * The default log: commands are applied in the order of submission, each before `submit` returns.
 * The log stores nothing.
 */
import type { Command } from '../core/index.js'
import type { Log, StateMachine } from './log.js'

export class MemoryLog implements Log {
  #stateMachine: StateMachine | undefined
  #applying = false
  readonly #next: Command[] = []

  start(stateMachine: StateMachine): undefined {
    this.#stateMachine = stateMachine
  }

  submit(command: Command): void {
    if (this.#applying) {
      // The broker submits more while it acts on an effect; these commands follow after all effects
      // of the present one.
      this.#next.push(command)
      return
    }
    this.#applying = true
    try {
      this.#stateMachine?.apply(command)
      while (this.#next.length > 0) this.#stateMachine?.apply(this.#next.shift()!)
    } finally {
      this.#applying = false
    }
  }

  async close(): Promise<void> {}
}
