/**
 * Three members of etcd, three brokers over it and clients of all of them; and what has to be true
 * of them at any time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type HeldInfo } from '@holdfast/client'
import { EtcdEngine, makeSnapshot, nodeEnvironment } from '@holdfast/server/internal'
import { faultsByFence, type Tenure } from '../faults/history.js'
import type { Random } from '../support/counts.js'
import { EtcdCluster } from '../support/etcd.js'
import { BrokerProcess } from './broker.js'
import { Namespaces, type Network, type Party, Proxies } from './network.js'
import { Worker } from './worker.js'

export const deadMs = 1_500
const prefix = 'holdfast'
const size = 3
const workersEach = 3
const sharedKeys = ['a', 'b', 'c']
/** How long anything may take before it counts as never. */
const neverMs = 30_000

export class World {
  readonly network: Network
  readonly cluster: EtcdCluster
  readonly brokers: readonly BrokerProcess[]
  readonly workers: readonly Worker[]
  /** By which clients reach the brokers. */
  readonly urls: readonly string[]

  private constructor(
    network: Network,
    cluster: EtcdCluster,
    brokers: readonly BrokerProcess[],
    urls: readonly string[],
    workers: readonly Worker[],
  ) {
    this.network = network
    this.cluster = cluster
    this.brokers = brokers
    this.urls = urls
    this.workers = workers
  }

  /** @param areApart Brokers have a log each: what the judge has to find out. */
  static async start(random: Random, withNamespaces: boolean, areApart = false): Promise<World> {
    const names = (['member', 'broker'] as const).flatMap((kind) =>
      Array.from({ length: size }, (_, i): Party => `${kind}${i}`),
    )
    const network = withNamespaces ? new Namespaces(names) : new Proxies()
    const closing = [() => network.close()]
    try {
      const places = names.slice(0, size).map((name) => network.placeOf(name))
      const cluster = await EtcdCluster.start({ places })
      closing.push(() => cluster.stop())
      const brokers: BrokerProcess[] = []
      const urls: string[] = []
      closing.push(async () => {
        await Promise.all(brokers.map((broker) => broker.end('SIGKILL')))
      })
      for (let i = 0; i < size; i++) {
        const address = await logAddress(network, cluster, i)
        const log = areApart ? `${address}${i}` : address
        const flags = [
          '--log',
          log,
          '--dead-time',
          `${deadMs}`,
          '--allow-unauthenticated',
          '--drain',
          '0',
        ]
        const broker = new BrokerProcess(network.placeOf(`broker${i}`), flags)
        brokers.push(broker)
        await broker.start()
        urls.push(await network.address('clients', `broker${i}`, broker.url))
      }
      const workers = Array.from({ length: size * workersEach }, (_, i) => {
        const order = [...urls.slice(i % size), ...urls.slice(0, i % size)]
        return new Worker(`w${i}`, order, sharedKeys, random)
      })
      const world = new World(network, cluster, brokers, urls, workers)
      await Promise.all(workers.map((worker) => worker.connect()))
      for (const worker of workers) worker.work()
      return world
    } catch (error) {
      for (const close of closing.reverse()) await close()
      throw error
    }
  }

  /** The broker that this worker is connected to. */
  brokerOf(worker: Worker): number {
    return this.urls.indexOf(worker.url)
  }

  /** Resolves when all workers were granted something that they asked for since; with how long. */
  async servedSince(time: number): Promise<number> {
    const granted = await within(
      Promise.all(this.workers.map((worker) => worker.servedSince(time))),
      () => 'not everybody is served again',
    )
    return Math.max(...granted) - time
  }

  /** Resolves when every broker takes on clients. */
  async ready(): Promise<void> {
    const all = this.urls.map((url) => heldAt(url))
    await within(Promise.all(all), () => 'not every broker takes on clients')
  }

