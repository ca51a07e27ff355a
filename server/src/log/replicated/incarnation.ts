/**
 * One life of a broker in the log: what it appends, one entry at a time, numbered, from its `join`
 * to its `leave` or to the end of its standing. An entry whose outcome is unknown is appended
 * again, the same, for as long as this life lasts; the next is made only when it is known to be in.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Batch } from './batch.js'
import type { Engine } from './engine.js'
import { encodeEntry, encodeSpeech, type Notices } from './entry.js'
import { heartbeatOf, Standing } from './standing.js'

/** Before an entry is appended again, in ms; doubled each time. */
const retryMs = { first: 20, most: 250 }

export interface IncarnationParts {
  readonly id: string
  readonly engine: Pick<Engine, 'append'>
  readonly clock: Clock
  readonly endOfTurn: (callback: () => void) => void
  readonly deadMs: number
  /** Where the commands come from. */
  readonly batch: Batch
  /** It has counted, and does not any more. */
  readonly onLapse: () => void
  /** Appending goes wrong, and why; or goes well again. */
  readonly onTrouble: (why: string | undefined) => void
}

export class Incarnation {
  readonly id: string
  readonly standing: Standing
  readonly #parts: IncarnationParts
  readonly #heartbeatMs: number
  /** The number of the newest entry. */
  #n = 0
  /** The number of the newest one that has come back. */
  #returned = 0
  #sentAt = Number.NEGATIVE_INFINITY
  #notices: Notices | undefined
  /** There is something to say, if only that it is there. */
  #isUrged = false
  #isLeaving = false
  #leaveIs: number | undefined
  #isAppending = false
  #isFlushing = false
  #isOver = false
  #timer: Timer | undefined
  /** Until the newest entry is appended again. */
  #again: Timer | undefined

  constructor(parts: IncarnationParts) {
    this.id = parts.id
    this.#parts = parts
    this.#heartbeatMs = heartbeatOf(parts.deadMs)
    this.standing = new Standing(parts.deadMs)
  }

  /** The number of the newest entry that was sent. */
  get lastSent(): number {
    return this.#n
  }

  /** The number of the entry that says goodbye, once it was sent. */
  get leaveIs(): number | undefined {
    return this.#leaveIs
  }

  /** The first entry. @param replaces The former incarnation of this broker, if there was one. */
  join(replaces: string | undefined): void {
    const { id: broker, clock } = this.#parts
    this.#send((n) => encodeEntry({ broker, n, at: clock.wall(), join: { replaces } }))
    this.#wakeBy(this.#heartbeatMs)
  }

  /** An entry has come back, and so is in; returns how long that took, in ms. */
  returned(n: number): number | undefined {
    this.#returned = n
    const sentAt = this.standing.returned(n)
    if (n === this.#n && this.#again !== undefined) {
      this.#parts.clock.clearTimer(this.#again)
      this.#again = undefined
      this.#isIn()
    }
    return sentAt === undefined ? undefined : this.#parts.clock.monotonic() - sentAt
  }

  /** Says this with the next entry, and soon; without notices, just that it is there. */
  speak(notices?: Notices): void {
    this.#notices = notices === undefined ? this.#notices : { ...this.#notices, ...notices }
    this.#isUrged = true
    this.flushSoon()
  }

  /** Says goodbye when everything that waits has been said. */
  leave(): void {
    this.#isLeaving = true
    this.flushSoon()
  }

  /** Says what waits at the end of this turn, or as soon as what is under way is in. */
  flushSoon(): void {
    if (this.#isFlushing || this.#isAppending || this.#isOver) return
    this.#isFlushing = true
    this.#parts.endOfTurn(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  /** Nothing more is said. */
  end(): void {
    this.#isOver = true
    this.#parts.clock.clearTimer(this.#timer)
    this.#parts.clock.clearTimer(this.#again)
  }

  #flush(): void {
    if (this.#isAppending || this.#isOver || this.#leaveIs !== undefined) return
    const { id: broker, clock, batch } = this.#parts
    const at = clock.wall()
    if (batch.length > 0 || this.#isUrged) {
      const [commands, notices] = [batch.take(), this.#notices]
      this.#isUrged = false
      this.#notices = undefined
      this.#send((n) => encodeSpeech({ broker, n, at }, commands, notices))
    } else if (this.#isLeaving) {
      this.#leaveIs = this.#n + 1
      this.#send((n) => encodeEntry({ broker, n, at, leave: true }))
    }
  }

  #send(encode: (n: number) => string): void {
    this.#isAppending = true
    this.#sentAt = this.#parts.clock.monotonic()
    this.standing.sent(++this.#n, this.#sentAt)
    this.#append(encode(this.#n), retryMs.first)
  }

  #append(entry: string, pauseMs: number): void {
    const { engine, id, clock, onTrouble } = this.#parts
    engine.append(id, entry).then(
      () => {
        if (!this.#isOver) this.#isIn()
      },
      (reason: unknown) => {
        if (this.#isOver) return
        if (this.#returned === this.#n) {
          this.#isIn()
          return
        }
        onTrouble(reason instanceof Error ? reason.message : String(reason))
        this.#again = clock.setTimer(() => {
          this.#again = undefined
          this.#append(entry, Math.min(2 * pauseMs, retryMs.most))
        }, pauseMs)
      },
    )
  }

  /** The newest entry is known to be in. */
  #isIn(): void {
    this.#isAppending = false
    this.#parts.onTrouble(undefined)
    // What took long says little about now.
    if (this.#parts.clock.monotonic() - this.#sentAt >= this.#heartbeatMs) this.#isUrged = true
    this.#flush()
  }

  // ------------------------------------------------------------------------------------ time

  readonly #onTimer = (): void => {
    if (this.#isOver) return
    const now = this.#parts.clock.monotonic()
    if (Number.isFinite(this.standing.until) && this.standing.isOver(now)) {
      this.#parts.onLapse()
      if (this.#isOver) return
    }
    if (now - this.#sentAt >= this.#heartbeatMs && !this.#isAppending) this.speak()
    const quietMs = this.#isAppending ? this.#heartbeatMs : this.#sentAt + this.#heartbeatMs - now
    const standingMs = this.standing.until - now
    this.#wakeBy(standingMs > 0 ? Math.min(quietMs, standingMs) : quietMs)
  }

  #wakeBy(ms: number): void {
    this.#timer = this.#parts.clock.setTimer(this.#onTimer, Math.max(1, Math.ceil(ms)))
  }
}
