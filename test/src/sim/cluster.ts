/**
 * The brokers of a world: one broker with its own command log, or several brokers that share one
 * command log. A command log orders the commands of the lock table. `table` is the lock table that
 * the oracles check: the table of the only broker, or a table to which the oracle of the shared log
 * applies the commands.
 */
import type { LockTable } from '@holdfast/server/core'
import { makeSnapshot } from '@holdfast/server/internal'
import { BrokerMachine, worldStart } from './brokerMachine.js'
import { SimClock } from './clocks.js'
import { LogOracle } from './logOracle.js'
import type { Network } from './network.js'
import type { Oracles } from './oracles.js'
import { makeLink } from './pipe.js'
import type { Plan } from './plan.js'
import { Random } from './random.js'
import type { SharedPlan } from './sharedPlan.js'
import { SharedStore } from './sharedStore.js'
import { noAppendFaults, SimEngine } from './simEngine.js'
import { SimProcess } from './simProcess.js'
import type { World } from './world.js'

export interface ClusterDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  /** Undefined for a single broker with its own log. */
  readonly shared: SharedPlan | undefined
  readonly oracles: Oracles
}

export class Cluster {
  readonly machines: readonly BrokerMachine[]
  readonly shared: SharedPlan | undefined
  readonly store: SharedStore | undefined
  readonly logOracle: LogOracle | undefined
  readonly #deps: ClusterDeps
  #compactions = 0

  constructor(deps: ClusterDeps) {
    this.#deps = deps
    const { shared, oracles, seed } = deps
    this.shared = shared
    if (shared === undefined) {
      this.machines = [new BrokerMachine({ ...deps, index: 0, log: undefined })]
      return
    }
    const store = new SharedStore(new Random(`${seed}/log`))
    const logOracle = new LogOracle(oracles.report, () => this.machines)
    const beforeFirstEntry = 0
    store.listen(beforeFirstEntry, (entry) => {
      oracles.trace.add('log', `${entry.position} ${entry.text}`)
      logOracle.appended(entry)
    })
    this.store = store
    this.logOracle = logOracle
    const log = { plan: shared, store, logOracle }
    this.machines = shared.rates.map((_, index) => new BrokerMachine({ ...deps, index, log }))
  }

  get urls(): readonly string[] {
    return this.machines.map(({ url }) => url)
  }

  /** The table that the oracles check; undefined while the only broker does not run. */
  get table(): Omit<LockTable, 'apply'> | undefined {
    return this.logOracle?.table ?? this.machines[0]!.broker?.table
  }

  /** Starts every broker that does not run. */
  start(): void {
    for (const machine of this.machines) if (machine.process === undefined) machine.start()
  }

  /** The machine whose broker has this table. */
  machineOf(table: LockTable): BrokerMachine | undefined {
    return this.machines.find(({ broker }) => broker?.table === table)
  }

  /** Makes a snapshot of the whole log and removes old entries, in a process without faults. */
  compact(): void {
    const { world, seed } = this.#deps
    const store = this.store!
    const { deadMs } = this.shared!
    // `keeper` is a former name of this process. Another name would change the world of each seed.
    const random = new Random(`${seed}/keeper ${this.#compactions++}`)
    const rate = 1
    const clock = new SimClock(world, random, rate, worldStart + world.now)
    const process = new SimProcess('compactor', world, random, clock)
    // A fast path: 0.1 ms without a random addition.
    const path = {
      up: makeLink({ latencyMs: 0.1, jitterMs: 0 }),
      down: makeLink({ latencyMs: 0.1, jitterMs: 0 }),
    }
    // No oracle checks the entries of this process.
    const onEntry = (_: unknown, apply: () => void) => apply()
    const engine = new SimEngine({
      world,
      process,
      random,
      store,
      path,
      appendFaults: noAppendFaults,
      onEntry,
    })
    // The store accepts only the config with which the brokers have opened it.
    const config = { format: 3, deadMs, cluster: '' }
    // The process ends even if the snapshot fails. The next compaction starts another process.
    process.receive(() => {
      makeSnapshot(engine, config, store.position, clock.wall()).then(
        () => process.kill(),
        () => process.kill(),
      )
    })
  }
}
