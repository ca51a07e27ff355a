/**
 * Watches the lease of a session: when the session must be taken for over, and when the broker has
 * received nothing for so long that the client must try another connection. Messages *from* the
 * broker do not count, because a connection may be dead in one direction only.
 */

import { type Expiry, earlier, expiryFrom } from '../locks/expiry.js'
import type { ClockReading } from '../platform/environment.js'
import type { Scheduler, Task } from '../platform/scheduler.js'

export interface LeaseListener {
  /** The broker may have ended the session, and granted its locks to other sessions. */
  onLeaseOver(): void
  /** For half a lease no message of the client is known to have arrived. */
  onSilence(): void
}

export class LeaseMonitor {
  readonly #scheduler: Scheduler
  readonly #listener: LeaseListener
  readonly #end: Task = { run: () => this.#listener.onLeaseOver() }
  readonly #silence: Task = { run: () => this.#onSilence() }
  #lease = 0
  #expiry: Expiry | undefined
  /** When the newest message that is known to have arrived was sent. */
  #arrived: ClockReading | undefined
  /** When the client learned of that arrival, by the monotonic clock. */
  #knownAt = 0
  /** Whether the client knows which locks the session holds. */
  #isSettled = true
  /** Whether the check for silence ran late, so that a second check must confirm the silence. */
  #wasLate = false

  constructor(scheduler: Scheduler, listener: LeaseListener) {
    this.#scheduler = scheduler
    this.#listener = listener
  }

  /** A new session begins with a `hello` that was sent at `sent`. */
  start(lease: number, sent: ClockReading, watchesSilence: boolean): void {
    this.#lease = lease
    this.#isSettled = true
    this.extend(sent)
    if (watchesSilence) this.#watchSilence()
  }

  /**
   * The session is being resumed by a `hello` that was sent at `sent`. The session may have lost
   * locks meanwhile, so the expiry must not move before `settle`.
   */
  resume(sent: ClockReading): void {
    this.#isSettled = false
    this.extend(sent)
    this.#watchSilence()
  }

  /** The client knows which locks the resumed session holds. */
  onLocksKnown(): void {
    this.#isSettled = true
    if (this.#arrived !== undefined) this.#set(expiryFrom(this.#arrived, this.#lease))
  }

  /** How long the session lasts if the client hears nothing more, in ms. */
  get remainingMs(): number {
    if (this.#expiry === undefined) return 0
    const { monotonic, wall } = this.#scheduler.now()
    return Math.max(0, Math.min(this.#expiry.monotonic - monotonic, this.#expiry.wall - wall))
  }

  /** A message that was sent at this time has arrived, so the lease counts from there. */
  extend(sent: ClockReading): void {
    // Messages of one write have one clock reading, and each of their responses repeats it.
    if (sent === this.#arrived) return
    this.#arrived = sent
    this.#knownAt = this.#scheduler.monotonic()
    if (this.#isSettled) this.#set(expiryFrom(sent, this.#lease))
  }

  /** The connection is gone: the session lasts no longer than the grace. */
  limitTo(grace: number): void {
    this.#scheduler.cancel(this.#silence)
    const graceEnd = expiryFrom(this.#scheduler.now(), grace)
    this.#set(this.#expiry === undefined ? graceEnd : earlier(this.#expiry, graceEnd))
  }

  /** The session is over. */
  stop(): void {
    this.#scheduler.cancel(this.#silence)
    this.#scheduler.cancel(this.#end)
    this.#expiry = undefined
  }

  #set(expiry: Expiry): void {
    this.#expiry = expiry
    this.#scheduler.atExpiry(this.#end, expiry)
  }

  #watchSilence(): void {
    this.#wasLate = false
    this.#scheduler.at(this.#silence, this.#knownAt + this.#lease / 2)
  }

  #onSilence(): void {
    const now = this.#scheduler.monotonic()
    const silentMs = now - this.#knownAt
    if (silentMs < this.#lease / 2) {
      this.#watchSilence()
    } else if (silentMs > this.#lease * 0.6 && !this.#wasLate) {
      // This process did not run for a while, so frames may be waiting to be read.
      this.#wasLate = true
      this.#scheduler.at(this.#silence, now + this.#lease / 10)
    } else {
      this.#listener.onSilence()
    }
  }
}
