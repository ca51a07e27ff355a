/**
 * The default command log. The log stores nothing, and applies each command at once, in the order
 * of submission.
 */
import type { Command } from '../core/index.js'
import type { Log, StateMachine } from './log.js'

export class MemoryLog implements Log {
  #stateMachine: StateMachine | undefined
  #isApplying = false
  readonly #submittedWhileApplying: Command[] = []

  start(stateMachine: StateMachine): undefined {
    this.#stateMachine = stateMachine
  }

  submit(command: Command): void {
    if (this.#isApplying) {
      // The broker submits this command while it handles an effect (a change of the table) of an
      // earlier command. This command waits until all effects of the earlier command are handled.
      this.#submittedWhileApplying.push(command)
      return
    }
    this.#isApplying = true
    try {
      this.#stateMachine?.apply(command)
      while (this.#submittedWhileApplying.length > 0)
        this.#stateMachine?.apply(this.#submittedWhileApplying.shift()!)
    } finally {
      this.#isApplying = false
    }
  }

  async close(): Promise<void> {}
}