  /**
   * Has snapshots made as brokers make them, only sooner: two, so that what was before the first is
   * forgotten.
   */
  async compact(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const status = await (await this.cluster.leader()).status()
      const position = Number(status!.header.revision) + 1
      const { endpoints } = this.cluster
      const engine = new EtcdEngine({ endpoints, prefix }, nodeEnvironment)
      try {
        await makeSnapshot(engine, { format: 1, deadMs, cluster: '' }, position, Date.now())
      } finally {
        await engine.close()
      }
    }
  }

  /**
   * Holds everybody still and looks: what was shared was had by one at a time; and at each broker
   * exactly that is held which clients keep, by them, and with their fences.
   *
   * @param settleMs How long brokers may take for the latter: a session that was lost is kept for a
   *   lease from when its broker was found dead.
   * @returns What is wrong.
   */
  async judge(settleMs = neverMs / 2): Promise<string[]> {
    await within(Promise.all(this.workers.map((worker) => worker.pause())), () => 'work goes on')
    const faults: string[] = []
    for (const key of sharedKeys) {
      const history = this.workers.flatMap((worker): readonly Tenure[] => {
        return worker.history.get(key) ?? []
      })
      faults.push(...faultsByFence(history).map((fault) => `${key}: ${fault}`))
    }
    const kept = this.workers.flatMap((worker) => {
      const { kept } = worker
      return kept === undefined ? [] : [`${kept.lock.key} ${kept.lock.fence} ${kept.session}`]
    })
    const wanted = kept.sort().join('\n')
    const all = await Promise.all(this.urls.map((url) => this.#settled(url, wanted, settleMs)))
    for (const [i, held] of all.entries()) {
      if (held !== wanted) faults.push(`broker ${i} has\n${held}\nand clients keep\n${wanted}`)
    }
    for (const worker of this.workers) worker.work()
    return faults
  }

  /** How many tenures of shared locks there were. */
  get tenures(): number {
    let count = 0
    for (const { history } of this.workers) for (const all of history.values()) count += all.length
    return count
  }

  /** Everybody goes; nothing may be left. */
  async drain(): Promise<string[]> {
    await Promise.all(this.workers.map((worker) => worker.close()))
    const left = await Promise.all(this.urls.map((url) => this.#settled(url, '', neverMs / 2)))
    return left.filter((held) => held !== '').map((held) => `left behind: ${held}`)
  }

  async close(): Promise<void> {
    this.network.mend()
    await Promise.all(this.workers.map((worker) => worker.close()))
    await Promise.all(this.brokers.map((broker) => broker.end('SIGKILL')))
    await this.cluster.stop()
    await this.network.close()
  }

  /** What is held at a broker, once it is what it should be, or after a while. */
  async #settled(url: string, wanted: string, ms: number): Promise<string> {
    const until = performance.now() + ms
    for (;;) {
      const held = (await heldAt(url))
        .map(({ key, fence, session }) => `${key} ${fence} ${session}`)
        .sort()
        .join('\n')
      if (held === wanted || performance.now() > until) return held
      await sleep(100)
    }
  }
}

/** All endpoints of etcd as this broker reaches them, its own machine's first. */
async function logAddress(network: Network, cluster: EtcdCluster, i: number): Promise<string> {
  const endpoints = await Promise.all(
    cluster.endpoints.map((url, j) => network.address(`broker${i}`, `member${j}`, url)),
  )
  const order = [...endpoints.slice(i), ...endpoints.slice(0, i)]
  return `etcd://${order.map((url) => new URL(url).host).join(',')}/${prefix}`
}

/** What one broker says is held. */
async function heldAt(url: string): Promise<readonly HeldInfo[]> {
  const until = performance.now() + neverMs
  for (;;) {
    try {
      const session = await connect(url, { reconnect: false })
      const { held, waitingCount } = await session.query()
      await session.close()
      if (waitingCount === 0) return held
    } catch (error) {
      if (performance.now() > until) throw error
    }
    await sleep(50)
  }
}

async function within<T>(promise: Promise<T>, what: () => string): Promise<T> {
  const abort = new AbortController()
  const late = sleep(neverMs, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`${what()} after ${neverMs} ms`)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    late.catch(() => {})
    abort.abort()
  }
}
