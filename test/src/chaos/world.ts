/**
 * The world of the chaos tests: three brokers that share a command log in etcd or PostgreSQL, and
 * their clients. Workers use locks, candidates campaign in one election, and observers watch this
 * election. `findViolations` checks the rules that must hold after every fault. A tenure is one use
 * of a lock, from its grant to its release.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type QueryResult } from '@holdfast/client'
import { makeSnapshot } from '@holdfast/server/internal'
import { findFenceViolations, findPermitsViolations, type Tenure } from '../faults/history.js'
import { judgeHistory, type KeyHistory } from '../faults/historyFile.js'
import type { Random } from '../support/counts.js'
import { BrokerProcess } from './broker.js'
import { urlsFromOwnBroker } from './clientLink.js'
import { Election, electionKey } from './election.js'
import { itemsSince } from './itemsSince.js'
import { type Machine, NamespaceNetwork, type Network, ProxyNetwork } from './network.js'
import { type EngineName, memberCounts, type Store, startStore } from './store.js'
import { permitsCapacity, permitsKey, Worker } from './worker.js'

/** The silence after which the other brokers declare a broker dead, in ms. */
export const deadMs = 1_500
/** The name of the command log. */
const logName = 'holdfast'
/** The number of brokers. */
const brokerCount = 3
/** The number of workers for each broker. */
const workersPerBroker = 3
const sharedKeys = ['a', 'b', 'c']
/** The time before a broker is queried again because its answer was not as expected, in ms. */
const pollMs = 100
/** The time between two attempts to query a broker that does not answer, in ms. */
const retryMs = 50
/** How long a function of this file waits for brokers or workers before it fails, in ms. */
const stepTimeoutMs = 30_000

export interface WorldOptions {
  readonly engine: EngineName
  /** Whether each machine has a network namespace of its own. */
  readonly withNamespaces: boolean
  /**
   * Whether each broker has a log of its own, so that `findViolations` must report violations.
   * Default false.
   */
  readonly separateLogs?: boolean | undefined
}

export class World {
  readonly network: Network
  readonly store: Store
  readonly brokers: readonly BrokerProcess[]
  readonly workers: readonly Worker[]
  readonly election: Election
  /** The URLs at which clients reach the brokers. */
  readonly urls: readonly string[]
  /**
   * The history before this time (in ns) was checked already. All workers and candidates were
   * paused at this time.
   */
  #checkedUntil = 0n

  private constructor(
    network: Network,
    store: Store,
    brokers: readonly BrokerProcess[],
    urls: readonly string[],
    workers: readonly Worker[],
    election: Election,
  ) {
    this.network = network
    this.store = store
    this.brokers = brokers
    this.urls = urls
    this.workers = workers
    this.election = election
  }

  static async start(random: Random, options: WorldOptions): Promise<World> {
    const { engine, withNamespaces, separateLogs = false } = options
    const machines = (kind: 'member' | 'broker', count: number): Machine[] =>
      Array.from({ length: count }, (_, i): Machine => `${kind}${i}`)
    const storeMembers = machines('member', memberCounts[engine])
    const machineNames = [...storeMembers, ...machines('broker', brokerCount)]
    const network = withNamespaces ? new NamespaceNetwork(machineNames) : new ProxyNetwork()
    const cleanups = [() => network.close()]
    try {
      const store = await startStore(
        engine,
        storeMembers.map((name) => network.placeOf(name)),
      )
      cleanups.push(() => store.stop())
      const brokers: BrokerProcess[] = []
      const urls: string[] = []
      cleanups.push(async () => {
        await Promise.all(brokers.map((broker) => broker.end('SIGKILL')))
      })
      for (let i = 0; i < brokerCount; i++) {
        const log = await store.logAddress(network, i, separateLogs ? `${logName}${i}` : logName)
        // With `--drain 0`, a broker that gets SIGTERM does not wait for its clients.
        const flags = [
          '--log',
          log,
          '--dead-time',
          `${deadMs}ms`,
          '--allow-unauthenticated',
          '--drain',
          '0',
        ]
        const broker = new BrokerProcess(network.placeOf(`broker${i}`), flags)
        brokers.push(broker)
        await broker.start()
        urls.push(await network.address('clients', `broker${i}`, broker.url))
      }
      const workers = Array.from({ length: brokerCount * workersPerBroker }, (_, i) => {
        return new Worker(`w${i}`, urlsFromOwnBroker(urls, i), sharedKeys, random)
      })
      const election = new Election(urls, random)
      const world = new World(network, store, brokers, urls, workers, election)
      await Promise.all(workers.map((worker) => worker.connect()))
      for (const worker of workers) worker.work()
      election.work()
      return world
    } catch (error) {
      for (const close of cleanups.reverse()) await close()
      throw error
    }
  }

  /** Returns the index of the broker that this worker is connected to. */
  brokerOf(worker: Worker): number {
    return this.urls.indexOf(worker.url)
  }

  /**
   * Waits until every worker was granted a lock that it requested after `time`. Resolves with the
   * duration since `time`, in ms.
   */
  async untilServed(time: number): Promise<number> {
    const grantTimes = await within(
      Promise.all(this.workers.map((worker) => worker.waitUntilServed(time))),
      () => 'not every client is served again',
    )
    return Math.max(...grantTimes) - time
  }

  /** Resolves when every broker accepts clients. */
  async ready(): Promise<void> {
    const queries = this.urls.map((url) => queryAt(url))
    await within(Promise.all(queries), () => 'not every broker accepts clients')
  }

