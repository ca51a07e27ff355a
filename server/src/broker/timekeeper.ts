/**
 * The broker's sense of time: every deadline of the broker in two ordered structures with one
 * timer.
 *
 * - What clients owe the broker (leases, ttls, a hello, reading what they are sent) is kept in
 *   *patient* time, which stands still while the broker itself was late: a broker that was stopped
 *   for a minute has waited for nobody in that minute.
 * - What the broker owes (timeouts, pings, closing what it said it would close) is kept in real
 *   time:
 *   being late is no reason to be later.
 *
 * Both are monotonic; the calendar is never asked. Before anybody is judged, everything that had
 * already arrived is handled: a timer that fires late, as after a stop, runs before the input that
 * was waiting, so judgement is put off to the end of the turn.
 */
import { type Clock, DeadlineHeap, type Timer } from '@holdfast/shared'

/** How often the broker looks whether it was stopped, in ms. */
const tickMs = 250
/**
 * How many deadlines, and effects of the lock table that they have, are handled in one turn before
 * the input that has arrived has its turn.
 */
const mostInOneTurn = 1_000
/** Lateness that is ordinary, in ms: timers are never exact, and a lease has room for this. */
const ordinaryLatenessMs = 100

/** Is told of each deadline that has passed. */
export interface DeadlineListener<Debtor extends object, Claim extends object> {
  /** A client has not done in time what it must do. */
  onClientDeadline(debtor: Debtor): void
  /** The broker must now do what it set a timer for. */
  onBrokerTimer(claim: Claim): void
}

export interface TimekeeperDeps {
  readonly clock: Clock
  readonly endOfTurn: (callback: () => void) => void
  /** Counts the effects of deadlines on the lock table, which limit how many a turn handles. */
  readonly table?: { readonly effectCount: number }
}

const noTable = { effectCount: 0 }

export class Timekeeper<Debtor extends object, Claim extends object> {
  readonly #clock: Clock
  readonly #endOfTurn: (callback: () => void) => void
  readonly #table: { readonly effectCount: number }
  readonly #clientDeadlines = new DeadlineHeap<Debtor>()
  readonly #brokerTimers = new DeadlineHeap<Claim>()
  /** How far patient time is behind, in ms. */
  #behindMs = 0
  #listener: DeadlineListener<Debtor, Claim> | undefined
  #timer: Timer | undefined
  #wakeAt = Number.POSITIVE_INFINITY
  #isHandling = false
  #stopped = false

  constructor({ clock, endOfTurn, table = noTable }: TimekeeperDeps) {
    this.#clock = clock
    this.#endOfTurn = endOfTurn
    this.#table = table
  }

  /** Sets who is told of deadlines; to be called once, before the first deadline is set. */
  listen(listener: DeadlineListener<Debtor, Claim>): void {
    this.#listener = listener
  }

  /** Patient time, in ms: what `at` in messages is, and what clients' deadlines are set in. */
  now(): number {
    return this.#realNow() - this.#behindMs
  }

  /** How much time of its own lateness the broker has forgiven its clients so far, in ms. */
  get pausedMs(): number {
    return this.#behindMs
  }

  /** A client has until `at`, in patient time. */
  setClientDeadline(debtor: Debtor, at: number): void {
    this.#clientDeadlines.set(debtor, at)
    this.#wakeBy(at + this.#behindMs)
  }

  /** The client has done what was expected, or it no longer matters. */
  clearClientDeadline(debtor: Debtor): void {
    this.#clientDeadlines.delete(debtor)
  }

  /** Until when the client has, in patient time; undefined if nothing is expected. */
  clientDeadlineOf(debtor: Debtor): number | undefined {
    return this.#clientDeadlines.dueAt(debtor)
  }

  /** The broker will do this in `ms`, real time. */
  setTimer(claim: Claim, ms: number): void {
    const at = this.#realNow() + ms
    this.#brokerTimers.set(claim, at)
    this.#wakeBy(at)
  }

  /** It is done or no longer wanted. */
  clearTimer(claim: Claim): void {
    this.#brokerTimers.delete(claim)
  }

  /**
   * Does at once what is due now.
   *
   * @param most How many deadlines and effects of theirs; all by default.
   * @returns Whether that was all.
   */
  run(most = Number.POSITIVE_INFINITY): boolean {
    // Each round ends with what was due when it began, so that what is set again waits its turn.
    const real = this.#realNow()
    let handled = 0
    const before = this.#table.effectCount
    const hasTime = (): boolean => handled + this.#table.effectCount - before < most
    for (; hasTime(); handled++) {
      const claim = this.#brokerTimers.popDue(real)
      if (claim === undefined) break
      this.#listener?.onBrokerTimer(claim)
    }
    const patient = real - this.#behindMs
    for (; hasTime(); handled++) {
      const debtor = this.#clientDeadlines.popDue(patient)
      if (debtor === undefined) break
      this.#listener?.onClientDeadline(debtor)
    }
    return hasTime()
  }

  /** No timer is left behind. */
  stop(): void {
    this.#stopped = true
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#clock.clearTimer(this.#timer)
  }

  /**
   * Every look at the clock comes through here, so that lateness is forgiven before anything is
   * judged or dated by the time it took: patient time never goes back.
   */
  #realNow(): number {
    const real = this.#clock.monotonic()
    const lateMs = real - this.#wakeAt
    if (lateMs > ordinaryLatenessMs) {
      this.#behindMs += lateMs
      this.#wakeAt = real
    }
    return real
  }

  #wakeBy(at: number): void {
    if (at >= this.#wakeAt || this.#isHandling || this.#stopped) return
    this.#clock.clearTimer(this.#timer)
    const now = this.#realNow()
    this.#wakeAt = Math.min(at, now + tickMs)
    this.#timer = this.#clock.setTimer(this.#onTimer, Math.max(0, Math.ceil(this.#wakeAt - now)))
  }

  readonly #onTimer = (): void => {
    // From here to the end of the turn is lateness too, if it takes long.
    this.#wakeAt = this.#realNow()
    this.#isHandling = true
    this.#endOfTurn(this.#handleDue)
  }

  readonly #handleDue = (): void => {
    if (this.#stopped) return
    if (!this.run(mostInOneTurn)) {
      // A client may have given thousands of locks one deadline: others have their turn in between.
      this.#wakeAt = this.#realNow()
      this.#endOfTurn(this.#handleDue)
      return
    }
    this.#isHandling = false
    this.#wakeAt = Number.POSITIVE_INFINITY
    // Without this tick a stop between two far deadlines would pass unseen.
    if (this.#clientDeadlines.size + this.#brokerTimers.size > 0) {
      this.#wakeBy(Math.min(this.#brokerTimers.next, this.#clientDeadlines.next + this.#behindMs))
    }
  }
}
