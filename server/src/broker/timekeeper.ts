/**
 * Keeps every deadline of the broker in two heaps, with one timer for both.
 *
 * - Client deadlines use *compensated time*: the monotonic clock minus the time for which the
 *   broker itself was paused. A broker that was stopped for a minute did not listen in that minute,
 *   so the broker adds the minute to each deadline. Client deadlines are for leases (a client must
 *   send at least once in each lease), for ttls (a client must refresh a lock before its ttl ends),
 *   for the handshake, and for clients that read slowly.
 * - Broker timers (timeouts of requests, pings, closing connections) use the monotonic clock
 *   directly. A pause does not shift these timers, because a shift would make the timers even
 *   later.
 *
 * No deadline uses the wall clock. After a pause, a late timer fires before the event loop reads
 * the input that arrived during the pause. So the broker handles deadlines at the end of the turn
 * of the event loop, after that input.
 */
import { type Clock, DeadlineHeap, type Timer } from '@holdfast/shared'

/** The longest time between two checks whether the broker was paused, in ms. */
const pauseCheckMs = 250
/**
 * How many deadlines and effects of deadlines the broker handles in one turn. Then the broker reads
 * the input that has arrived, and handles more deadlines in the next turn.
 */
const maxPerTurn = 1_000
/**
 * A timer that is late by at most this many ms does not count as a pause, because timers are never
 * exact. The lease of a client has a margin that covers this lateness.
 */
const toleratedLatenessMs = 100

/** Handles each deadline that has passed. */
export interface DeadlineListener<ClientSubject extends object, TimerSubject extends object> {
  /** A client has missed the client deadline of this lock, session or connection. */
  onClientDeadline(subject: ClientSubject): void
  /** The broker timer of this subject has ended. */
  onBrokerTimer(subject: TimerSubject): void
}

export interface TimekeeperDeps {
  readonly clock: Clock
  readonly endOfTurn: (callback: () => void) => void
  /**
   * Counts the effects on the lock table, so that a turn handles no more than {@link maxPerTurn}.
   */
  readonly liveTable?: { readonly effectCount: number }
}

const noEffects = { effectCount: 0 }

export class Timekeeper<ClientSubject extends object, TimerSubject extends object> {
  readonly #clock: Clock
  readonly #endOfTurn: (callback: () => void) => void
  readonly #liveTable: { readonly effectCount: number }
  readonly #clientDeadlines = new DeadlineHeap<ClientSubject>()
  readonly #brokerTimers = new DeadlineHeap<TimerSubject>()
  /**
   * How long the broker was paused so far, in ms. Compensated time is the clock minus this time.
   */
  #pausedMs = 0
  #listener: DeadlineListener<ClientSubject, TimerSubject> | undefined
  #timer: Timer | undefined
  /** When the timer must fire, by the monotonic clock; Infinity without a timer. */
  #wakeAt = Number.POSITIVE_INFINITY
  /** Whether the end of this turn handles the passed deadlines, so that no timer is needed. */
  #isHandling = false
  #isStopped = false

  constructor({ clock, endOfTurn, liveTable = noEffects }: TimekeeperDeps) {
    this.#clock = clock
    this.#endOfTurn = endOfTurn
    this.#liveTable = liveTable
  }

  /** Sets the handler of deadlines. Call this method once, before the first deadline is set. */
  listen(listener: DeadlineListener<ClientSubject, TimerSubject>): void {
    this.#listener = listener
  }

  /** Compensated time, in ms. Client deadlines and `at` in messages use this time. */
  now(): number {
    return this.#realNow() - this.#pausedMs
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

  /** The client deadline of a subject, in compensated time; undefined if there is none. */
  clientDeadlineOf(subject: ClientSubject): number | undefined {
    return this.#clientDeadlines.dueAt(subject)
  }

  /** Sets or moves the broker timer of a subject to `ms` from now, in uncompensated time. */
  setTimer(subject: TimerSubject, ms: number): void {
    const at = this.#realNow() + ms
    this.#brokerTimers.set(subject, at)
    this.#wakeBy(at)
  }

  /** Clears the broker timer of a subject, if there is one. */
  clearTimer(subject: TimerSubject): void {
    this.#brokerTimers.delete(subject)
  }

  /**
   * Handles the broker timers and client deadlines that have passed.
   *
   * @param limit Most deadlines and effects of deadlines to handle. Default: no limit.
   * @returns Whether every passed deadline was handled.
   */
  run(limit = Number.POSITIVE_INFINITY): boolean {
    // The whole call uses the same time. So if a handler sets a deadline again, that deadline waits
    // for the next call.
    const realNow = this.#realNow()
    let handledCount = 0
    const effectsBefore = this.#liveTable.effectCount
    const isBelowLimit = (): boolean =>
      handledCount + this.#liveTable.effectCount - effectsBefore < limit
    for (; isBelowLimit(); handledCount++) {
      const subject = this.#brokerTimers.popDue(realNow)
      if (subject === undefined) break
      this.#listener?.onBrokerTimer(subject)
    }
    const compensatedNow = realNow - this.#pausedMs
    for (; isBelowLimit(); handledCount++) {
      const subject = this.#clientDeadlines.popDue(compensatedNow)
      if (subject === undefined) break
      this.#listener?.onClientDeadline(subject)
    }
    return isBelowLimit()
  }

  /** Stops the timer for good. */
  stop(): void {
    this.#isStopped = true
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#clock.clearTimer(this.#timer)
  }

  /**
   * Reads the monotonic clock, and counts a pause of the broker. This class reads the clock only by
   * this method, so that every pause is counted before a time is used. Compensated time never
   * goes back.
   */
  #realNow(): number {
    const realNow = this.#clock.monotonic()
    const lateMs = realNow - this.#wakeAt
    if (lateMs > toleratedLatenessMs) {
      this.#pausedMs += lateMs
      this.#wakeAt = realNow
    }
    return realNow
  }

  /** Sets the timer to fire at `at` by the monotonic clock, unless it fires earlier. */
  #wakeBy(at: number): void {
    if (at >= this.#wakeAt || this.#isHandling || this.#isStopped) return
    this.#clock.clearTimer(this.#timer)
    const now = this.#realNow()
    this.#wakeAt = Math.min(at, now + pauseCheckMs)
    this.#timer = this.#clock.setTimer(this.#onTimer, Math.max(0, Math.ceil(this.#wakeAt - now)))
  }

  readonly #onTimer = (): void => {
    // If the rest of this turn takes long, that time counts as a pause too.
    this.#wakeAt = this.#realNow()
    this.#isHandling = true
    this.#endOfTurn(this.#handleDue)
  }

  readonly #handleDue = (): void => {
    if (this.#isStopped) return
    if (!this.run(maxPerTurn)) {
      // Thousands of locks may have the same deadline. The input of other clients goes first.
      this.#wakeAt = this.#realNow()
      this.#endOfTurn(this.#handleDue)
      return
    }
    this.#isHandling = false
    this.#wakeAt = Number.POSITIVE_INFINITY
    // Wakes at least once per `pauseCheckMs`, to notice a pause between two distant deadlines.
    if (this.#clientDeadlines.size + this.#brokerTimers.size > 0) {
      this.#wakeBy(Math.min(this.#brokerTimers.next, this.#clientDeadlines.next + this.#pausedMs))
    }
  }
}
