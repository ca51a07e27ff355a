/**
 * Queries the key whose page is open, once a second and soon after each event of the key. Each
 * query asks for only this key. So the page shows the current queue of the key, even if a query of
 * all keys would not return every lock.
 */
import type { HoldfastError, LockEvent, QueryResult, Session } from '@holdfast/client'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { ChangeNotifier } from './changeNotifier.js'

/** Time from an event to the next query, in ms. */
const afterEventMs = 100
/** Time from a result to the next query if no event arrives, in ms. */
const idleMs = 1_000

/**
 * What this poller needs of the `BrokerFeed`. The session changes when the dashboard reconnects.
 */
interface KeySource {
  readonly session: Session | undefined
}

/** Polls one key at a time: the key of the open page. */
export class KeyPoller {
  readonly #feed: KeySource
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  /** The key whose page is open; undefined if no such page is open. */
  key: string | undefined
  /** The last result for the key; undefined before the first result. */
  result: QueryResult | undefined
  /** When the last result arrived, by the monotonic clock, in ms. */
  resultAt = 0
  /** Why the operator may not query the key; undefined if the broker has not refused the query. */
  problem: string | undefined
  #isQuerying = false
  /**
   * Whether an event or a call of `refresh` came during the query that is under way, so that a new
   * query must follow.
   */
  #isStale = false
  #cancelTimer: (() => void) | undefined
  /** Whether the timer runs with the delay `afterEventMs`. */
  #isQueryDueSoon = false

  constructor(feed: KeySource, environment: PageEnvironment, changes: ChangeNotifier) {
    this.#feed = feed
    this.#environment = environment
    this.#changes = changes
  }

  /** Queries this key from now on. With undefined, queries no key. */
  select(key: string | undefined): void {
    if (key === this.key) return
    this.key = key
    this.result = undefined
    this.problem = undefined
    this.refresh()
  }

  onEvent({ key }: LockEvent): void {
    if (key !== this.key) return
    if (this.#isQuerying) this.#isStale = true
    // A query that is due soon keeps its timer, so frequent events cannot delay the query.
    else if (!this.#isQueryDueSoon) this.#schedule(afterEventMs)
  }

  /** Queries now. If a query is under way, queries again after its result. */
  refresh(): void {
    if (this.#isQuerying) this.#isStale = true
    else void this.#query()
  }

  async #query(): Promise<void> {
    this.#cancelTimer?.()
    this.#isQueryDueSoon = false
    const { key } = this
    const { session } = this.#feed
    // Without a key or a session, no timer is set: `select`, or `refresh` after a new connection,
    // starts the queries again.
    if (key === undefined || session === undefined) return
    this.#isQuerying = true
    this.#isStale = false
    try {
      const result = await session.query({ key })
      if (key === this.key) {
        this.result = result
        this.resultAt = this.#environment.now()
        this.problem = undefined
      }
    } catch (error) {
      const { code, message } = error as HoldfastError
      // The refusal of a former key says nothing about this key. Other errors, such as a lost
      // connection, are ignored, because the next query tries again.
      if (code === 'FORBIDDEN' && key === this.key) this.problem = message
    }
    this.#isQuerying = false
    this.#changes.notify()
    this.#schedule(this.#isStale || key !== this.key ? afterEventMs : idleMs)
  }

  #schedule(ms: number): void {
    this.#cancelTimer?.()
    this.#isQueryDueSoon = ms === afterEventMs
    this.#cancelTimer = this.#environment.after(ms, () => {
      if (this.#environment.isVisible()) void this.#query()
      else this.#schedule(idleMs)
    })
  }
}
