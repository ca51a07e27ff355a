/**
 * The clocks of one simulated machine. The monotonic clock runs at its own rate and stands still
 * while the machine sleeps. The wall clock may be set forward or back. Timers are as inexact as in
 * Node and browsers. A timer counts whole milliseconds, and may fire up to 1 ms early. By chance,
 * or while the machine is busy, the timer fires late.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Random } from './random.js'
import type { ScheduledEvent, World } from './world.js'

/** Node and browsers treat a longer time as 1 ms. */
const longestTimerMs = 2 ** 31 - 1

interface SimTimer {
  readonly callback: () => void
  /** When the timer is due, in ms of the monotonic clock. */
  readonly due: number
  /** Orders timers that are due at the same time. */
  readonly order: number
  /** The event at which the timer becomes due; undefined until `wake` for a timer set in sleep. */
  event: ScheduledEvent | undefined
}

export class SimClock implements Clock {
  readonly #world: World
  readonly #random: Random
  /** How many ms of this clock pass in one ms of world time (time of the simulation). */
  readonly #rate: number
  /** The monotonic time at the beginning of the world, in ms. */
  readonly #offset: number
  /** The wall clock time at the beginning of the world plus all jumps since then, in ms. */
  #wallAtStart: number
  /** The world time that passed while this machine slept, in ms. */
  #slept = 0
  #asleepSince: number | undefined = undefined
  readonly #timers = new Set<SimTimer>()
  #dueTimers: SimTimer[] = []
  #nextOrder = 0
  #onDue: () => void = () => {}
  /** Whether the wall clock was ever set by `jump`. */
  wasSet = false
  /**
   * How much later than usual a late timer may fire, in ms. For example, a browser may fire the
   * timers of a hidden tab only once a second.
   */
  maxExtraDelayMs = 0

  constructor(world: World, random: Random, rate: number, wallNow: number) {
    this.#world = world
    this.#random = random
    this.#rate = rate
    this.#offset = random.between(0, 1e6)
    this.#wallAtStart = wallNow - world.now * rate
  }

  get rate(): number {
    return this.#rate
  }

  /** The number of timers that are set and have not fired. */
  get timerCount(): number {
    return this.#timers.size
  }

  /** Called when a timer has become due. */
  set onDue(callback: () => void) {
    this.#onDue = callback
  }

  monotonic(): number {
    const awake = (this.#asleepSince ?? this.#world.now) - this.#slept
    return this.#offset + awake * this.#rate
  }

  wall(): number {
    return Math.floor(this.#wallAtStart + this.#world.now * this.#rate)
  }

  setTimer(callback: () => void, ms: number): Timer {
    const wholeMs = ms >= 1 && ms <= longestTimerMs ? Math.trunc(ms) : 1
    const early = this.#random.next()
    const late = this.#random.chance(0.2) ? this.#random.between(0, 2 + this.maxExtraDelayMs) : 0
    const due = this.monotonic() + wholeMs - early + late
    const timer: SimTimer = { callback, due, order: this.#nextOrder++, event: undefined }
    this.#timers.add(timer)
    if (this.#asleepSince === undefined) this.#schedule(timer)
    return timer
  }

  clearTimer(timer: Timer): void {
    const simTimer = timer as SimTimer | undefined
    if (simTimer?.event !== undefined) simTimer.event.cancelled = true
    this.#timers.delete(simTimer as SimTimer)
  }

  /** Sets the wall clock forward or back. */
  jump(ms: number): void {
    this.wasSet = true
    this.#wallAtStart += ms
  }

  /** Suspends the monotonic clock and all timers until `wake`. */
  sleep(): void {
    if (this.#asleepSince !== undefined) return
    this.#asleepSince = this.#world.now
    for (const timer of this.#timers) {
      if (timer.event !== undefined) timer.event.cancelled = true
    }
  }

  wake(): void {
    if (this.#asleepSince === undefined) return
    this.#slept += this.#world.now - this.#asleepSince
    this.#asleepSince = undefined
    // A timer that was due before the sleep is in `#dueTimers` already.
    for (const timer of this.#timers) if (!this.#dueTimers.includes(timer)) this.#schedule(timer)
  }

  /** Clears all timers. */
  stop(): void {
    for (const timer of this.#timers) this.clearTimer(timer)
    this.#dueTimers = []
  }

  get hasDue(): boolean {
    return this.#dueTimers.length > 0
  }

  /** Removes and returns the due timers, earliest first. */
  removeDue(): SimTimer[] {
    const dueTimers = this.#dueTimers
    this.#dueTimers = []
    return dueTimers.sort((a, b) => a.due - b.due || a.order - b.order)
  }

  /** Fires the timer, unless it was cleared after it became due. */
  fire(timer: SimTimer): void {
    if (this.#timers.delete(timer)) timer.callback()
  }

  #schedule(timer: SimTimer): void {
    const wait = (timer.due - this.monotonic()) / this.#rate
    timer.event = this.#world.after(Math.max(0, wait), () => {
      this.#dueTimers.push(timer)
      this.#onDue()
    })
  }
}
