/**
 * Computes how long locks last from now on. The broker reports these times in the answer to a
 * query, and in the list of held locks with which a watch begins.
 *
 * A lock may have two deadlines: one for its ttl and one for its `maxHold` (the longest time of
 * holding). A refresh moves only the deadline of the ttl. In a cluster, only the owner broker of a
 * session keeps the deadlines of its locks. The other brokers do not know these deadlines, so
 * these brokers report no remaining times.
 */
import type { Lock } from '../core/index.js'
import type { RemainingTimes } from '../protocol/encodeLockInfo.js'
import type { DeadlineRestarts } from './deadlineRestarts.js'
import type { HoldDeadlines } from './holdDeadlines.js'

export interface LockTimesDeps {
  /**
   * All times are in compensated time: monotonic time without the pauses of the broker, in ms. The
   * client deadline of a lock is the deadline of its ttl.
   */
  readonly time: { now(): number; clientDeadlineOf(lock: Lock): number | undefined }
  readonly holdDeadlines: Pick<HoldDeadlines, 'endOf'>
  /**
   * When this broker takes over a session, the deadlines of the session start again in full. The
   * deadlines count from the takeover, but are set in later turns of the event loop. Until all are
   * set, `startTimeOf` returns the time of the takeover.
   */
  readonly deadlineRestarts: Pick<DeadlineRestarts, 'startTimeOf'>
}

export class LockTimes {
  readonly #deps: LockTimesDeps

  constructor(deps: LockTimesDeps) {
    this.#deps = deps
  }

  /**
   * The remaining times of a lock, rounded up to whole ms; 0 if the time is over. Undefined for a
   * lock with neither a ttl nor a `maxHold`. A set is one lock on several keys, with one `Lock` for
   * each key. These `Lock`s have the same remaining times.
   */
  remainingTimesOf(lock: Lock): RemainingTimes | undefined {
    // Only the first `Lock` of a set, its primary, has deadlines. Outside a set, `lock` is its own
    // primary.
    const { primary } = lock
    if (!primary.isTimed) return undefined
    const { time, holdDeadlines, deadlineRestarts } = this.#deps
    const now = time.now()
    const takenOverAt = deadlineRestarts.startTimeOf(primary)
    // The end of a ttl or `maxHold` whose deadline is not set yet after a takeover.
    const endAfterTakeover = (ms: number | undefined) =>
      takenOverAt === undefined || ms === undefined ? undefined : takenOverAt + ms
    const remainingUntil = (endsAt: number | undefined) =>
      endsAt === undefined ? undefined : Math.max(0, Math.ceil(endsAt - now))
    return {
      ttlRemaining:
        primary.ttl === undefined
          ? undefined
          : remainingUntil(time.clientDeadlineOf(primary) ?? endAfterTakeover(primary.ttl)),
      maxHoldRemaining: remainingUntil(
        holdDeadlines.endOf(primary) ?? endAfterTakeover(primary.extras?.maxHold),
      ),
    }
  }
}
