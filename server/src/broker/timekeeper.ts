/**
 * Keeps every deadline of the broker in two heaps, with one timer for both.
 *
 * - Client deadlines use *compensated time*: the monotonic clock minus the time for which the
 *   broker itself was paused. A broker that was paused for a minute did not listen in that minute,
 *   so every client gets a minute more. Client deadlines are for leases, ttls, the handshake, and
 *   clients that read slowly. (A client must send at least once in each lease, and must refresh a
 *   lock before its ttl ends.)
 * - Broker timers (timeouts of requests, pings, closing connections) use the monotonic clock
 *   directly. A pause does not shift these timers, because a shift would make the timers even
 *   later.
 *
 * No deadline uses the wall clock. After a pause, a late timer fires before the event loop reads
 * the input that arrived during the pause. So the broker handles deadlines at the end of the turn
 * of the event loop, after that input.
 *
 * A hundred thousand deadlines may pass in the same millisecond. So each turn has a work budget for
 * deadlines, and the other deadlines wait for the next turns, in the order of their times. Between
 * two turns the event loop reads the messages of the clients. Work for deadlines also uses up the
 * budget that all connections share. So the more deadlines the clients cause, the fewer of their
 * messages the broker handles.
 */
import { type Clock, DeadlineHeap, type Timer } from '@holdfast/shared'
import { costs, turnBudget, unitsPerMs } from '../config/workCosts.js'

/** The longest time between two checks whether the broker was paused, in ms. */
const pauseCheckMs = 250
/**
 * A timer that is late by at most this many ms does not count as a pause, because timers are never
 * exact. The lease of a client has a margin that covers this lateness.
 */
const toleratedLatenessMs = 100

/**
 * Handles each deadline that has passed. Each method returns the units of work (see `workCosts.ts`)
 * that the deadline caused besides its effects on the lock table.
 */
export interface DeadlineListener<ClientSubject extends object, TimerSubject extends object> {
  /** A client has missed the client deadline of this lock, session or connection. */
  onClientDeadline(subject: ClientSubject): number
  /** The broker timer of this subject has ended. */
  onBrokerTimer(subject: TimerSubject): number
}

export interface TimekeeperDeps {
  readonly clock: Clock
  /** Calls back after the broker has handled all input that has already arrived in this turn. */
  readonly endOfTurn: (callback: () => void) => void
  /** Counts the work for effects on the lock table, which uses up the budget of the turn. */
  readonly workCounter?: { readonly workUnits: number }
  /** Subtracts the work for deadlines from the budget that all connections share. */
  readonly scheduler?: { spend(units: number): void }
}

const noWork = { workUnits: 0 }
const noScheduler = { spend: () => {} }

export class Timekeeper<ClientSubject extends object, TimerSubject extends object> {
  readonly #clock: Clock
  readonly #endOfTurn: (callback: () => void) => void
  readonly #workCounter: { readonly workUnits: number }
  readonly #scheduler: { spend(units: number): void }
  readonly #clientDeadlines = new DeadlineHeap<ClientSubject>()
  readonly #brokerTimers = new DeadlineHeap<TimerSubject>()
  /**
   * How long the broker was paused so far, in ms. Compensated time is the clock minus this time.
   */
  #pausedMs = 0
  /** The newest time that `now` has returned. */
  #newestNow = Number.NEGATIVE_INFINITY
  #listener: DeadlineListener<ClientSubject, TimerSubject> | undefined
  #timer: Timer | undefined
  /**
   * The time from which lateness counts, by the monotonic clock:
   *
   * - with a timer: the time when the timer must fire
   * - while `#isHandling` is true: the time when the broker began to wait for the end of the turn
   * - otherwise: Infinity
   *
   * When a pause is counted, this time becomes the present time.
   */
  #wakeAt = Number.POSITIVE_INFINITY
  /** Whether the end of this turn handles the passed deadlines, so that no timer is needed. */
  #isHandling = false
  #isStopped = false
  /** By how many units of work the previous turn with deadlines exceeded its budget. */
  #overdrawn = 0

