/**
 * Runs the tasks of a session at their times, with one timer of the platform.
 *
 * A task has one of two kinds of deadlines. A plain task is due at a time of the monotonic clock.
 * An expiry has one time for the monotonic clock and one time for the wall clock. A task with an
 * expiry is due as soon as one of the clocks has reached its time. Tasks with an expiry run before
 * plain tasks. The timer may fire late: in a hidden tab, a minute late. So code that depends on an
 * expiry must call `runExpired` first.
 */
import { type Clock, DeadlineHeap, maxDurationMs, type Timer } from '@holdfast/shared'
import { type ClockTimes, readClocks } from './environment.js'

/** Work that the scheduler runs at a later time, by a call of `onDue`. */
export interface Task {
  onDue(): void
}

export class Scheduler {
  readonly #clock: Clock
  /** The plain tasks. */
  readonly #plainTasks = new DeadlineHeap<Task>()
  /** The tasks with an expiry. Each such task is in both heaps. */
  readonly #expiriesByMonotonic = new DeadlineHeap<Task>()
  readonly #expiriesByWall = new DeadlineHeap<Task>()
  #timer: Timer
  /** When the timer is due, by the monotonic clock; Infinity if no timer is set. */
  #timerDueAt = Infinity
  #checkedAt = 0
  #isStopped = false
  #keepsProcessAlive = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): ClockTimes {
    return readClocks(this.#clock)
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  /**
   * When `runExpired` was called last, by the monotonic clock. The client calls `runExpired` when a
   * frame arrives, so code that handles the frame need not read the clock again.
   */
  get checkedAt(): number {
    return this.#checkedAt
  }

  /** Runs the task at `due`, a time of the monotonic clock. Replaces the task's former time. */
  at(task: Task, due: number): void {
    if (this.#isStopped) return
    this.#plainTasks.set(task, due)
    if (due < this.#timerDueAt) this.#arm()
  }

  /** Runs the task `ms` from now. Replaces the task's former time. */
  after(task: Task, ms: number): void {
    this.at(task, this.#clock.monotonic() + ms)
  }

  /** Runs the task when the expiry has passed on one clock. Replaces the task's former expiry. */
  atExpiry(task: Task, expiry: ClockTimes): void {
    if (this.#isStopped) return
    const { monotonic, wall } = expiry
    // If the new expiry is no earlier than the former expiry, the timer need not change. Without
    // this check, `#arm` would read the clocks each time the session's expiry is extended.
    const isTimerEarlyEnough =
      monotonic >= (this.#expiriesByMonotonic.dueAt(task) ?? Infinity) &&
      wall >= (this.#expiriesByWall.dueAt(task) ?? Infinity)
    this.#expiriesByMonotonic.set(task, monotonic)
    this.#expiriesByWall.set(task, wall)
    if (!isTimerEarlyEnough) this.#arm()
  }

  /** Removes the task, whether it is a plain task or a task with an expiry. */
  cancel(task: Task): void {
    this.#plainTasks.delete(task)
    this.#expiriesByMonotonic.delete(task)
    this.#expiriesByWall.delete(task)
  }

  /** Runs every task whose expiry has passed, whether or not the timer has fired. */
  runExpired(): void {
    const monotonic = this.#clock.monotonic()
    this.#checkedAt = monotonic
    if (this.#expiriesByMonotonic.size === 0) return
    const wall = this.#clock.wall()
    if (monotonic < this.#expiriesByMonotonic.next && wall < this.#expiriesByWall.next) return
    for (;;) {
      const task = this.#expiriesByMonotonic.popDue(monotonic) ?? this.#expiriesByWall.popDue(wall)
      if (task === undefined) return
      // The task is still in the other heap.
      this.cancel(task)
      task.onDue()
    }
  }

  /** Chooses whether the timer keeps the process alive, where the platform offers the choice. */
  keepProcessAlive(keepAlive: boolean): void {
    this.#keepsProcessAlive = keepAlive
    if (this.#timerDueAt < Infinity) this.#applyRef()
  }

  /** Stops the timer. Tasks that are added later are ignored. */
  stop(): void {
    this.#isStopped = true
    this.#disarm()
  }

  /**
   * Runs every task that is due. Called by the timer, and at each `ping` of the broker, because the
   * timer may be late.
   */
  runDue(): void {
    this.#disarm()
    this.runExpired()
    const now = this.#clock.monotonic()
    for (let task = this.#plainTasks.popDue(now); task; task = this.#plainTasks.popDue(now)) {
      if (this.#isStopped) return
      task.onDue()
    }
    this.#arm()
  }

  /** Sets the timer for the earliest task, unless the timer is due early enough already. */
  #arm(): void {
    const due = this.#nextDue()
    if (this.#isStopped || due >= this.#timerDueAt) return
    this.#disarm()
    this.#timerDueAt = due
    const ms = Math.ceil(due - this.#clock.monotonic())
    // No timer of a platform lasts longer than `maxDurationMs`. If the task is due later, `runDue`
    // sets the timer again.
    this.#timer = this.#clock.setTimer(
      () => this.runDue(),
      Math.min(Math.max(ms, 0), maxDurationMs),
    )
    if (!this.#keepsProcessAlive) this.#applyRef()
  }

  /** Applies `#keepsProcessAlive` to the timer. Only Node's timers have `ref` and `unref`. */
  #applyRef(): void {
    const timer = this.#timer as { ref?(): void; unref?(): void }
    if (this.#keepsProcessAlive) timer.ref?.()
    else timer.unref?.()
  }

  #disarm(): void {
    if (this.#timerDueAt < Infinity) this.#clock.clearTimer(this.#timer)
    this.#timerDueAt = Infinity
  }

  /** When the earliest task is due, converted to the monotonic clock. */
  #nextDue(): number {
    const byMonotonic = Math.min(this.#plainTasks.next, this.#expiriesByMonotonic.next)
    if (this.#expiriesByWall.size === 0) return byMonotonic
    const { monotonic, wall } = this.now()
    return Math.min(byMonotonic, monotonic + this.#expiriesByWall.next - wall)
  }
}
