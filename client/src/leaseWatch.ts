/**
 * Watches over the lease of a session: when it has to be taken for over, and when the broker has
 * been silent for so long that it is time to try another connection.
 */
import { type Bound, boundFrom, earlier, type Stamp } from './lease.js'
import type { Schedule, Task } from './schedule.js'

export interface LeaseListener {
  /** The broker may have ended the session, and given its locks to others. */
  onLeaseOver(): void
  /** Half a lease without a frame. */
  onSilence(): void
}

export class LeaseWatch {
  readonly #schedule: Schedule
  readonly #listener: LeaseListener
  readonly #end: Task = { run: () => this.#listener.onLeaseOver() }
  readonly #silence: Task = { run: () => this.#onSilence() }
  #ttl = 0
  #bound: Bound | undefined
  #lastFrameAt = 0
  /** Whether silence was found late, so that it has to be found once more to count. */
  #isUnsure = false

  constructor(schedule: Schedule, listener: LeaseListener) {
    this.#schedule = schedule
    this.#listener = listener
  }

  /** A connection is up whose hello was sent at `sent`; a session with a grace minds silence. */
  start(ttl: number, sent: Stamp, mindsSilence: boolean): void {
    this.#ttl = ttl
    this.#lastFrameAt = this.#schedule.now().monotonic
    this.extend(sent)
    if (mindsSilence) this.#listen()
  }

  /** For how long the session can be relied on if nothing more is heard, in ms. */
  get left(): number {
    if (this.#bound === undefined) return 0
    const { monotonic, wall } = this.#schedule.now()
    return Math.max(0, Math.min(this.#bound.monotonic - monotonic, this.#bound.wall - wall))
  }

  onFrame(): void {
    this.#lastFrameAt = this.#schedule.now().monotonic
  }

  /** Something sent at this time has arrived: the lease counts from there. */
  extend(sent: Stamp): void {
    this.#set(boundFrom(sent, this.#ttl))
  }

  /** The connection is gone: the lease goes on, but not beyond the grace. */
  leaveFor(grace: number): void {
    this.#schedule.cancel(this.#silence)
    const graceEnd = boundFrom(this.#schedule.now(), grace)
    this.#set(this.#bound === undefined ? graceEnd : earlier(this.#bound, graceEnd))
  }

  /** The session is over. */
  stop(): void {
    this.#schedule.cancel(this.#silence)
    this.#schedule.cancel(this.#end)
    this.#bound = undefined
  }

  #set(bound: Bound): void {
    this.#bound = bound
    this.#schedule.by(this.#end, bound)
  }

  #listen(): void {
    this.#isUnsure = false
    this.#schedule.at(this.#silence, this.#lastFrameAt + this.#ttl / 2)
  }

  #onSilence(): void {
    const { monotonic } = this.#schedule.now()
    const silentMs = monotonic - this.#lastFrameAt
    if (silentMs < this.#ttl / 2) {
      this.#listen()
    } else if (silentMs > this.#ttl * 0.6 && !this.#isUnsure) {
      // It was us who did not run, and frames may be waiting to be read.
      this.#isUnsure = true
      this.#schedule.at(this.#silence, monotonic + this.#ttl / 20)
    } else {
      this.#listener.onSilence()
    }
  }
}
