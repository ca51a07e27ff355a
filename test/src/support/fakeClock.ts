/**
 * A clock that a test moves: monotonic and wall time apart from each other, and timers that fire
 * when the test says that time has passed, in order, and not at all while the process is "stopped".
 */
import type { Clock, Timer } from '@holdfast/shared'

interface FakeTimer {
  readonly due: number
  readonly order: number
  readonly callback: () => void
}

export class FakeClock implements Clock {
  /** Not 0, so that nobody can mistake an absolute time for a difference. */
  #monotonic = 1_000
  #wall = 1_700_000_000_000
  #order = 0
  readonly #timers = new Set<FakeTimer>()

  monotonic(): number {
    return this.#monotonic
  }

  wall(): number {
    return this.#wall
  }

  setTimer(callback: () => void, ms: number): Timer {
    const timer = { due: this.#monotonic + ms, order: this.#order++, callback }
    this.#timers.add(timer)
    return timer
  }

  clearTimer(timer: Timer): void {
    this.#timers.delete(timer as FakeTimer)
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size
  }

  /** Lets time pass, and fires what falls due on the way, each at its own time. */
  advance(ms: number): void {
    const end = this.#monotonic + ms
    for (let timer = this.#nextUntil(end); timer !== undefined; timer = this.#nextUntil(end)) {
      this.#timers.delete(timer)
      this.stop(Math.max(timer.due - this.#monotonic, 0))
      timer.callback()
    }
    this.stop(end - this.#monotonic)
  }

  /** The process is stopped: time passes and nothing fires. */
  stop(ms: number): void {
    this.#monotonic += ms
    this.#wall += ms
  }

  /** The machine sleeps: only the calendar goes on. Or its calendar is set, either way. */
  moveWall(ms: number): void {
    this.#wall += ms
  }

  #nextUntil(end: number): FakeTimer | undefined {
    let first: FakeTimer | undefined
    for (const timer of this.#timers) {
      if (timer.due > end) continue
      const isEarlier = timer.due < (first?.due ?? Number.POSITIVE_INFINITY)
      if (isEarlier || (timer.due === first?.due && timer.order < first.order)) first = timer
    }
    return first
  }
}