  constructor(deps: TimekeeperDeps) {
    const { clock, endOfTurn, workCounter = noWork, scheduler = noScheduler } = deps
    this.#clock = clock
    this.#endOfTurn = endOfTurn
    this.#workCounter = workCounter
    this.#scheduler = scheduler
  }

  /** Sets the handler of deadlines. Call this method once, before the first deadline is set. */
  listen(listener: DeadlineListener<ClientSubject, TimerSubject>): void {
    this.#listener = listener
  }

  /**
   * Compensated time, in ms, which never goes back. Add a duration to this time to set a client
   * deadline. To decide whether such a deadline has passed, call {@link hasPassed}.
   *
   * While the timer is late within the tolerance, the lateness counts as elapsed time. Once the
   * lateness exceeds the tolerance, all of it becomes a pause, even the part that counted before.
   * So the clock minus the pauses may go back, by at most the tolerance. Until the clock minus the
   * pauses reaches the time that was returned before, this method returns that time again.
   */
  now(): number {
    this.#newestNow = Math.max(this.#newestNow, this.#realNow() - this.#pausedMs)
    return this.#newestNow
  }

  /**
   * Whether a client deadline at `at`, in compensated time, has passed. May return false for a time
   * that `now` has already returned, because the clock minus the pauses can go back.
   */
  hasPassed(at: number): boolean {
    return this.#realNow() - this.#pausedMs >= at
  }

  /** How long the broker was paused so far, in ms. Client deadlines were moved by this time. */
  get pausedMs(): number {
    return this.#pausedMs
  }

  /** Sets or moves the client deadline of a subject to `at`, in compensated time. */
  setClientDeadline(subject: ClientSubject, at: number): void {
    this.#clientDeadlines.set(subject, at)
    this.#wakeBy(at + this.#pausedMs)
  }

  /** Clears the client deadline of a subject, if there is one. */
  clearClientDeadline(subject: ClientSubject): void {
    this.#clientDeadlines.delete(subject)
  }

  /**
   * Clears the client deadline of a subject that will probably have no further client deadline.
   * Saves memory in comparison with {@link clearClientDeadline}.
   */
  forgetClientDeadline(subject: ClientSubject): void {
    this.#clientDeadlines.forget(subject)
  }

  /** The client deadline of a subject, in compensated time; undefined if there is none. */
  clientDeadlineOf(subject: ClientSubject): number | undefined {
    return this.#clientDeadlines.dueAt(subject)
  }

  /** Sets or moves the broker timer of a subject to `ms` from now, by the monotonic clock. */
  setTimer(subject: TimerSubject, ms: number): void {
    const at = this.#realNow() + ms
    this.#brokerTimers.set(subject, at)
    this.#wakeBy(at)
  }

  /** Time until the broker timer of a subject ends, in ms; undefined if there is none. */
  remainingOf(subject: TimerSubject): number | undefined {
    const at = this.#brokerTimers.dueAt(subject)
    return at === undefined ? undefined : Math.max(0, at - this.#realNow())
  }

  /** Clears the broker timer of a subject, if there is one. */
  clearTimer(subject: TimerSubject): void {
    this.#brokerTimers.delete(subject)
  }

  /** Handles all broker timers and client deadlines that have passed. */
  run(): void {
    this.#runWithin(Number.POSITIVE_INFINITY)
  }

  /** Stops the timer for good. */
  stop(): void {
    this.#isStopped = true
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#clock.clearTimer(this.#timer)
  }

  /**
   * Reads the monotonic clock, and counts a pause of the broker. All times of deadlines come from
   * this method, so that every pause is counted before a time is used.
   */
  #realNow(): number {
    const realNow = this.#clock.monotonic()
    const lateMs = realNow - this.#wakeAt
    if (lateMs > toleratedLatenessMs) {
      this.#pausedMs += lateMs
      // A later call must not count the same pause again.
      this.#wakeAt = realNow
    }
    return realNow
  }

