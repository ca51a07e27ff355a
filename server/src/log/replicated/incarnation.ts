/**
 * One incarnation: one life of a broker in the shared log. The incarnation appends numbered entries
 * (batches of commands), one at a time. Its first entry is a `join`. The incarnation ends with a
 * `leave`, or with the end of its self-lease (how long it may serve without a new own entry). If
 * the outcome of an append is unknown, the incarnation appends the same entry again until the entry
 * is known to be in the log. Only then does the incarnation make the next entry.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { CommandQueue } from './commandQueue.js'
import type { Engine } from './engine.js'
import { encodeCommands, encodeEntry, type MemberNotices } from './entry.js'
import { heartbeatMsFor, SelfLease } from './selfLease.js'

/** The first and the longest pause before an append is repeated, in ms. Each retry doubles it. */
const retryMs = { first: 20, most: 250 }

export interface IncarnationDeps {
  readonly id: string
  readonly engine: Pick<Engine, 'append'>
  readonly clock: Clock
  /** Calls the callback at the end of this turn of the event loop. */
  readonly endOfTurn: (callback: () => void) => void
  /** The silence after which the other brokers declare this broker dead, in ms. */
  readonly deadMs: number
  /** The commands that wait to be appended. */
  readonly commandQueue: CommandQueue
  /** Called when the self-lease has ended; not called if the self-lease never began. */
  readonly onSelfLeaseOver: () => void
  /** Called with the reason when an append fails, and with undefined when an append succeeds. */
  readonly onProblem: (reason: unknown) => void
}

export class Incarnation {
  readonly id: string
  readonly selfLease: SelfLease
  readonly #deps: IncarnationDeps
  readonly #heartbeatMs: number
  /** The number of the newest entry that was sent. */
  #lastSentNumber = 0
  /** The number of the newest entry of this incarnation that this broker read back from the log. */
  #lastReadBackNumber = 0
  /** When the newest entry was first sent, in ms of the monotonic clock. */
  #sentAt = Number.NEGATIVE_INFINITY
  /** What the next entry tells the other brokers, besides its commands. */
  #unsentNotices: MemberNotices | undefined
  /** Whether an entry must be sent even without commands. */
  #mustSend = false
  #isLeaving = false
  #leaveNumber: number | undefined
  #isAppending = false
  /** Whether the end of this turn of the event loop will call `#flush`. */
  #isFlushScheduled = false
  #isOver = false
  /** Wakes the incarnation for its next heartbeat or for the end of its self-lease. */
  #timer: Timer | undefined
  /** Set while the newest entry waits to be appended again. */
  #retryTimer: Timer | undefined

  constructor(deps: IncarnationDeps) {
    this.id = deps.id
    this.#deps = deps
    this.#heartbeatMs = heartbeatMsFor(deps.deadMs)
    this.selfLease = new SelfLease(deps.deadMs)
  }

  /** The number of the newest entry that was sent. */
  get lastSentNumber(): number {
    return this.#lastSentNumber
  }

  /** Whether the `join` entry is known to be in the log. */
  get isJoinAppended(): boolean {
    return this.#lastSentNumber > 1 || (this.#lastSentNumber === 1 && !this.#isAppending)
  }

  /** The number of the `leave` entry, once it was sent. */
  get leaveNumber(): number | undefined {
    return this.#leaveNumber
  }

  /**
   * Sends the first entry.
   *
   * @param replaces The id of the former incarnation of this broker; undefined for the first
   *   incarnation.
   */
  join(replaces: string | undefined): void {
    const { id: broker, clock } = this.#deps
    this.#send((n) => encodeEntry({ broker, n, at: clock.wall(), join: { replaces } }))
    this.#wakeAfter(this.#heartbeatMs)
  }

  /**
   * Must be called when this broker has read an entry of this incarnation back from the log.
   * Returns the time since the entry was first sent, in ms; undefined if that time is unknown.
   */
  onOwnEntry(entryNumber: number): number | undefined {
    this.#lastReadBackNumber = entryNumber
    const sentAt = this.selfLease.onOwnEntry(entryNumber)
    // If the newest entry waits for a retry, cancel the retry, because the entry is in the log.
    if (entryNumber === this.#lastSentNumber && this.#retryTimer !== undefined) {
      this.#deps.clock.clearTimer(this.#retryTimer)
      this.#retryTimer = undefined
      this.#onAppended()
    }
    return sentAt === undefined ? undefined : this.#deps.clock.monotonic() - sentAt
  }

