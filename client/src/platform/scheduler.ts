/**
 * Everything a session has to do at a time, on one timer.
 *
 * Two kinds: plain tasks, due by the monotonic clock, and bounds, which are due when either clock
 * says so and are looked at before anything else. A timer may come late, a minute late in a hidden
 * tab, so whoever depends on a bound calls `look` instead of trusting the timer.
 */
import { type Clock, DeadlineHeap, maxMs, type Timer } from '@holdfast/shared'
import { type ClockReading, type Expiry, readClocks } from '../locks/expiry.js'

export interface Task {
  run(): void
}

export class Scheduler {
  readonly #clock: Clock
  readonly #plain = new DeadlineHeap<Task>()
  readonly #byMonotonic = new DeadlineHeap<Task>()
  readonly #byWall = new DeadlineHeap<Task>()
  #timer: Timer
  /** When the timer will fire, by the monotonic clock; Infinity if it is not set. */
  #armedFor = Infinity
  #stopped = false
  #isRef = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): ClockReading {
    return readClocks(this.#clock)
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  /** Runs the task at an instant of the monotonic clock, in place of the one it may have had. */
  at(task: Task, due: number): void {
    if (this.#stopped) return
    this.#plain.set(task, due)
    if (due < this.#armedFor) this.#arm()
  }

  /** Runs the task after `ms`. */
  after(task: Task, ms: number): void {
    this.at(task, this.#clock.monotonic() + ms)
  }

  /** Runs the task when the bound has passed, in place of the one it may have had. */
  by(task: Task, bound: Expiry): void {
    if (this.#stopped) return
    this.#byMonotonic.set(task, bound.monotonic)
    this.#byWall.set(task, bound.wall)
    this.#arm()
  }

  /** Forgets the task. */
  cancel(task: Task): void {
    this.#plain.delete(task)
    this.#byMonotonic.delete(task)
    this.#byWall.delete(task)
  }

  /** Runs every task whose bound has passed. */
  expireDue(): void {
    if (this.#byMonotonic.size === 0) return
    const { monotonic, wall } = this.now()
    for (;;) {
      const task = this.#byMonotonic.popDue(monotonic) ?? this.#byWall.popDue(wall)
      if (task === undefined) return
      this.cancel(task)
      task.run()
    }
  }

  /** Whether the timer keeps the process alive, where the platform lets us choose. */
  keepAlive(isRef: boolean): void {
    this.#isRef = isRef
    if (this.#armedFor < Infinity) this.#applyRef()
  }

  /** Forgets everything, for good. */
  stop(): void {
    this.#stopped = true
    this.#disarm()
  }

  /** Runs everything that is due, whether or not the timer has come. */
  run(): void {
    this.#disarm()
    this.expireDue()
    const now = this.#clock.monotonic()
    for (let task = this.#plain.popDue(now); task; task = this.#plain.popDue(now)) {
      if (this.#stopped) return
      task.run()
    }
    this.#arm()
  }

  /** Sets the timer, unless it comes early enough as it is. */
  #arm(): void {
    const due = this.#nextDue()
    if (this.#stopped || due >= this.#armedFor) return
    this.#disarm()
    this.#armedFor = due
    const ms = Math.ceil(due - this.#clock.monotonic())
    this.#timer = this.#clock.setTimer(() => this.run(), Math.min(Math.max(ms, 0), maxMs))
    if (!this.#isRef) this.#applyRef()
  }

  /** A timer of Node's can be told; others are numbers. */
  #applyRef(): void {
    const timer = this.#timer as { ref?(): void; unref?(): void }
    if (this.#isRef) timer.ref?.()
    else timer.unref?.()
  }

  #disarm(): void {
    if (this.#armedFor < Infinity) this.#clock.clearTimer(this.#timer)
    this.#armedFor = Infinity
  }

  /** When the earliest task is due, in terms of the monotonic clock. */
  #nextDue(): number {
    const steady = Math.min(this.#plain.next, this.#byMonotonic.next)
    if (this.#byWall.size === 0) return steady
    const { monotonic, wall } = this.now()
    return Math.min(steady, monotonic + this.#byWall.next - wall)
  }
}
