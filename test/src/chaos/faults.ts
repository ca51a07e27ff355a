/**
 * The faults of the chaos tests. During a fault, the test waits until all clients are served, if
 * this is possible. Then the test ends the fault. A world has brokers, their store, a network and
 * clients.
 */
import type { Random } from '../support/counts.js'
import { type EngineName, EtcdStore, PostgresStore } from './store.js'
import { deadMs, type World } from './world.js'

export interface Fault {
  /**
   * In a name, `stopped` and `paused` mean suspended by SIGSTOP, except that
   * `postgres-stopped-at-once` ends the server.
   */
  readonly name: string
  /**
   * Returns whether the network of the world allows the fault. Default: every network allows the
   * fault.
   */
  readonly isPossible?: ((world: World) => boolean) | undefined
  /** Causes the fault. */
  cause(world: World, random: Random): Promise<ActiveFault>
}

/** A fault that was caused and has not ended. */
export interface ActiveFault {
  /** The numbers of the affected brokers: only their clients may lose locks. Default none. */
  readonly affectedBrokers?: readonly number[] | undefined
  /** Whether clients must be served while the fault lasts. Default true. */
  readonly isServed?: boolean | undefined
  /** The minimum duration in ms. Default 0. */
  readonly lastsMs?: number | undefined
  end(): Promise<void>
}

/** Within this time, in ms, the other brokers declare a paused or isolated broker dead. */
const declaredDeadMs = 2 * deadMs
/** The numbers of all brokers of a world. */
const allBrokers = [0, 1, 2]

function etcdOf({ store }: World): EtcdStore {
  if (!(store instanceof EtcdStore)) throw new Error('this fault needs etcd')
  return store
}

function postgresOf({ store }: World): PostgresStore {
  if (!(store instanceof PostgresStore)) throw new Error('this fault needs PostgreSQL')
  return store
}

const etcdMemberFaults = (['leader', 'follower'] as const).flatMap((role): Fault[] => [
  {
    name: `etcd-${role}-killed`,
    cause: async (world) => {
      const member = await etcdOf(world).cluster[role]()
      await member.kill()
      return { end: () => member.start() }
    },
  },
  {
    name: `etcd-${role}-stopped`,
    cause: async (world) => {
      const member = await etcdOf(world).cluster[role]()
      member.freeze()
      return { lastsMs: declaredDeadMs, end: async () => member.thaw() }
    },
  },
  {
    name: `etcd-${role}-cut-off`,
    // If the network can cut the link between these two members, it can cut all such links.
    isPossible: ({ network }) => network.canCut('member0', 'member1'),
    cause: async (world) => {
      const { network } = world
      const { cluster } = etcdOf(world)
      const member = await cluster[role]()
      const machines = cluster.members.map((_, i) => `member${i}` as const)
      const isolated = machines[cluster.members.indexOf(member)]!
      for (const other of machines) if (other !== isolated) network.cut(isolated, other)
      return { lastsMs: declaredDeadMs, end: async () => network.mend() }
    },
  },
])

/** Cut links between a broker and etcd, and a restart of all members of etcd. */
const otherEtcdFaults: Fault[] = [
  {
    name: 'broker-cut-from-etcd',
    cause: async (world, random) => {
      const { brokers, network } = world
      const i = random.below(brokers.length)
      etcdOf(world).cluster.members.forEach((_, j) => {
        network.cut(`broker${i}`, `member${j}`)
      })
      return { affectedBrokers: [i], lastsMs: declaredDeadMs, end: async () => network.mend() }
    },
  },
  {
    name: 'broker-cut-from-a-member',
    cause: async ({ brokers, network }, random) => {
      const i = random.below(brokers.length)
      // The broker tries this etcd member first, so it must go over to another member.
      network.cut(`broker${i}`, `member${i}`)
      return { lastsMs: declaredDeadMs, end: async () => network.mend() }
    },
  },
  {
    name: 'etcd-restarted',
    cause: async (world) => {
      const { cluster } = etcdOf(world)
      await Promise.all(cluster.members.map((member) => member.kill()))
      const end = async () => {
        await Promise.all(cluster.members.map((member) => member.start()))
      }
      return { affectedBrokers: allBrokers, isServed: false, end }
    },
  },
]

