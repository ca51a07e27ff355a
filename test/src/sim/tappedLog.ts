/**
 * A log that tells the judges what its broker proposes, and when it begins to serve. The broker
 * does not notice.
 */
import type { Command } from '@holdfast/server/core'
import type { Log, Membership, StateMachine } from '@holdfast/server/internal'
import type { HoldfastError } from '@holdfast/shared'

export interface LogTap {
  proposed(command: Command): void
  /** The table is another one. */
  restored(): void
  served(): void
  resigned(): void
  failed(error: HoldfastError): void
}

export class TappedLog implements Log {
  readonly #log: Log
  readonly #tap: LogTap

  constructor(log: Log, tap: LogTap) {
    this.#log = log
    this.#tap = tap
  }

  get membership(): Membership | undefined {
    return this.#log.membership
  }

  start(replica: StateMachine): undefined | Promise<void> {
    const tap = this.#tap
    return this.#log.start({
      restore: (items) => {
        replica.restore(items)
        tap.restored()
      },
      replay: (command) => replica.replay(command),
      apply: (command) => replica.apply(command),
      digest: () => replica.digest(),
      dump: () => replica.dump(),
      fail: (error) => {
        tap.failed(error)
        replica.fail(error)
      },
      serve: () => {
        replica.serve()
        tap.served()
      },
      resign: () => {
        replica.resign()
        tap.resigned()
      },
    })
  }

  submit(command: Command): void {
    this.#tap.proposed(command)
    this.#log.submit(command)
  }

  close(): Promise<void> {
    return this.#log.close()
  }
}