  /**
   * Makes two snapshots of the command log, as brokers do from time to time. The second snapshot
   * removes all entries before the first snapshot.
   */
  async compact(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      // The position of an entry that is still to come, so that the second snapshot is newer than
      // the first. `makeSnapshot` waits for this entry.
      const position = (await this.store.position(logName)) + 1
      const engine = this.store.newEngine(logName)
      try {
        // The second argument is the configuration of the brokers: log format 3, and no cluster
        // name.
        await makeSnapshot(engine, { format: 3, deadMs, cluster: '' }, position, Date.now())
      } finally {
        await engine.close()
      }
    }
  }

  /**
   * Pauses all workers and candidates, and checks three rules. The first rule: only one worker at a
   * time held each of the `sharedKeys`, and the workers never held too many permits. The second
   * rule: only one candidate at a time led, and the observers saw the leaders. The third rule: each
   * broker has exactly the locks that the paused workers still hold, with their holders and fences.
   *
   * @param settleMs How long the observers may take for the second rule, and then the brokers for
   *   the third rule, in ms. By default longer than a lease, because brokers keep the sessions of a
   *   dead broker for a lease.
   * @returns The violations.
   */
  async findViolations(settleMs = stepTimeoutMs / 2): Promise<string[]> {
    await within(
      Promise.all([...this.workers, this.election].map((client) => client.pause())),
      () => 'a worker or a candidate is not paused',
    )
    const violations: string[] = []
    const uncheckedOf = (tenures: readonly Tenure[]) =>
      itemsSince(this.#checkedUntil, tenures, ({ requestedAt }) => requestedAt)
    for (const key of sharedKeys) {
      const history = this.workers.flatMap((worker) => uncheckedOf(worker.history.get(key) ?? []))
      violations.push(...findFenceViolations(history).map((violation) => `${key}: ${violation}`))
    }
    const permits = this.workers.flatMap(({ permitsHistory }) => uncheckedOf(permitsHistory))
    violations.push(...findPermitsViolations(permits, permitsCapacity))
    violations.push(...(await this.election.findViolations(this.#checkedUntil, settleMs)))
    const keptLocks = this.workers.flatMap((worker) => {
      const { kept } = worker
      return kept === undefined ? [] : [`${kept.lock.key} ${kept.lock.fence} ${kept.session}`]
    })
    const expected = keptLocks.sort().join('\n')
    const heldByBroker = await Promise.all(
      this.urls.map((url) => this.#waitForHeld(url, expected, settleMs)),
    )
    for (const [i, held] of heldByBroker.entries()) {
      if (held !== expected)
        violations.push(`broker ${i} has\n${held}\nand the paused workers hold\n${expected}`)
    }
    this.#checkedUntil = process.hrtime.bigint()
    for (const worker of this.workers) worker.work()
    this.election.work()
    return violations
  }

  /** The histories of the shared locks, the permits and the election, as the clients saw them. */
  get histories(): KeyHistory[] {
    const noElection = { publications: [], observations: [] }
    const locks = sharedKeys.map((key) => ({
      key,
      capacity: undefined,
      tenures: this.workers.flatMap((worker) => worker.history.get(key) ?? []),
      ...noElection,
    }))
    const permits = this.workers.flatMap(({ permitsHistory }) => permitsHistory)
    return [
      ...locks,
      { key: permitsKey, capacity: permitsCapacity, tenures: permits, ...noElection },
      { key: electionKey, capacity: undefined, ...this.election.history },
    ]
  }

  /** The number of uses of the keys that all workers share, without the permits. */
  get tenureCount(): number {
    let count = 0
    for (const { history } of this.workers)
      for (const tenures of history.values()) count += tenures.length
    return count
  }

  /**
   * Closes all sessions, and checks the whole history.
   *
   * @returns The violations in the history, and a violation for each broker that still has a lock.
   */
  async drain(): Promise<string[]> {
    await Promise.all([...this.workers, this.election].map((client) => client.close()))
    const remaining = await Promise.all(
      this.urls.map((url) => this.#waitForHeld(url, '', stepTimeoutMs / 2)),
    )
    return [
      ...this.histories.flatMap((history) => judgeHistory(history)),
      ...remaining.filter((held) => held !== '').map((held) => `locks remain: ${held}`),
    ]
  }

  async close(): Promise<void> {
    this.network.mend()
    await Promise.all([...this.workers, this.election].map((client) => client.close()))
    await Promise.all(this.brokers.map((broker) => broker.end('SIGKILL')))
    await this.store.stop()
    await this.network.close()
  }

  /**
   * Waits at most `ms` until a broker has the `expected` locks and no waiting requests. Resolves
   * with what the broker has, as text.
   */
  async #waitForHeld(url: string, expected: string, ms: number): Promise<string> {
    const endAt = performance.now() + ms
    for (;;) {
      const { held, waitingCount } = await queryAt(url)
      const lines = held.map(({ key, fence, session }) => `${key} ${fence} ${session}`).sort()
      if (waitingCount > 0) lines.push(`and ${waitingCount} waiting requests`)
      const text = lines.join('\n')
      if (text === expected || performance.now() > endAt) return text
      await sleep(pollMs)
    }
  }
}

/** Resolves with the locks and the number of waiting requests that one broker reports. */
async function queryAt(url: string): Promise<QueryResult> {
  const endAt = performance.now() + stepTimeoutMs
  for (;;) {
    try {
      const session = await connect(url, { reconnect: false })
      const result = await session.query()
      await session.close()
      return result
    } catch (error) {
      if (performance.now() > endAt) throw error
    }
    await sleep(retryMs)
  }
}

/** Rejects if the promise has not settled after `stepTimeoutMs`. */
async function within<T>(promise: Promise<T>, failure: () => string): Promise<T> {
  const abort = new AbortController()
  const timeout = sleep(stepTimeoutMs, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`${failure()} after ${stepTimeoutMs} ms`)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    timeout.catch(() => {})
    abort.abort()
  }
}
