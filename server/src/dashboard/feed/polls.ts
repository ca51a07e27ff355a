/**
 * What has to be asked for, because no event tells of it: the counters, once a second, and the
 * queues. A query walks over all keys of the broker, so the next one waits for a multiple of what
 * the last one took; and a page that nobody sees asks for nothing.
 */

import type { LockStats, QueryResult, Session } from '@holdfast/client'
import { HoldfastError } from '@holdfast/client'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { Feed } from './feed.js'
import type { Store } from './store.js'

const statsMs = 1_000
const leastQueryMs = 1_500
const mostQueryMs = 15_000
/** With this, queries take a twentieth of the broker's time at the very most. */
const queryPause = 20

/** What was found for the beginning of a key. */
export interface Search {
  readonly prefix: string
  readonly heldCount: number
  readonly waitingCount: number
  readonly listed: number
}

export class Polls {
  readonly #feed: Feed
  readonly #machine: PageEnvironment
  readonly #store: Store
  stats: LockStats | undefined
  /** Why there are none, if there are none. */
  statsProblem: string | undefined
  queryProblem: string | undefined
  search: Search | undefined
  #prefix = ''
  #stops: (() => void)[] = []

  constructor(feed: Feed, machine: PageEnvironment, store: Store) {
    this.#feed = feed
    this.#machine = machine
    this.#store = store
  }

  start(): void {
    this.stop()
    this.#repeat(() => this.#askStats())
    this.#repeat(() => this.#askQueues())
  }

  stop(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
  }

  /** Asks for the locks whose keys begin so, once and with every query to come; empty for none. */
  lookFor(prefix: string): void {
    if (prefix === this.#prefix) return
    this.#prefix = prefix
    this.search = undefined
    if (prefix !== '') void this.#askFor(prefix)
  }

  /** Does something again and again, each time after as many ms as it says. */
  #repeat(ask: () => Promise<number>): void {
    let cancel: (() => void) | undefined
    let isStopped = false
    const turn = async (): Promise<void> => {
      const ms = this.#machine.isVisible() ? await ask() : leastQueryMs
      if (!isStopped) cancel = this.#machine.after(ms, () => void turn())
    }
    this.#stops.push(() => {
      isStopped = true
      cancel?.()
    })
    void turn()
  }

  async #askStats(): Promise<number> {
    const asked = this.#machine.now()
    const { session, locks, series } = this.#feed
    if (session?.state !== 'connected') return statsMs
    try {
      const stats = await session.stats()
      const now = this.#machine.now()
      this.stats = stats
      this.statsProblem = undefined
      const [wall, held, waiting] = [this.#machine.wall(), stats.activeLocks, locks.waitingCount]
      series.add({ wall, now, stats, held, waiting, roundTrip: now - asked })
    } catch (error) {
      if (isRefusal(error)) this.statsProblem = error.message
    }
    this.#store.touch()
    return Math.max(0, statsMs - (this.#machine.now() - asked))
  }

  async #askQueues(): Promise<number> {
    const asked = this.#machine.now()
    const result = await this.#ask('')
    if (result !== undefined && this.#prefix !== '') await this.#askFor(this.#prefix)
    const took = this.#machine.now() - asked
    return Math.min(mostQueryMs, Math.max(leastQueryMs, took * queryPause))
  }

  async #askFor(prefix: string): Promise<void> {
    const result = await this.#ask(prefix)
    if (result === undefined || prefix !== this.#prefix) return
    const { heldCount, waitingCount, held } = result
    this.search = { prefix, heldCount, waitingCount, listed: held.length }
  }

  async #ask(prefix: string): Promise<QueryResult | undefined> {
    const { session, locks } = this.#feed
    if (session?.state !== 'connected') return undefined
    const question = locks.ask(prefix)
    try {
      const result = await this.#find(session, prefix)
      locks.answer(question, result)
      this.queryProblem = undefined
      return result
    } catch (error) {
      locks.forget(question)
      if (isRefusal(error)) this.queryProblem = error.message
      return undefined
    } finally {
      this.#store.touch()
    }
  }

  #find(session: Session, prefix: string): Promise<QueryResult> {
    return session.query(prefix === '' ? {} : { prefix })
  }
}

/** Refused by the broker; everything else passes with the connection. */
function isRefusal(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === 'FORBIDDEN'
}
