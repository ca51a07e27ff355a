/**
 * A primary of PostgreSQL and its synchronous standby, each at a place of its own (a machine or a
 * network namespace). The standby can replace the primary. A repair then makes the former primary
 * the standby.
 */
import type { Place } from './etcd.js'
import { Postgres } from './postgres.js'

/** How long a standby may need until it receives every new commit, in ms. */
const streamingMs = 60_000

export class PostgresPair {
  #primary: Postgres
  #standby: Postgres
  /** Both servers, in the order of their places. A failover does not change this order. */
  readonly servers: readonly [Postgres, Postgres]

  private constructor(primary: Postgres, standby: Postgres) {
    this.#primary = primary
    this.#standby = standby
    this.servers = [primary, standby]
  }

  static async start(places: readonly [Place, Place]): Promise<PostgresPair> {
    const started = [await Postgres.start({ place: places[0] })]
    const [primary] = started as [Postgres]
    try {
      const standby = await primary.startStandby({ place: places[1] })
      started.push(standby)
      const pair = new PostgresPair(primary, standby)
      await pair.#makeSynchronous()
      return pair
    } catch (error) {
      await Promise.all(started.map((server) => server.stop()))
      throw error
    }
  }

  get primary(): Postgres {
    return this.#primary
  }

  /** Kills the primary, and makes the standby the new primary. */
  async failOver(): Promise<void> {
    await this.#primary.end('SIGKILL')
    // The standby has copied this setting from the primary. Without a reset, the commits of the new
    // primary would wait for another standby.
    await this.#standby.set('synchronous_standby_names', '')
    await this.#standby.promote()
    ;[this.#primary, this.#standby] = [this.#standby, this.#primary]
  }

  /** Turns the server that `failOver` killed into the standby of the present primary. */
  async repair(): Promise<void> {
    await this.#standby.copyFrom(this.#primary)
    await this.#makeSynchronous()
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop()))
  }

  /** Makes commits wait for the standby. Resolves when the standby receives every new commit. */
  async #makeSynchronous(): Promise<void> {
    await this.#primary.set('synchronous_standby_names', 'standby')
    const giveUpAt = performance.now() + streamingMs
    // Asks again without a pause, because the standby needs only a short time.
    while (performance.now() < giveUpAt) {
      const streamingStandbys = await this.#primary.sql`
        select from pg_stat_replication where sync_state = 'sync' and state = 'streaming'`
      if (streamingStandbys.length > 0) return
    }
    throw new Error(`The standby of PostgreSQL does not follow within ${streamingMs} ms`)
  }
}
