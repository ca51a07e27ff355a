/**
 * Watches over the lease of a session: when it has to be taken for over, and when the broker has
 * not heard us for so long that it is time to try another connection. That it speaks itself proves
 * nothing: a connection may be dead in one direction only.
 */
import { type ClockReading, type Expiry, earlier, expiryFrom } from '../locks/expiry.js'
import type { Scheduler, Task } from '../platform/scheduler.js'

export interface LeaseListener {
  /** The broker may have ended the session, and given its locks to others. */
  onLeaseOver(): void
  /** Half a lease in which nothing of ours was known to arrive. */
  onSilence(): void
}

export class LeaseMonitor {
  readonly #scheduler: Scheduler
  readonly #listener: LeaseListener
  readonly #end: Task = { run: () => this.#listener.onLeaseOver() }
  readonly #silence: Task = { run: () => this.#onSilence() }
  #lease = 0
  #bound: Expiry | undefined
  /** When the newest message was sent that is known to have arrived, and when that became known. */
  #arrived: ClockReading | undefined
  #knownAt = 0
  /** Whether it is known what the session still holds. */
  #isSettled = true
  /** Whether silence was found late, so that it has to be found once more to count. */
  #isUnsure = false

  constructor(schedule: Scheduler, listener: LeaseListener) {
    this.#scheduler = schedule
    this.#listener = listener
  }

  /** A session begins whose hello was sent at `sent`; one with a grace minds silence. */
  start(lease: number, sent: ClockReading, mindsSilence: boolean): void {
    this.#lease = lease
    this.#isSettled = true
    this.extend(sent)
    if (mindsSilence) this.#listen()
  }

  /**
   * It is taken up by a hello that was sent at `sent`. What it holds may have been taken away
   * meanwhile, so until that is told, in `settle`, nothing more may be believed than before.
   */
  resume(sent: ClockReading): void {
    this.#isSettled = false
    this.extend(sent)
    this.#listen()
  }

  /** It is known what the session holds. */
  settle(): void {
    this.#isSettled = true
    if (this.#arrived !== undefined) this.#set(expiryFrom(this.#arrived, this.#lease))
  }

  /** For how long the session can be relied on if nothing more is heard, in ms. */
  get left(): number {
    if (this.#bound === undefined) return 0
    const { monotonic, wall } = this.#scheduler.now()
    return Math.max(0, Math.min(this.#bound.monotonic - monotonic, this.#bound.wall - wall))
  }

  /** Something sent at this time has arrived: the lease counts from there. */
  extend(sent: ClockReading): void {
    // All that was sent in one write has one stamp, and each answer tells of it again.
    if (sent === this.#arrived) return
    this.#arrived = sent
    this.#knownAt = this.#scheduler.monotonic()
    if (this.#isSettled) this.#set(expiryFrom(sent, this.#lease))
  }

  /** The connection is gone: the lease goes on, but not beyond the grace. */
  leaveFor(grace: number): void {
    this.#scheduler.cancel(this.#silence)
    const graceEnd = expiryFrom(this.#scheduler.now(), grace)
    this.#set(this.#bound === undefined ? graceEnd : earlier(this.#bound, graceEnd))
  }

  /** The session is over. */
  stop(): void {
    this.#scheduler.cancel(this.#silence)
    this.#scheduler.cancel(this.#end)
    this.#bound = undefined
  }

  #set(bound: Expiry): void {
    this.#bound = bound
    this.#scheduler.by(this.#end, bound)
  }

  #listen(): void {
    this.#isUnsure = false
    this.#scheduler.at(this.#silence, this.#knownAt + this.#lease / 2)
  }

  #onSilence(): void {
    const now = this.#scheduler.monotonic()
    const silentMs = now - this.#knownAt
    if (silentMs < this.#lease / 2) {
      this.#listen()
    } else if (silentMs > this.#lease * 0.6 && !this.#isUnsure) {
      // It was us who did not run: frames may be waiting to be read, and our answer be heard.
      this.#isUnsure = true
      this.#scheduler.at(this.#silence, now + this.#lease / 10)
    } else {
      this.#listener.onSilence()
    }
  }
}