const postgresFaults: Fault[] = [
  // At SIGQUIT, PostgreSQL ends itself without a clean-up.
  ...(['SIGQUIT', 'SIGKILL'] as const).map(
    (signal): Fault => ({
      name: signal === 'SIGQUIT' ? 'postgres-stopped-at-once' : 'postgres-killed',
      cause: async (world) => {
        const { primary } = postgresOf(world).pair
        await primary.end(signal)
        return { affectedBrokers: allBrokers, isServed: false, end: () => primary.start() }
      },
    }),
  ),
  {
    // A slow disk causes such a pause. The pause is shorter than `deadMs`, the silence after which
    // a broker is declared dead. So no broker may be declared dead, and no client may lose a lock.
    name: 'postgres-paused-briefly',
    cause: async (world) => {
      const { primary } = postgresOf(world).pair
      primary.freeze()
      return { isServed: false, lastsMs: deadMs / 3, end: async () => primary.thaw() }
    },
  },
  {
    name: 'postgres-paused',
    cause: async (world) => {
      const { primary } = postgresOf(world).pair
      primary.freeze()
      const end = async () => primary.thaw()
      return { affectedBrokers: allBrokers, isServed: false, lastsMs: declaredDeadMs, end }
    },
  },
  {
    name: 'postgres-failover',
    cause: async (world) => {
      const { pair } = postgresOf(world)
      await pair.failOver()
      return { affectedBrokers: allBrokers, end: () => pair.repair() }
    },
  },
  {
    name: 'postgres-sessions-ended',
    cause: async (world) => {
      const { sql } = postgresOf(world).pair.primary
      await sql`
        select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdfast'`
      return { end: async () => {} }
    },
  },
  {
    name: 'broker-cut-from-postgres',
    cause: async (world, random) => {
      const { brokers, network } = world
      const i = random.below(brokers.length)
      postgresOf(world).pair.servers.forEach((_, j) => {
        network.cut(`broker${i}`, `member${j}`)
      })
      return { affectedBrokers: [i], lastsMs: declaredDeadMs, end: async () => network.mend() }
    },
  },
]

const brokerFaults: Fault[] = [
  {
    name: 'broker-killed',
    cause: async ({ brokers }, random) => {
      const i = random.below(brokers.length)
      await brokers[i]!.end('SIGKILL')
      return { affectedBrokers: [i], end: () => brokers[i]!.start() }
    },
  },
  {
    name: 'broker-stopped',
    cause: async ({ brokers }, random) => {
      const i = random.below(brokers.length)
      brokers[i]!.freeze()
      return { affectedBrokers: [i], lastsMs: declaredDeadMs, end: async () => brokers[i]!.thaw() }
    },
  },
  {
    name: 'broker-cut-from-clients',
    cause: async ({ brokers, network }, random) => {
      const i = random.below(brokers.length)
      network.cut('clients', `broker${i}`)
      return { affectedBrokers: [i], lastsMs: declaredDeadMs, end: async () => network.mend() }
    },
  },
]

/** A compaction removes old entries of the command log, which a snapshot replaces. */
const compactionsAndRestarts: Fault[] = [
  {
    name: 'compaction',
    cause: async (world) => {
      await world.compact()
      return { end: async () => {} }
    },
  },
  {
    // The compaction removes entries that the stopped broker has not read. So the broker must join
    // again like a new broker.
    name: 'broker-stopped-and-log-compacted',
    cause: async (world, random) => {
      const i = random.below(world.brokers.length)
      world.brokers[i]!.freeze()
      await world.compact()
      return {
        affectedBrokers: [i],
        lastsMs: declaredDeadMs,
        end: async () => world.brokers[i]!.thaw(),
      }
    },
  },
  {
    name: 'brokers-restarted-in-turn',
    cause: async ({ brokers }) => {
      for (const broker of brokers) {
        await broker.end('SIGTERM')
        await broker.start()
      }
      return { end: async () => {} }
    },
  },
  {
    name: 'brokers-killed-at-once',
    cause: async ({ brokers }) => {
      await Promise.all(brokers.map((broker) => broker.end('SIGKILL')))
      const end = async () => {
        await Promise.all(brokers.map((broker) => broker.start()))
      }
      return { affectedBrokers: allBrokers, isServed: false, end }
    },
  },
]

/** The faults of a world over this engine. */
export function faultsOf(engine: EngineName): readonly Fault[] {
  const storeFaults = engine === 'etcd' ? [...etcdMemberFaults, ...otherEtcdFaults] : postgresFaults
  return [...storeFaults, ...brokerFaults, ...compactionsAndRestarts]
}
