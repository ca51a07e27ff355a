/**
 * Polls the data that is not in events: the counters, once a second, and the queues. A query visits
 * all keys of the broker, so the pause between two queries is a multiple of the time that the last
 * query took. A page in the background does not poll.
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
const minQueryMs = 1_500
const maxQueryMs = 15_000
/** The pause after a query, as a multiple of its duration: queries take at most 5 % of the time. */
const pauseFactor = 20

/** The counts of the last query for a prefix. */
export interface SearchResult {
  readonly prefix: string
  readonly heldCount: number
  readonly waitingCount: number
  readonly listed: number
}

/** The calls that wait at barriers, and the kept results of `once`. */
export type Records = BarrierQueryResult & KeptQueryResult

const noRecords: Records = { arrived: [], arrivedCount: 0, kept: [], keptCount: 0 }

/**
 * The part of the feed that this poller needs. The session changes when the dashboard reconnects.
 */
interface BrokerSource {
  readonly session: Session | undefined
  readonly locks: LockModel
  readonly series: TimeSeries
}

export class BrokerPoller {
  readonly #feed: BrokerSource
  readonly #environment: PageEnvironment
  readonly #changes: ChangeNotifier
  stats: LockStats | undefined
  /** Why the broker refused to send the counters; undefined if the broker sends them. */
  statsProblem: string | undefined
  /** Why the broker refused the last query; undefined if the broker answered the last query. */
  queryProblem: string | undefined
  searchResult: SearchResult | undefined
  records = noRecords
  #prefix = ''
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
   * Queries the locks whose keys begin with the prefix, now and after each poll. '' stops these
   * queries.
   */
  searchPrefix(prefix: string): void {
    if (prefix === this.#prefix) return
    this.#prefix = prefix
    this.searchResult = undefined
    if (prefix !== '') void this.#search(prefix)
  }

  /**
   * Calls `poll` again and again. The number that `poll` returns is the pause until the next call,
   * in ms.
   */
  #repeat(poll: () => Promise<number>): void {
    let cancel: (() => void) | undefined
    let isStopped = false
    const run = async (): Promise<void> => {
      const ms = this.#environment.isVisible() ? await poll() : minQueryMs
      if (!isStopped) cancel = this.#environment.after(ms, () => void run())
    }
    this.#stops.push(() => {
      isStopped = true
      cancel?.()
    })
    void run()
  }

  async #pollStats(): Promise<number> {
    const startedAt = this.#environment.now()
    const { session, locks, series } = this.#feed
    if (session?.state !== 'connected') return statsMs
    try {
      const stats = await session.stats()
      const now = this.#environment.now()
      this.stats = stats
      this.statsProblem = undefined
      const [wall, held, waiting] = [
        this.#environment.wall(),
        stats.activeLocks,
        locks.waitingCount,
      ]
      series.add({ wall, now, stats, held, waiting, roundTrip: now - startedAt })
    } catch (error) {
      if (isRefusal(error)) this.statsProblem = error.message
    }
    this.#changes.notifySoon()
    return Math.max(0, statsMs - (this.#environment.now() - startedAt))
  }

  async #pollQueues(): Promise<number> {
    const startedAt = this.#environment.now()
    const result = await this.#query('')
    if (result !== undefined && this.#prefix !== '') await this.#search(this.#prefix)
    await this.#pollRecords()
    const elapsed = this.#environment.now() - startedAt
    return Math.min(maxQueryMs, Math.max(minQueryMs, elapsed * pauseFactor))
  }

  /** Queries barriers and kept results, if the counters say that the broker has any. */
  async #pollRecords(): Promise<void> {
    const { session } = this.#feed
    if (session?.state !== 'connected') return
    // An older broker does not count them, and refuses these queries.
    const { barriers = 0, keptResults = 0 } = this.stats ?? {}
    try {
      const arrived = barriers > 0 ? await session.query({ kind: 'barriers' }) : undefined
      const kept = keptResults > 0 ? await session.query({ kind: 'results' }) : undefined
      this.records = { ...noRecords, ...arrived, ...kept }
    } catch {
      // The connection is lost. The next poll follows when the connection is open again.
    }
    this.#changes.notifySoon()
  }

  async #search(prefix: string): Promise<void> {
    const result = await this.#query(prefix)
    if (result === undefined || prefix !== this.#prefix) return
    const { heldCount, waitingCount, held } = result
    this.searchResult = { prefix, heldCount, waitingCount, listed: held.length }
  }

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
