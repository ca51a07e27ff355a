/**
 * A log that takes its time, as one that is kept on disk or on other machines does: commands come
 * back in the order they were given, each some turns later. What a broker believes of its table may
 * be old by then, and that is what this is for.
 */
import type { Command } from '@holdfast/server/core'
import type { Log, StateMachine } from '@holdfast/server/internal'
import type { SimProcess } from './process.js'
import type { Random } from './random.js'
import type { World } from './world.js'

export class SlowLog implements Log {
  readonly #world: World
  readonly #process: SimProcess
  readonly #random: Random
  /** Most that a command may take, in ms. */
  readonly #mostMs: number
  #replica: StateMachine | undefined
  #lastAt = 0
  #underWay = 0
  #onEmpty: () => void = () => {}

  constructor(world: World, process: SimProcess, random: Random, mostMs: number) {
    this.#world = world
    this.#process = process
    this.#random = random
    this.#mostMs = mostMs
  }

  start(replica: StateMachine): undefined {
    this.#replica = replica
  }

  submit(command: Command): void {
    this.#underWay++
    this.#lastAt = Math.max(this.#lastAt, this.#world.now + this.#random.next() * this.#mostMs)
    this.#world.at(this.#lastAt, () => {
      this.#process.receive(() => {
        this.#underWay--
        this.#replica?.apply(command)
        if (this.#underWay === 0) this.#onEmpty()
      })
    })
  }

  close(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
