/**
 * Watches the lease of a session. The lease is the time for which the broker keeps a session
 * without hearing from the client. The monitor reports two moments:
 * - The lease is over: the client must assume that the broker has ended the session.
 * - For half a lease, no message is known to have reached the broker: the client must try another
 *   connection.
 *
 * Only a message *to* the broker extends the lease, counted from its sending, once the client knows
 * that the broker has received that message. The arrival of a message *from* the broker is not
 * enough, because a connection may be dead in one direction only.
 *
 * The grace is the time for which the broker keeps a session after its connection dropped. A resume
 * continues the session on a new connection.
 */

import { type Expiry, earlier, expiryFrom } from '../locks/expiry.js'
import type { ClockTimes } from '../platform/environment.js'
import type { Scheduler, Task } from '../platform/scheduler.js'

export interface LeaseListener {
  /** The lease is over: the broker may have granted the locks of the session to other sessions. */
  onLeaseOver(): void
  /** For half a lease, no message of the client is known to have reached the broker. */
  onSilence(): void
}

export class LeaseMonitor {
  readonly #scheduler: Scheduler
  readonly #listener: LeaseListener
  readonly #leaseOverTask: Task = { onDue: () => this.#listener.onLeaseOver() }
  readonly #silenceTask: Task = { onDue: () => this.#checkSilence() }
  #leaseMs = 0
  /** When the client must treat the session as ended; undefined without a session. */
  #expiry: Expiry | undefined
  /** When the client sent the newest message that is known to have reached the broker. */
  #lastArrivedSentAt: ClockTimes | undefined
  /** When the client learned that this message had arrived, by the monotonic clock. */
  #arrivalKnownAt = 0
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
   * @param watchesSilence False for a session that another connection could not resume.
   */
  start(lease: number, sentAt: ClockTimes, watchesSilence: boolean): void {
    this.#leaseMs = lease
    this.#knowsLocks = true
    this.extend(sentAt)
    if (watchesSilence) this.#watchSilence()
  }

  /**
   * Begins the resume of the session by a `hello` that was sent at `sentAt`. The session may have
   * lost locks while the connection was gone, so the expiry must not move before `onResumed`.
   */
  resume(sentAt: ClockTimes): void {
    this.#knowsLocks = false
    this.extend(sentAt)
    this.#watchSilence()
  }

  /** Ends the resume: the client now knows which locks the session holds. */
  onResumed(): void {
    this.#knowsLocks = true
    if (this.#lastArrivedSentAt !== undefined)
      this.#setExpiry(expiryFrom(this.#lastArrivedSentAt, this.#leaseMs))
  }

  /** How long the session surely lasts if no further message reaches the broker, in ms. */
  get leftMs(): number {
    if (this.#expiry === undefined) return 0
    const { monotonic, wall } = this.#scheduler.now()
    return Math.max(0, Math.min(this.#expiry.monotonic - monotonic, this.#expiry.wall - wall))
  }

  /** Counts the lease from `sentAt`: a message that was sent then has reached the broker. */
  extend(sentAt: ClockTimes): void {
    // All messages of one write share one `ClockTimes` object, so many calls pass the same object.
    if (sentAt === this.#lastArrivedSentAt) return
    this.#lastArrivedSentAt = sentAt
    this.#arrivalKnownAt = this.#scheduler.monotonic()
    if (this.#knowsLocks) this.#setExpiry(expiryFrom(sentAt, this.#leaseMs))
  }

  /**
   * The connection is gone. From now on the broker keeps the session at most for the grace. So the
   * expiry moves to the end of the grace, unless it is earlier already.
   */
  limitToGrace(grace: number): void {
    this.#scheduler.cancel(this.#silenceTask)
    const graceEnd = expiryFrom(this.#scheduler.now(), grace)
    this.#setExpiry(this.#expiry === undefined ? graceEnd : earlier(this.#expiry, graceEnd))
  }

  /** Stops watching, because the session is over. */
  stop(): void {
    this.#scheduler.cancel(this.#silenceTask)
    this.#scheduler.cancel(this.#leaseOverTask)
    this.#expiry = undefined
  }

  #setExpiry(expiry: Expiry): void {
    this.#expiry = expiry
    this.#scheduler.atExpiry(this.#leaseOverTask, expiry)
  }

  #watchSilence(): void {
    this.#checkRanLate = false
    this.#scheduler.at(this.#silenceTask, this.#arrivalKnownAt + this.#leaseMs / 2)
  }

  #checkSilence(): void {
    const now = this.#scheduler.monotonic()
    const silentMs = now - this.#arrivalKnownAt
    if (silentMs < this.#leaseMs / 2) {
      this.#watchSilence()
    } else if (silentMs > this.#leaseMs * 0.6 && !this.#checkRanLate) {
      // The check was due after half a lease and ran later, so the process was stopped for a while.
      // The client may not have read all frames that have arrived, so it checks once more.
      this.#checkRanLate = true
      this.#scheduler.at(this.#silenceTask, now + this.#leaseMs / 10)
    } else {
      this.#listener.onSilence()
    }
  }
}
