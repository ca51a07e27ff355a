/**
 * The storage behind the log of the brokers: an etcd of three members, or a PostgreSQL with a
 * synchronous standby.
 */
import {
  type Engine,
  EtcdEngine,
  nodeEnvironment,
  PostgresEngine,
  parsePostgresAddress,
} from '@holdfast/server/internal'
import { EtcdCluster, type Place } from '../support/etcd.js'
import { PostgresPair } from '../support/postgresPair.js'
import type { Machine, Network } from './network.js'

export const engineNames = ['etcd', 'postgres'] as const
export type EngineName = (typeof engineNames)[number]

export interface Store {
  /** Returns the address with which this broker opens the named log. */
  logAddress(network: Network, broker: number, log: string): Promise<string>
  /** Makes an engine (access to the named log) for use on the machine of the clients. */
  newEngine(log: string): Engine
  /** Resolves with the position of the newest entry of this log; over etcd, maybe a later one. */
  position(log: string): Promise<number>
  stop(): Promise<void>
}

/** The number of machines of the storage. */
export const memberCounts: Readonly<Record<EngineName, number>> = { etcd: 3, postgres: 2 }

export function startStore(engine: EngineName, places: readonly Place[]): Promise<Store> {
  return engine === 'etcd' ? EtcdStore.start(places) : PostgresStore.start(places)
}

export class EtcdStore implements Store {
  readonly cluster: EtcdCluster

  private constructor(cluster: EtcdCluster) {
    this.cluster = cluster
  }

  static async start(places: readonly Place[]): Promise<EtcdStore> {
    return new EtcdStore(await EtcdCluster.start({ places }))
  }

  /** The address has all members. The member with the number of the broker comes first. */
  async logAddress(network: Network, broker: number, log: string): Promise<string> {
    const { endpoints } = this.cluster
    const hosts = await hostsFrom(network, broker, endpoints)
    const orderedHosts = [...hosts.slice(broker), ...hosts.slice(0, broker)]
    return `etcd://${orderedHosts.join(',')}/${log}`
  }

  newEngine(log: string): Engine {
    return new EtcdEngine({ endpoints: this.cluster.endpoints, prefix: log }, nodeEnvironment)
  }

  async position(): Promise<number> {
    // A position in a log is a revision of etcd. The newest revision may belong to another log.
    const status = await (await this.cluster.leader()).status()
    return Number(status!.header.revision)
  }

  stop(): Promise<void> {
    return this.cluster.stop()
  }
}

export class PostgresStore implements Store {
  readonly pair: PostgresPair

  private constructor(pair: PostgresPair) {
    this.pair = pair
  }

  static async start(places: readonly Place[]): Promise<PostgresStore> {
    return new PostgresStore(await PostgresPair.start([places[0]!, places[1]!]))
  }

  async logAddress(network: Network, broker: number, log: string): Promise<string> {
    return postgresAddress(await hostsFrom(network, broker, this.#urls), log)
  }

  newEngine(log: string): Engine {
    const hosts = this.#urls.map((url) => new URL(url).host)
    return new PostgresEngine(parsePostgresAddress(postgresAddress(hosts, log)), nodeEnvironment)
  }

  async position(log: string): Promise<number> {
    const rows = await this.pair.primary.sql.unsafe(`select position from ${log}.log_state`)
    return Number(rows[0]!['position'])
  }

  stop(): Promise<void> {
    return this.pair.stop()
  }

  /** The servers as URLs, because `Network.address` translates only URLs. */
  get #urls(): string[] {
    return this.pair.servers.map(({ host, port }) => `tcp://${host}:${port}`)
  }
}

/** The address of a command log in PostgreSQL, where each log has a schema of its own. */
function postgresAddress(hosts: readonly string[], log: string): string {
  return `postgres://holdfast@${hosts.join(',')}/postgres?schema=${log}&sslmode=disable`
}

/** The hosts and ports by which a broker reaches the members of the storage. */
async function hostsFrom(
  network: Network,
  broker: number,
  urls: readonly string[],
): Promise<string[]> {
  const machine: Machine = `broker${broker}`
  const addresses = await Promise.all(
    urls.map((url, i) => network.address(machine, `member${i}`, url)),
  )
  return addresses.map((url) => new URL(url).host)
}
