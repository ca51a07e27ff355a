/**
 * The clocks of one simulated machine: a monotonic one that runs at a rate of its own and stands
 * still while the machine sleeps, and a wall clock that jumps. Timers are as bad as Node's and the
 * browsers' are: whole milliseconds, up to one too early, and late by what the machine is busy
 * with.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Random } from './random.js'
import type { Happening, World } from './world.js'

/** Timers beyond this fire at once, in Node and in browsers. */
const longestTimer = 2 ** 31 - 1

interface SimTimer {
  readonly callback: () => void
  /** On the monotonic clock. */
  readonly due: number
  readonly order: number
  happening: Happening | undefined
}

export class SimClock implements Clock {
  readonly #world: World
  readonly #random: Random
  readonly #rate: number
  readonly #offset: number
  #wall: number
  /** World time that passed while this machine slept. */
  #slept = 0
  #asleepSince: number | undefined = undefined
  readonly #timers = new Set<SimTimer>()
  #due: SimTimer[] = []
  #order = 0
  #onDue: () => void = () => {}
  /** Whether the calendar was ever set. */
  wasSet = false
  /** How late timers may be, in ms: a hidden tab's are slowed to one a second. */
  slack = 0

  constructor(world: World, random: Random, rate: number, wall: number) {
    this.#world = world
    this.#random = random
    this.#rate = rate
    this.#offset = random.between(0, 1e6)
    this.#wall = wall - world.now * rate
  }

  get rate(): number {
    return this.#rate
  }

  /** Timers that are set and have not been called. */
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
    return Math.floor(this.#wall + this.#world.now * this.#rate)
  }

  setTimer(callback: () => void, ms: number): Timer {
    const whole = ms >= 1 && ms <= longestTimer ? Math.trunc(ms) : 1
    const early = this.#random.next()
    const late = this.#random.chance(0.2) ? this.#random.between(0, 2 + this.slack) : 0
    const due = this.monotonic() + whole - early + late
    const timer: SimTimer = { callback, due, order: this.#order++, happening: undefined }
    this.#timers.add(timer)
    if (this.#asleepSince === undefined) this.#schedule(timer)
    return timer
  }

  clearTimer(timer: Timer): void {
    const known = timer as SimTimer | undefined
    if (known?.happening !== undefined) known.happening.cancelled = true
    this.#timers.delete(known as SimTimer)
  }

  /** Sets the calendar forward or back. */
  jump(ms: number): void {
    this.wasSet = true
    this.#wall += ms
  }

  /** The monotonic clock and all timers stand still until `wake`. */
  sleep(): void {
    if (this.#asleepSince !== undefined) return
    this.#asleepSince = this.#world.now
    for (const timer of this.#timers) {
      if (timer.happening !== undefined) timer.happening.cancelled = true
    }
  }

  wake(): void {
    if (this.#asleepSince === undefined) return
    this.#slept += this.#world.now - this.#asleepSince
    this.#asleepSince = undefined
    for (const timer of this.#timers) if (!this.#due.includes(timer)) this.#schedule(timer)
  }

  /** The machine is gone, with its timers. */
  stop(): void {
    for (const timer of this.#timers) this.clearTimer(timer)
    this.#due = []
  }

  get hasDue(): boolean {
    return this.#due.length > 0
  }

  /** The timers that are due, earliest first. */
  takeDue(): SimTimer[] {
    const due = this.#due
    this.#due = []
    return due.sort((a, b) => a.due - b.due || a.order - b.order)
  }

  /** Calls the timer back, unless it was cleared since it became due. */
  fire(timer: SimTimer): void {
    if (this.#timers.delete(timer)) timer.callback()
  }

  #schedule(timer: SimTimer): void {
    const wait = (timer.due - this.monotonic()) / this.#rate
    timer.happening = this.#world.in(Math.max(0, wait), () => {
      this.#due.push(timer)
      this.#onDue()
    })
  }
}
