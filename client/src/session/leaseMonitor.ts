/**
 * Watches the lease of a session. The lease is the time for which the broker keeps a session
 * without hearing from the client. The monitor reports three moments:
 * - A part of the lease has passed without a sign that the broker has received a message. The
 *   client must then send a `pong`, without waiting for a `ping`. The broker answers each `pong`
 *   with an `ack`, and sends a `ping` only if the `pong` is late. An early `pong` thus saves the
 *   broker the `ping`.
 * - Half of the lease has passed without such a sign, although the client sent a `pong` at least a
 *   tenth of the lease ago. The client must then try another connection.
 * - The lease is over. The client must then assume that the broker has ended the session.
 *
 * Only a message *to* the broker extends the lease. When the client learns that the broker has
 * received a message, the lease counts anew from the sending of that message. The arrival of a
 * message *from* the broker is not enough, because a connection may be dead in one direction only.
 *
 * An idle session may ask for the idle lease in its `pong`: the broker then keeps the session for
 * twice its lease. The idle lease counts only if the session is still idle when the client learns
 * that this `pong` has arrived. The idle lease ends when the client learns that a newer message has
 * arrived. A grant shows that the lock request has arrived. So a grant always ends the idle lease,
 * and the ordinary lease applies to every lock.
 *
 * The grace is the time for which the broker keeps a session after its connection dropped. A resume
 * continues the session on a new connection. `ping` and `pong` are messages of Holdfast, and not
 * control frames of WebSocket.
 */

import { type Expiry, earlier, expiryFrom, hasPassed } from '../locks/expiry.js'
import type { ClockTimes } from '../platform/environment.js'
import type { Scheduler, Task } from '../platform/scheduler.js'

/**
 * The part of the lease after which the client sends a `pong` if the session holds or waits for
 * something. The broker would send a `ping` after half of the lease.
 */
const nonIdlePart = 0.4
/**
 * The part of the lease, or of the idle lease, after which the client sends a `pong` if the session
 * is idle. The broker would send a `ping` after two thirds of that lease.
 */
const idlePart = 0.6
/** The idle lease is the lease times this factor. */
const idleLeaseFactor = 2

export interface LeaseListener {
  /** The lease is over: the broker may have granted the locks of the session to other sessions. */
  onLeaseOver(): void
  /** Must send a `pong` without a `ping`, and call {@link LeaseMonitor.onPong}. */
  sendPong(): void
  /** Half of the lease or more has passed without a sign that the broker has received a message. */
  onSilence(): void
  /** Whether the session holds nothing and waits for nothing. */
  readonly isIdle: boolean
}

export class LeaseMonitor {
  readonly #scheduler: Scheduler
  readonly #listener: LeaseListener
  readonly #leaseOverTask: Task = { onDue: () => this.#checkLease() }
  readonly #heartbeatTask: Task = { onDue: () => this.#checkHeartbeat() }
  readonly #silenceTask: Task = { onDue: () => this.#checkSilence() }
  #leaseMs = 0
  /** When the client must treat the session as ended; undefined without a session. */
  #expiry: Expiry | undefined
  /**
   * The time for which `#leaseOverTask` is scheduled, never later than `#expiry`; undefined if the
   * task is not scheduled.
   */
  #scheduledExpiry: Expiry | undefined
  /**
   * When the client sent the newest message that is known to have reached the broker. The lease
   * counts from this time.
   */
  #leaseStart: ClockTimes | undefined
  /** Whether the lease that counts from `#leaseStart` is the idle lease. */
  #hasIdleLease = false
  /** When the client learned that the message of `#leaseStart` had arrived (monotonic clock). */
  #arrivalKnownAt = 0
  /**
   * When the client sent the `pong` whose `ack` the check for silence awaits (monotonic clock). The
   * check awaits an `ack` only if this time is later than `#arrivalKnownAt`.
   */
  #pongSentAt = Number.NEGATIVE_INFINITY
  /** Whether to report silence. False if the session cannot be resumed on another connection. */
  #watchesSilence = false
  /** Whether the client knows which locks the session holds; false during a resume. */
  #knowsLocks = true
  /** Whether the last check for silence ran late. A second check must then confirm the silence. */
  #checkRanLate = false

  constructor(scheduler: Scheduler, listener: LeaseListener) {
    this.#scheduler = scheduler
    this.#listener = listener
  }

  /**
   * Begins a new session, whose `hello` was sent at `sentAt`.
   * @param watchesSilence False if the session cannot be resumed on another connection.
   */
  start(lease: number, sentAt: ClockTimes, watchesSilence: boolean): void {
    this.#leaseMs = lease
    this.#knowsLocks = true
    this.#hasIdleLease = false
    this.#watchesSilence = watchesSilence
    this.extend(sentAt)
    this.#startHeartbeat(this.#arrivalKnownAt)
  }

  /**
   * Begins the resume of the session by a `hello` that was sent at `sentAt`. The expiry stays
   * unchanged until `onResumed`. With a later expiry, the client could keep locks that the session
   * lost while the connection was gone.
   */
  resume(sentAt: ClockTimes): void {
    this.#knowsLocks = false
    this.extend(sentAt)
    this.#startHeartbeat(this.#arrivalKnownAt)
  }

