/**
 * Measures the hand-off: the time from the unlock of a lock until the waiter receives its grant. No
 * event of the broker tells this time. So the page acquires a lock of its own, requests the same
 * lock again, unlocks the lock, and measures the time until the second grant. The measurements add
 * to the events and counters of the broker, so the probe is off until the user turns the probe on.
 */
import type { HoldfastError, Session } from '@holdfast/client'
import type { TimeSeries } from '../model/series.js'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { ChangeNotifier } from './changeNotifier.js'

/** The pause between two measurements, in ms. */
const measureEveryMs = 1_000
/**
 * Timeout of each lock request, in ms. The ttl (a lock's life without a refresh) is twice as long,
 * so the first lock does not expire while the second request waits.
 */
const timeoutMs = 5_000

/** The part of the feed that the probe needs. The session changes when the dashboard reconnects. */
interface ProbeSource {
  readonly session: Session | undefined
  readonly series: TimeSeries
}

/** The measurement of hand-offs, which the user turns on and off. */
export class HandoffProbe {
  readonly #feed: ProbeSource
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  /** The key of the lock; undefined while the probe is off. */
  key: string | undefined
  /** Why the probe has stopped by itself; undefined if it runs or the user has turned it off. */
  problem: string | undefined
  #cancelTimer: (() => void) | undefined
  /** How often the probe has started. After a new start, an earlier `#repeat` ends. */
  #startCount = 0

  constructor(feed: ProbeSource, environment: PageEnvironment, changes: ChangeNotifier) {
    this.#feed = feed
    this.#environment = environment
    this.#changes = changes
  }

  get isOn(): boolean {
    return this.key !== undefined
  }

  start(): void {
    const { session } = this.#feed
    if (session === undefined || this.isOn) return
    this.key = `holdfast/dashboard/${session.id}`
    this.problem = undefined
    this.#changes.notify()
    void this.#repeat(this.key, ++this.#startCount)
  }

  stop(): void {
    this.#cancelTimer?.()
    this.key = undefined
    this.#changes.notify()
  }

  /** Measures again and again, until the probe is off or starts again. */
  async #repeat(key: string, startNumber: number): Promise<void> {
    const { session, series } = this.#feed
    if (session?.state === 'connected' && this.#environment.isVisible()) {
      try {
        series.addHandoff(await this.#measure(session, key))
      } catch (error) {
        // Only a missing permission ends the probe. After a lost connection, for example, the next
        // measurement may succeed.
        if ((error as HoldfastError).code === 'FORBIDDEN') {
          // Set before `stop` notifies the views, so that the views show the problem immediately.
          this.problem =
            'Your token has no permission to take the lock that this measurement needs.'
          this.stop()
          return
        }
      }
    }
    if (!this.isOn || startNumber !== this.#startCount) return
    this.#cancelTimer = this.#environment.after(measureEveryMs, () => {
      void this.#repeat(key, startNumber)
    })
  }

  /** Measures one hand-off. @returns The time in ms */
  async #measure(session: Session, key: string): Promise<number> {
    const options = { timeout: timeoutMs, ttl: 2 * timeoutMs }
    const firstLock = await session.lock(key, options)
    const secondGrant = session.lock(key, options)
    // Wait until the second request is in the queue. The broker answers in order, so the request is
    // in the queue when the answer to `stats` arrives, even if the answer is an error.
    await session.stats().catch(() => {})
    const unlockedAt = this.#environment.now()
    void firstLock.unlock().catch(() => {})
    const secondLock = await secondGrant
    const handoffMs = this.#environment.now() - unlockedAt
    await secondLock.unlock()
    return handoffMs
  }
}
