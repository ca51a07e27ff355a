/**
 * Wraps the command log of a broker; the log orders the commands of the lock table. The wrapper
 * tells the oracles (the checks of a simulated run) what the broker and the log do. The broker
 * works in the same way as without the wrapper.
 */
import type { Command } from '@holdfast/server/core'
import type { Log, Membership, StateMachine } from '@holdfast/server/internal'
import type { HoldfastError } from '@holdfast/shared'

export interface LogObserver {
  /** The broker is about to submit a command to the log. */
  proposed(command: Command): void
  /** The broker has executed a command, which may have changed the table of this state machine. */
  executed(stateMachine: StateMachine): void
  /** The log is about to take a snapshot of the table. */
  beforeSnapshot(): void
  /** The log has restored the table from a snapshot. */
  restored(): void
  /** The broker has begun to serve clients. */
  served(): void
  /** The broker has stopped serving, because it is perhaps no longer a member of the cluster. */
  resigned(): void
  /** An error of the log has stopped the broker for good. */
  failed(error: HoldfastError): void
}

export class ObservedLog implements Log {
  readonly #log: Log
  readonly #observer: LogObserver

  constructor(log: Log, observer: LogObserver) {
    this.#log = log
    this.#observer = observer
  }

  get membership(): Membership | undefined {
    return this.#log.membership
  }

  start(stateMachine: StateMachine): undefined | Promise<void> {
    const observer = this.#observer
    return this.#log.start({
      *restore(items) {
        yield* stateMachine.restore(items)
        observer.restored()
      },
      replay: (command) => {
        stateMachine.replay(command)
        observer.executed(stateMachine)
      },
      apply: (command) => {
        stateMachine.apply(command)
        observer.executed(stateMachine)
      },
      digest: () => stateMachine.digest(),
      beginSnapshot: () => {
        observer.beforeSnapshot()
        return stateMachine.beginSnapshot()
      },
      fail: (error) => {
        observer.failed(error)
        stateMachine.fail(error)
      },
      serve: () => {
        stateMachine.serve()
        observer.served()
      },
      resign: () => {
        stateMachine.resign()
        observer.resigned()
      },
    })
  }

  submit(command: Command): void {
    this.#observer.proposed(command)
    this.#log.submit(command)
  }

  close(): Promise<void> {
    return this.#log.close()
  }
}