  /** Ends the resume: the client now knows which locks the session holds. */
  onResumed(): void {
    this.#knowsLocks = true
    this.#hasIdleLease = false
    if (this.#leaseStart !== undefined) this.#setExpiry(expiryFrom(this.#leaseStart, this.#leaseMs))
  }

  /** How long the session surely lasts if no further message reaches the broker, in ms. */
  get leftMs(): number {
    if (this.#expiry === undefined) return 0
    const { monotonic, wall } = this.#scheduler.now()
    return Math.max(0, Math.min(this.#expiry.monotonic - monotonic, this.#expiry.wall - wall))
  }

  /**
   * Call when a message has reached the broker. Counts the lease from the sending of the message,
   * `sentAt`. During a resume, leaves the expiry unchanged.
   */
  extend(sentAt: ClockTimes): void {
    // All messages of one write share one `ClockTimes` object, so many calls pass the same object.
    if (sentAt === this.#leaseStart && !this.#hasIdleLease) return
    this.#leaseStart = sentAt
    // `checkedAt` is the time at which the client began to handle the present frame.
    this.#arrivalKnownAt = this.#scheduler.checkedAt
    if (this.#hasIdleLease) {
      this.#hasIdleLease = false
      // Moves the next check to the first time at which the ordinary lease can need a `pong`.
      this.#startHeartbeat(this.#arrivalKnownAt)
    }
    if (this.#knowsLocks) this.#setExpiry(expiryFrom(sentAt, this.#leaseMs))
  }

  /**
   * As {@link extend}, for a `pong` that asked for the idle lease. If the session is not idle any
   * more, the ordinary lease counts.
   */
  extendByIdlePong(sentAt: ClockTimes): void {
    this.extend(sentAt)
    if (!this.#knowsLocks || !this.#listener.isIdle) return
    this.#hasIdleLease = true
    this.#setExpiry(expiryFrom(sentAt, this.#leaseMs * idleLeaseFactor))
  }

  /**
   * Call when the connection is gone. From now on the broker keeps the session at most for the
   * grace. So the expiry moves to the end of the grace, unless the expiry is earlier already.
   */
  limitToGrace(grace: number): void {
    this.#stopHeartbeat()
    const graceEnd = expiryFrom(this.#scheduler.now(), grace)
    this.#setExpiry(this.#expiry === undefined ? graceEnd : earlier(this.#expiry, graceEnd))
  }

  /** Stops watching, because the session is over. */
  stop(): void {
    this.#stopHeartbeat()
    this.#scheduler.cancel(this.#leaseOverTask)
    this.#expiry = undefined
    this.#scheduledExpiry = undefined
  }

  /**
   * Sets when the lease is over. Nearly every frame makes the expiry later. The task then stays
   * where it is, because moving the task costs time; `#checkLease` schedules it again.
   */
  #setExpiry(expiry: Expiry): void {
    this.#expiry = expiry
    const scheduled = this.#scheduledExpiry
    const isEarlyEnough =
      scheduled !== undefined &&
      scheduled.monotonic <= expiry.monotonic &&
      scheduled.wall <= expiry.wall
    if (!isEarlyEnough) this.#scheduleCheck(expiry)
  }

  #scheduleCheck(expiry: Expiry): void {
    this.#scheduledExpiry = expiry
    this.#scheduler.atExpiry(this.#leaseOverTask, expiry)
  }

  #checkLease(): void {
    this.#scheduledExpiry = undefined
    if (this.#expiry === undefined) return
    if (hasPassed(this.#expiry, this.#scheduler.now())) this.#listener.onLeaseOver()
    else this.#scheduleCheck(this.#expiry)
  }

  /** Call when the client sends a `pong`, whether or not the `pong` answers a `ping`. */
  onPong(): void {
    const now = this.#scheduler.monotonic()
    this.#startHeartbeat(now)
    // The second condition: the check for silence waits for an earlier `pong` already.
    if (!this.#watchesSilence || this.#pongSentAt > this.#arrivalKnownAt) return
    this.#pongSentAt = now
    this.#checkRanLate = false
    this.#scheduler.at(this.#silenceTask, this.#silenceDueAt)
  }

  /** By when the client must have the `ack` for the `pong` that was sent at `#pongSentAt`. */
  get #silenceDueAt(): number {
    return Math.max(this.#arrivalKnownAt + this.#leaseMs / 2, this.#pongSentAt + this.#leaseMs / 10)
  }

  /**
   * Schedules the next `pong`, at `nonIdlePart` of the lease after `since`. For an idle session,
   * `#checkHeartbeat` postpones that `pong`.
   */
  #startHeartbeat(since: number): void {
    this.#scheduler.at(this.#heartbeatTask, since + this.#leaseMs * nonIdlePart)
  }

  #stopHeartbeat(): void {
    this.#scheduler.cancel(this.#heartbeatTask)
    this.#scheduler.cancel(this.#silenceTask)
  }

  #checkHeartbeat(): void {
    const now = this.#scheduler.monotonic()
    const due = this.#arrivalKnownAt + this.#heartbeatMs
    if (due <= now) this.#listener.sendPong()
    // Nothing tells the monitor when an idle session sends a request. So in the idle lease, the
    // monitor checks as often as for a session that is not idle.
    else this.#scheduler.at(this.#heartbeatTask, Math.min(due, now + this.#leaseMs * nonIdlePart))
  }

  /** The time from the newest known arrival of a message until the next `pong`, in ms. */
  get #heartbeatMs(): number {
    if (!this.#listener.isIdle) return this.#leaseMs * nonIdlePart
    return this.#leaseMs * idlePart * (this.#hasIdleLease ? idleLeaseFactor : 1)
  }

  #checkSilence(): void {
    if (this.#pongSentAt <= this.#arrivalKnownAt) return
    const now = this.#scheduler.monotonic()
    const tenth = this.#leaseMs / 10
    if (now > this.#silenceDueAt + tenth && !this.#checkRanLate) {
      // The check ran late by more than a tenth of the lease, so the process was suspended for a
      // while. The client may not have read all frames that have arrived, so check once more.
      this.#checkRanLate = true
      this.#scheduler.at(this.#silenceTask, now + tenth)
    } else {
      this.#listener.onSilence()
    }
  }
}