  /** Makes the timer fire by `at` (monotonic clock), or after `pauseCheckMs` if that is earlier. */
  #wakeBy(at: number): void {
    if (at >= this.#wakeAt || this.#isHandling || this.#isStopped) return
    this.#clock.clearTimer(this.#timer)
    const realNow = this.#realNow()
    this.#wakeAt = Math.min(at, realNow + pauseCheckMs)
    const delay = Math.max(0, Math.ceil(this.#wakeAt - realNow))
    this.#timer = this.#clock.setTimer(this.#onTimer, delay)
  }

  readonly #onTimer = (): void => {
    // If the rest of this turn takes long, that time counts as a pause too.
    this.#wakeAt = this.#realNow()
    this.#isHandling = true
    this.#endOfTurn(this.#handleDue)
  }

  /** Handles passed deadlines within the budget of this turn. Leaves the rest for the next turn. */
  readonly #handleDue = (): void => {
    if (this.#isStopped) return
    const budget = turnBudget.deadlines - this.#overdrawn
    const usedUnits = this.#runWithin(budget)
    this.#overdrawn = Math.max(0, usedUnits - budget)
    this.#scheduler.spend(usedUnits)
    if (this.#hasDue()) {
      this.#wakeAt = this.#realNow()
      this.#endOfTurn(this.#handleDue)
      return
    }
    this.#isHandling = false
    this.#wakeAt = Number.POSITIVE_INFINITY
    // Without deadlines no pause matters, so there is no timer. Otherwise `#wakeBy` sets a timer of
    // at most `pauseCheckMs`, which notices a pause even if the next deadline is distant.
    if (this.#clientDeadlines.size + this.#brokerTimers.size > 0) {
      this.#wakeBy(Math.min(this.#brokerTimers.next, this.#clientDeadlines.next + this.#pausedMs))
    }
  }

  /**
   * Handles passed deadlines, the earliest first, until they have used up `maxUnits` units of work,
   * or the time that a turn may spend on deadlines. If `maxUnits` is Infinity, handles all passed
   * deadlines. The last deadline may exceed the budget, because the end of one session may release
   * thousands of locks.
   *
   * @returns The units that the deadlines used.
   */
  #runWithin(maxUnits: number): number {
    // The whole call uses the same time. So if a handler sets a deadline again, that deadline waits
    // for the next call.
    const realNow = this.#realNow()
    const now = realNow - this.#pausedMs
    // A turn also stops handling deadlines after the time that its budget usually takes.
    const endsAt = realNow + turnBudget.deadlines / unitsPerMs
    const unitsBefore = this.#workCounter.workUnits
    let unitsBesidesEffects = 0
    let usedUnits = 0
    while (usedUnits < maxUnits) {
      const handlerUnits = this.#handleNext(realNow, now)
      if (handlerUnits === undefined) break
      unitsBesidesEffects += costs.deadline + handlerUnits
      usedUnits = unitsBesidesEffects + this.#workCounter.workUnits - unitsBefore
      if (maxUnits < Number.POSITIVE_INFINITY && this.#clock.monotonic() >= endsAt) break
    }
    return usedUnits
  }

  /**
   * Handles the earliest deadline, if it has passed. Returns the units that its handler reports;
   * undefined if no deadline has passed.
   */
  #handleNext(realNow: number, now: number): number | undefined {
    const timers = this.#brokerTimers
    const deadlines = this.#clientDeadlines
    // The deadline that has been overdue longest comes first. The next deadline of an empty heap is
    // at Infinity.
    if (timers.next - realNow <= deadlines.next - now) {
      const subject = timers.popDue(realNow)
      return subject && (this.#listener?.onBrokerTimer(subject) ?? 0)
    }
    const subject = deadlines.popDue(now)
    return subject && (this.#listener?.onClientDeadline(subject) ?? 0)
  }

  /** Whether a deadline has passed and is not handled yet. */
  #hasDue(): boolean {
    const realNow = this.#realNow()
    return (
      this.#brokerTimers.next <= realNow || this.#clientDeadlines.next <= realNow - this.#pausedMs
    )
  }
}
