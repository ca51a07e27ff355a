/**
 * A machine for the broker to run on, of which the test is the clock: time passes when told to, and
 * a turn of the event loop has the three steps of the real one, which a test may take one by one:
 * timers that are due, then input (the test's own), then the end of the turn.
 */

import type { Environment } from '@holdfast/server/internal'
import type { Clock, Timer } from '@holdfast/shared'
import { DeadlineHeap } from '@holdfast/shared'

/** Far more than any broker asks for: whoever gets there goes round in circles. */
const maxTurns = 100_000

export class FakeEnvironment implements Environment {
  readonly #timers = new DeadlineHeap<{ readonly callback: () => void }>()
  #atEndOfTurn: (() => void)[] = []
  #now = 1_000
  #wall = 1_700_000_000_000
  #ids = 0
  #secrets = 0
  /** How many timers were set so far. */
  timersSet = 0

  readonly clock: Clock = {
    monotonic: () => this.#now,
    wall: () => this.#wall,
    setTimer: (callback, ms) => this.#setTimer(callback, ms),
    clearTimer: (timer) => {
      if (timer !== undefined) this.#timers.delete(timer as { callback: () => void })
    },
  }

  readonly endOfTurn = (callback: () => void): void => {
    this.#atEndOfTurn.push(callback)
  }

  readonly newId = (): string => `id${++this.#ids}`
  readonly newSecret = (): string => `secret${++this.#secrets}`
  readonly hash = (secret: string): string => `#${secret}#`

  /** How many timers are set and have not fired. */
  get timers(): number {
    return this.#timers.size
  }

  /** Lets this much time pass, with every timer on time. */
  pass(ms: number): void {
    const until = this.#now + ms
    this.endTurn()
    for (let turns = 0; this.#timers.next <= until; turns++) {
      if (turns > maxTurns) throw new Error('the timers never come to an end')
      this.#moveTo(Math.max(this.#now, this.#timers.next))
      this.fireTimers()
      this.endTurn()
    }
    this.#moveTo(until)
  }

  /** The process is stopped: time passes and nothing of it runs. */
  stopFor(ms: number): void {
    this.#moveTo(this.#now + ms)
  }

  /** The calendar is set forward or back. */
  setCalendar(byMs: number): void {
    this.#wall += byMs
  }

  /** First step of a turn. */
  fireTimers(): void {
    const now = this.#now
    for (let due = this.#timers.popDue(now); due; due = this.#timers.popDue(now)) due.callback()
  }

  /** Last step of a turn, and of all that follow until nothing is left to do. */
  endTurn(): void {
    for (let rounds = 0; this.endOneTurn(); rounds++) {
      if (rounds > maxTurns) throw new Error('the turn never ends')
    }
  }

  /** Last step of this turn only; false if there was nothing to do. */
  endOneTurn(): boolean {
    const callbacks = this.#atEndOfTurn
    this.#atEndOfTurn = []
    for (const callback of callbacks) callback()
    return callbacks.length > 0
  }

  #setTimer(callback: () => void, ms: number): Timer {
    const timer = { callback }
    this.timersSet++
    this.#timers.set(timer, this.#now + Math.max(1, ms))
    return timer
  }

  #moveTo(now: number): void {
    this.#wall += now - this.#now
    this.#now = now
  }
}
