/**
 * Polls the broker's data that no event carries. The counters are polled once a second. The queues,
 * barriers and kept results are queried less often, because the broker visits all its keys to
 * answer a query. A slow query is followed by a longer pause. A page in the background does not
 * poll.
 */
import type {
  BarrierQueryResult,
  KeptQueryResult,
  LockStats,
  QueryResult,
  Session,
} from '@holdfast/client'
import { HoldfastError } from '@holdfast/client'
import type { LockModel } from '../model/lockModel.js'
import type { TimeSeries } from '../model/series.js'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { ChangeNotifier } from './changeNotifier.js'

/** Time between two polls of the counters, in ms. */
const statsMs = 1_000
/** The shortest and the longest pause between two queries, in ms. */
const minPauseMs = 1_500
const maxPauseMs = 15_000
/**
 * The pause after a query, as a multiple of the duration of the query. Queries take at most 5 % of
 * the time, except if `maxPauseMs` shortens the pause.
 */
const pauseFactor = 20

/** The counts of the last query for a prefix. */
export interface SearchResult {
  readonly prefix: string
  readonly heldCount: number
  readonly waitingCount: number
  /** How many of the `heldCount` locks are in the answer of the broker. */
  readonly listed: number
}

/**
 * The calls that wait at barriers (keys at which calls wait until enough of them have arrived), and
 * the kept results. The call `once` runs a function once for all callers of a key. A kept result is
 * the value of this run, which the broker keeps for later callers.
 */
export type Records = BarrierQueryResult & KeptQueryResult

const noRecords: Records = { arrived: [], arrivedCount: 0, kept: [], keptCount: 0 }

/** The part of the feed that this poller needs. */
interface BrokerSource {
  /** The dashboard's own session, which changes when the dashboard reconnects. */
  readonly session: Session | undefined
  readonly locks: LockModel
  readonly series: TimeSeries
}

/** Polls while the dashboard is connected. The pages read the public fields. */
export class BrokerPoller {
  readonly #feed: BrokerSource
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  /** The last counters; undefined before the first poll. */
  stats: LockStats | undefined
  /** Why the broker refused to send the counters; undefined if the broker sends them. */
  statsProblem: string | undefined
  /** Why the broker refused the last query; undefined if the broker answered the last query. */
  queryProblem: string | undefined
  /** The counts for the searched prefix; undefined before the first result of a search. */
  searchResult: SearchResult | undefined
  /** The barriers and kept results of the last query. */
  records = noRecords
  /** The prefix of the search; empty without a search. */
  #prefix = ''
  /** Functions that stop the polling. */
  #stops: (() => void)[] = []

  constructor(feed: BrokerSource, environment: PageEnvironment, changes: ChangeNotifier) {
    this.#feed = feed
    this.#environment = environment
    this.#changes = changes
  }

  start(): void {
    this.stop()
    this.#repeat(() => this.#pollStats())
    this.#repeat(() => this.#pollQueues())
  }

  stop(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
  }

  /**
   * Queries the locks whose keys begin with the prefix, now and at each later poll of the queues.
   * An empty prefix ends these queries.
   */
  searchPrefix(prefix: string): void {
    if (prefix === this.#prefix) return
    this.#prefix = prefix
    this.searchResult = undefined
    if (prefix !== '') void this.#search(prefix)
  }

  /**
   * Calls `poll` again and again. The number that `poll` returns is the pause until the next call,
   * in ms. While the page is in the background, checks after each `minPauseMs` whether the page
   * is visible again.
   */
  #repeat(poll: () => Promise<number>): void {
    let cancel: (() => void) | undefined
    let isStopped = false
    const run = async (): Promise<void> => {
      const ms = this.#environment.isVisible() ? await poll() : minPauseMs
      if (!isStopped) cancel = this.#environment.after(ms, () => void run())
    }
    this.#stops.push(() => {
      isStopped = true
      cancel?.()
    })
    void run()
  }

  /** Reads the counters. @returns The pause until the next poll, in ms */
  async #pollStats(): Promise<number> {
    const startedAt = this.#environment.now()
    const { session, locks, series } = this.#feed
    if (session?.state !== 'connected') return statsMs
    try {
      const stats = await session.stats()
      const now = this.#environment.now()
      this.stats = stats
      this.statsProblem = undefined
      series.add({
        wall: this.#environment.wall(),
        now,
        stats,
        held: stats.activeLocks,
        // The counters do not include the number of waiting requests.
        waiting: locks.waitingCount,
        roundTrip: now - startedAt,
      })
    } catch (error) {
      if (isRefusal(error)) this.statsProblem = error.message
    }
    this.#changes.notifySoon()
    return Math.max(0, statsMs - (this.#environment.now() - startedAt))
  }

  /** Queries the queues and the records. @returns The pause until the next poll, in ms */
  async #pollQueues(): Promise<number> {
    const startedAt = this.#environment.now()
    const result = await this.#query('')
    if (result !== undefined && this.#prefix !== '') await this.#search(this.#prefix)
    await this.#pollRecords()
    const elapsed = this.#environment.now() - startedAt
    return Math.min(maxPauseMs, Math.max(minPauseMs, elapsed * pauseFactor))
  }

  /** Queries barriers and kept results, if the counters show that the broker has some. */
  async #pollRecords(): Promise<void> {
    const { session } = this.#feed
    if (session?.state !== 'connected') return
    // An older broker neither counts barriers and kept results nor answers these queries.
    const { barriers = 0, keptResults = 0 } = this.stats ?? {}
    try {
      const arrived = barriers > 0 ? await session.query({ kind: 'barriers' }) : undefined
      const kept = keptResults > 0 ? await session.query({ kind: 'results' }) : undefined
      this.records = { ...noRecords, ...arrived, ...kept }
    } catch {
      // Ignore the error, and keep the former records until a poll succeeds.
    }
    this.#changes.notifySoon()
  }

  /** Queries the keys with the prefix, and sets `searchResult`. */
  async #search(prefix: string): Promise<void> {
    const result = await this.#query(prefix)
    // The user may have typed another prefix during the query.
    if (result === undefined || prefix !== this.#prefix) return
    const { heldCount, waitingCount, held } = result
    this.searchResult = { prefix, heldCount, waitingCount, listed: held.length }
  }

  /**
   * Queries the keys with the prefix, or all keys if the prefix is empty. Updates the lock model.
   * Returns undefined for a failed query.
   */
  async #query(prefix: string): Promise<QueryResult | undefined> {
    const { session, locks } = this.#feed
    if (session?.state !== 'connected') return undefined
    const query = locks.beginQuery(prefix)
    try {
      const result = await session.query(prefix === '' ? {} : { prefix })
      locks.applyResult(query, result)
      this.queryProblem = undefined
      return result
    } catch (error) {
      locks.cancelQuery(query)
      if (isRefusal(error)) this.queryProblem = error.message
      return undefined
    } finally {
      this.#changes.notifySoon()
    }
  }
}

/**
 * Whether the broker refused the request because of a missing permission. Other errors are not
 * shown, because these errors end when the connection is open again.
 */
function isRefusal(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === 'FORBIDDEN'
}