  /**
   * Sends an entry soon, with these notices for the other brokers. The entry is sent even if there
   * are no commands and no notices. Such an entry is a heartbeat.
   */
  sendEntrySoon(notices?: MemberNotices): void {
    this.#unsentNotices =
      notices === undefined ? this.#unsentNotices : { ...this.#unsentNotices, ...notices }
    this.#mustSend = true
    this.flushSoon()
  }

  /** Sends a `leave` entry after all waiting commands. */
  leave(): void {
    this.#isLeaving = true
    this.flushSoon()
  }

  /**
   * Sends the waiting commands at the end of this turn of the event loop. If an append is under
   * way, does nothing, because `#onAppended` sends the commands.
   */
  flushSoon(): void {
    if (this.#isFlushScheduled || this.#isAppending || this.#isOver) return
    this.#isFlushScheduled = true
    this.#deps.endOfTurn(() => {
      this.#isFlushScheduled = false
      this.#flush()
    })
  }

  /** Stops sending and retrying. */
  end(): void {
    this.#isOver = true
    this.#deps.clock.clearTimer(this.#timer)
    this.#deps.clock.clearTimer(this.#retryTimer)
  }

  /**
   * Sends the next entry, if there is anything to send and no append is under way. Sends nothing
   * after the `leave` entry.
   */
  #flush(): void {
    if (this.#isAppending || this.#isOver || this.#leaveNumber !== undefined) return
    const { id: broker, clock, commandQueue } = this.#deps
    const at = clock.wall()
    if (commandQueue.length > 0 || this.#mustSend) {
      const [commands, notices] = [commandQueue.takeForEntry(), this.#unsentNotices]
      this.#mustSend = false
      this.#unsentNotices = undefined
      this.#send((n) => encodeCommands({ broker, n, at }, commands, notices))
    } else if (this.#isLeaving) {
      this.#leaveNumber = this.#lastSentNumber + 1
      this.#send((n) => encodeEntry({ broker, n, at, leave: true }))
    }
  }

  /** Sends a new entry with the next number. */
  #send(encode: (n: number) => string): void {
    this.#isAppending = true
    this.#sentAt = this.#deps.clock.monotonic()
    this.selfLease.onSent(++this.#lastSentNumber, this.#sentAt)
    this.#append(encode(this.#lastSentNumber), retryMs.first)
  }

  /** Appends an entry, and repeats the append until the entry is in the log. */
  #append(entry: string, pauseMs: number): void {
    const { engine, id, clock, onProblem } = this.#deps
    engine.append(id, entry).then(
      () => {
        if (!this.#isOver) this.#onAppended()
      },
      (reason: unknown) => {
        if (this.#isOver) return
        // If the entry was read back, the append succeeded, and only its answer was lost.
        if (this.#lastReadBackNumber === this.#lastSentNumber) {
          this.#onAppended()
          return
        }
        onProblem(reason)
        this.#retryTimer = clock.setTimer(() => {
          this.#retryTimer = undefined
          this.#append(entry, Math.min(2 * pauseMs, retryMs.most))
        }, pauseMs)
      },
    )
  }

  /** The newest entry is in the log. */
  #onAppended(): void {
    this.#isAppending = false
    this.#deps.onProblem(undefined)
    // A slow append does not show that this broker is alive now, so send a heartbeat.
    if (this.#deps.clock.monotonic() - this.#sentAt >= this.#heartbeatMs) this.#mustSend = true
    this.#flush()
  }

  // ------------------------------------------------------------------------------------ time

  /** Reports the end of the self-lease if it is over, and sends a heartbeat if one is due. */
  readonly #onTimer = (): void => {
    if (this.#isOver) return
    const now = this.#deps.clock.monotonic()
    // The self-lease begins when the first entry is read back; `until` is minus infinity before.
    if (Number.isFinite(this.selfLease.until) && this.selfLease.isOver(now)) {
      this.#deps.onSelfLeaseOver()
      if (this.#isOver) return
    }
    if (now - this.#sentAt >= this.#heartbeatMs && !this.#isAppending) this.sendEntrySoon()
    // During an append no heartbeat can be sent; `#onAppended` sends an overdue heartbeat.
    const untilHeartbeatMs = this.#isAppending
      ? this.#heartbeatMs
      : this.#sentAt + this.#heartbeatMs - now
    const leaseLeftMs = this.selfLease.until - now
    this.#wakeAfter(leaseLeftMs > 0 ? Math.min(untilHeartbeatMs, leaseLeftMs) : untilHeartbeatMs)
  }

  /** Calls `#onTimer` after this time, rounded up, because timers count whole ms. */
  #wakeAfter(ms: number): void {
    this.#timer = this.#deps.clock.setTimer(this.#onTimer, Math.max(1, Math.ceil(ms)))
  }
}
