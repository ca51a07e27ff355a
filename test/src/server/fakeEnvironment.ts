/**
 * The environment of a broker (clock, event loop, ids and secrets) as a fake that tests control.
 * Like a turn of the real event loop, a turn has three steps: due timers, input from the test, and
 * the end of the turn. A test may run each step alone.
 */

import type { Environment } from '@holdfast/server/internal'
import { FakeClock } from '../support/fakeClock.js'

/** Far more turns than a broker needs, so that an endless loop fails. */
const maxTurns = 100_000

export class FakeEnvironment implements Environment {
  /** A clock whose shortest timer has 1 ms, as in Node. */
  readonly clock = new FakeClock(1)
  /** See {@link Environment.turnMs}. */
  turnMs: number | undefined
  #atEndOfTurn: (() => void)[] = []
  #ids = 0
  #secrets = 0

  readonly endOfTurn = (callback: () => void): void => {
    this.#atEndOfTurn.push(callback)
  }

  readonly newId = (): string => `id${++this.#ids}`
  readonly newSecret = (): string => `secret${++this.#secrets}`
  /** A readable hash, in which tests see the secret. */
  readonly hash = (secret: string): string => `#${secret}#`

  /** The number of timers that are set and have not fired. */
  get timerCount(): number {
    return this.clock.timerCount
  }

  /** The number of timers that were ever set. */
  get setTimerCalls(): number {
    return this.clock.setTimerCalls
  }

  /** Lets time pass. Each due timer fires at its exact time, in a separate turn. */
  advance(ms: number): void {
    let turns = 0
    this.clock.advance(ms, () => {
      if (turns++ > maxTurns) throw new Error('The broker sets timers without end')
      this.endTurn()
    })
  }

  /** Lets time pass without running anything, as while the process is stopped. */
  advanceWithoutTimers(ms: number): void {
    this.clock.advanceWithoutTimers(ms)
  }

  /** Moves only the wall clock, forward or back. */
  moveWallClock(byMs: number): void {
    this.clock.moveWallClock(byMs)
  }

  /** Runs the first step of a turn: the timers that are due. */
  fireTimers(): void {
    this.clock.fireDue()
  }

  /** Runs the last step of this turn and of later turns, until a turn has no work. */
  endTurn(): void {
    for (let turns = 0; this.endOneTurn(); turns++) {
      if (turns > maxTurns) throw new Error('The broker has work at the end of every turn')
    }
  }

  /** Runs the last step of this turn only. @returns false if there was no work */
  endOneTurn(): boolean {
    const callbacks = this.#atEndOfTurn
    this.#atEndOfTurn = []
    for (const callback of callbacks) callback()
    return callbacks.length > 0
  }
}
