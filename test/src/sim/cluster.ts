/**
 * The brokers of a world: one with a log of its own, or several that share one. Whoever wants to
 * know what is true asks here: the table of the one, or that of the shared log.
 */
import type { LockTable } from '@holdfast/server/core'
import { makeSnapshot } from '@holdfast/server/internal'
import { BrokerMachine, epoch } from './brokerMachine.js'
import { SimClock } from './clocks.js'
import { LogBook } from './logBook.js'
import type { Network } from './network.js'
import type { Oracles } from './oracles.js'
import { makeWay } from './pipe.js'
import type { Plan } from './plan.js'
import { SimProcess } from './process.js'
import { Random } from './random.js'
import type { SharedPlan } from './sharedPlan.js'
import { SharedStore } from './sharedStore.js'
import { noTrouble, SimEngine } from './simEngine.js'
import type { World } from './world.js'

export interface ClusterDeps {
  readonly world: World
  readonly network: Network
  readonly seed: string
  readonly plan: Plan
  /** Undefined for one broker with a log of its own. */
  readonly shared: SharedPlan | undefined
  readonly judges: Oracles
}

export class Cluster {
  readonly machines: readonly BrokerMachine[]
  readonly shared: SharedPlan | undefined
  readonly store: SharedStore | undefined
  readonly book: LogBook | undefined
  readonly #deps: ClusterDeps
  #keepers = 0

  constructor(deps: ClusterDeps) {
    this.#deps = deps
    const { shared, judges, seed } = deps
    this.shared = shared
    if (shared === undefined) {
      this.machines = [new BrokerMachine({ ...deps, index: 0, log: undefined })]
      return
    }
    const store = new SharedStore(new Random(`${seed}/log`))
    const book = new LogBook(judges.verdict, () => this.machines)
    store.listen(0, (kept) => {
      judges.trace.add('log', `${kept.position} ${kept.text}`)
      book.entered(kept)
    })
    this.store = store
    this.book = book
    const log = { plan: shared, store, book }
    this.machines = shared.rates.map((_, index) => new BrokerMachine({ ...deps, index, log }))
  }

  get urls(): readonly string[] {
    return this.machines.map(({ url }) => url)
  }

  /** What is true; undefined while there is no broker. */
  get truth(): Omit<LockTable, 'apply'> | undefined {
    return this.book?.table ?? this.machines[0]!.broker?.table
  }

  /** Starts whoever does not run. */
  start(): void {
    for (const machine of this.machines) if (machine.process === undefined) machine.start()
  }

  /** The machine on which this table is a broker's. */
  machineOf(table: LockTable): BrokerMachine | undefined {
    return this.machines.find(({ broker }) => broker?.table === table)
  }

  /** Makes a snapshot of all that is in the log, from somewhere where nothing goes wrong. */
  compact(): void {
    const { world, seed } = this.#deps
    const [store, plan] = [this.store!, this.shared!]
    const random = new Random(`${seed}/keeper ${this.#keepers++}`)
    const clock = new SimClock(world, random, 1, epoch + world.now)
    const process = new SimProcess('keeper', world, random, clock)
    const path = { up: makeWay(0.1, 0), down: makeWay(0.1, 0) }
    const onEntry = (_: unknown, take: () => void) => take()
    const engine = new SimEngine({ world, process, random, store, path, luck: noTrouble, onEntry })
    const { deadMs } = plan
    const config = { format: 1, deadMs, cluster: '' }
    process.receive(() => {
      makeSnapshot(engine, config, store.position, clock.wall()).then(
        () => process.kill(),
        () => process.kill(),
      )
    })
  }
}
