/**
 * One life of a broker in the log: what it appends, one entry at a time, numbered, from its `join`
 * to its `leave` or to the end of its standing. An entry whose outcome is unknown is appended
 * again, the same, for as long as this life lasts; the next is made only when it is known to be in.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { Batch } from './batch.js'
import type { Engine } from './engine.js'
import { encodeCommands, encodeEntry, type Notices } from './entry.js'
import { heartbeatMsFor, SelfLease } from './selfLease.js'

/** Before an entry is appended again, in ms; doubled each time. */
const retryMs = { first: 20, most: 250 }

export interface IncarnationDeps {
  readonly id: string
  readonly engine: Pick<Engine, 'append'>
  readonly clock: Clock
  readonly endOfTurn: (callback: () => void) => void
  readonly deadMs: number
  /** Where the commands come from. */
  readonly batch: Batch
  /** It has counted, and does not any more. */
  readonly onSelfLeaseOver: () => void
  /** Appending goes wrong, and why; or goes well again. */
  readonly onProblem: (why: string | undefined) => void
}

export class Incarnation {
  readonly id: string
  readonly selfLease: SelfLease
  readonly #deps: IncarnationDeps
  readonly #heartbeatMs: number
  /** The number of the newest entry. */
  #n = 0
  /** The number of the newest one that has come back. */
  #returned = 0
  #sentAt = Number.NEGATIVE_INFINITY
  #notices: Notices | undefined
  /** There is something to say, if only that it is there. */
  #mustSend = false
  #isLeaving = false
  #leaveNumber: number | undefined
  #isAppending = false
  #isFlushing = false
  #isOver = false
  #timer: Timer | undefined
  /** Until the newest entry is appended again. */
  #again: Timer | undefined

  constructor(deps: IncarnationDeps) {
    this.id = deps.id
    this.#deps = deps
    this.#heartbeatMs = heartbeatMsFor(deps.deadMs)
    this.selfLease = new SelfLease(deps.deadMs)
  }

  /** The number of the newest entry that was sent. */
  get lastSent(): number {
    return this.#n
  }

  /** The number of the entry that says goodbye, once it was sent. */
  get leaveNumber(): number | undefined {
    return this.#leaveNumber
  }

  /** The first entry. @param replaces The former incarnation of this broker, if there was one. */
  join(replaces: string | undefined): void {
    const { id: broker, clock } = this.#deps
    this.#send((n) => encodeEntry({ broker, n, at: clock.wall(), join: { replaces } }))
    this.#wakeBy(this.#heartbeatMs)
  }

  /** An entry has come back, and so is in; returns how long that took, in ms. */
  onOwnEntry(n: number): number | undefined {
    this.#returned = n
    const sentAt = this.selfLease.onOwnEntry(n)
    if (n === this.#n && this.#again !== undefined) {
      this.#deps.clock.clearTimer(this.#again)
      this.#again = undefined
      this.#onAppended()
    }
    return sentAt === undefined ? undefined : this.#deps.clock.monotonic() - sentAt
  }

  /** Says this with the next entry, and soon; without notices, just that it is there. */
  sendNotices(notices?: Notices): void {
    this.#notices = notices === undefined ? this.#notices : { ...this.#notices, ...notices }
    this.#mustSend = true
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
    this.#deps.endOfTurn(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  /** Nothing more is said. */
  end(): void {
    this.#isOver = true
    this.#deps.clock.clearTimer(this.#timer)
    this.#deps.clock.clearTimer(this.#again)
  }

  #flush(): void {
    if (this.#isAppending || this.#isOver || this.#leaveNumber !== undefined) return
    const { id: broker, clock, batch } = this.#deps
    const at = clock.wall()
    if (batch.length > 0 || this.#mustSend) {
      const [commands, notices] = [batch.takeBatch(), this.#notices]
      this.#mustSend = false
      this.#notices = undefined
      this.#send((n) => encodeCommands({ broker, n, at }, commands, notices))
    } else if (this.#isLeaving) {
      this.#leaveNumber = this.#n + 1
      this.#send((n) => encodeEntry({ broker, n, at, leave: true }))
    }
  }

  #send(encode: (n: number) => string): void {
    this.#isAppending = true
    this.#sentAt = this.#deps.clock.monotonic()
    this.selfLease.onSent(++this.#n, this.#sentAt)
    this.#append(encode(this.#n), retryMs.first)
  }

  #append(entry: string, pauseMs: number): void {
    const { engine, id, clock, onProblem } = this.#deps
    engine.append(id, entry).then(
      () => {
        if (!this.#isOver) this.#onAppended()
      },
      (reason: unknown) => {
        if (this.#isOver) return
        if (this.#returned === this.#n) {
          this.#onAppended()
          return
        }
        onProblem(reason instanceof Error ? reason.message : String(reason))
        this.#again = clock.setTimer(() => {
          this.#again = undefined
          this.#append(entry, Math.min(2 * pauseMs, retryMs.most))
        }, pauseMs)
      },
    )
  }

  /** The newest entry is known to be in. */
  #onAppended(): void {
    this.#isAppending = false
    this.#deps.onProblem(undefined)
    // What took long says little about now.
    if (this.#deps.clock.monotonic() - this.#sentAt >= this.#heartbeatMs) this.#mustSend = true
    this.#flush()
  }

  // ------------------------------------------------------------------------------------ time

  readonly #onTimer = (): void => {
    if (this.#isOver) return
    const now = this.#deps.clock.monotonic()
    if (Number.isFinite(this.selfLease.until) && this.selfLease.isOver(now)) {
      this.#deps.onSelfLeaseOver()
      if (this.#isOver) return
    }
    if (now - this.#sentAt >= this.#heartbeatMs && !this.#isAppending) this.sendNotices()
    const quietMs = this.#isAppending ? this.#heartbeatMs : this.#sentAt + this.#heartbeatMs - now
    const standingMs = this.selfLease.until - now
    this.#wakeBy(standingMs > 0 ? Math.min(quietMs, standingMs) : quietMs)
  }

  #wakeBy(ms: number): void {
    this.#timer = this.#deps.clock.setTimer(this.#onTimer, Math.max(1, Math.ceil(ms)))
  }
}
