/**
 * A command log that delays each command by a random time, as a log on a disk or on other machines
 * does. A command log passes the submitted commands to the lock table, here in the order of their
 * submission. Until the table applies a command, the broker works without the effects of the
 * command.
 */
import type { Command } from '@holdfast/server/core'
import type { Log, StateMachine } from '@holdfast/server/internal'
import type { Random } from './random.js'
import type { SimProcess } from './simProcess.js'
import type { World } from './world.js'

export class SlowLog implements Log {
  readonly #world: World
  readonly #process: SimProcess
  readonly #random: Random
  /** The longest delay of a command, in ms. */
  readonly #maxMs: number
  #stateMachine: StateMachine | undefined
  /** The world time at which the table applies the newest command. */
  #newestAppliedAt = 0
  /** The number of submitted commands that the table has not applied. */
  #pendingCount = 0
  /** Called when the table has applied all commands. */
  #onEmpty: () => void = () => {}

  constructor(world: World, process: SimProcess, random: Random, maxMs: number) {
    this.#world = world
    this.#process = process
    this.#random = random
    this.#maxMs = maxMs
  }

  start(stateMachine: StateMachine): undefined {
    this.#stateMachine = stateMachine
  }

  submit(command: Command): void {
    this.#pendingCount++
    this.#newestAppliedAt = Math.max(
      this.#newestAppliedAt,
      this.#world.now + this.#random.next() * this.#maxMs,
    )
    this.#world.at(this.#newestAppliedAt, () => {
      // The process runs this in its next turn, or never if it was killed.
      this.#process.receive(() => {
        this.#pendingCount--
        this.#stateMachine?.apply(command)
        if (this.#pendingCount === 0) this.#onEmpty()
      })
    })
  }

  close(): Promise<void> {
    if (this.#pendingCount === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
