/**
 * The faults. Each fault strikes, lasts until all clients are served in spite of the fault (if that
 * is possible), and ends.
 */
import type { Random } from '../support/counts.js'
import { deadMs, type World } from './world.js'

export interface Fault {
  readonly name: string
  /** Whether the fault is impossible on this network. */
  readonly isPossible?: ((world: World) => boolean) | undefined
  strike(world: World, random: Random): Promise<ActiveFault>
}

/** A fault that has struck. */
export interface ActiveFault {
  /** The numbers of the affected brokers: only their clients may lose locks. Default none. */
  readonly affectedBrokers?: readonly number[] | undefined
  /** Whether clients must be served while the fault lasts. Default true. */
  readonly isServed?: boolean | undefined
  /** The minimum duration in ms, in addition to the service of all clients. */
  readonly lastsMs?: number | undefined
  end(): Promise<void>
}

/** Long enough that a paused or isolated broker is declared dead. */
const longMs = 2 * deadMs
const all = [0, 1, 2]

const etcdFaults = (['leader', 'follower'] as const).flatMap((who): Fault[] => [
  {
    name: `etcd-${who}-killed`,
    strike: async ({ cluster }) => {
      const member = await cluster[who]()
      await member.kill()
      return { end: () => member.start() }
    },
  },
  {
    name: `etcd-${who}-stopped`,
    strike: async ({ cluster }) => {
      const member = await cluster[who]()
      member.freeze()
      return { lastsMs: longMs, end: async () => member.thaw() }
    },
  },
  {
    name: `etcd-${who}-cut-off`,
    isPossible: ({ network }) => network.canCut('member0', 'member1'),
    strike: async ({ cluster, network }) => {
      const member = await cluster[who]()
      const parties = cluster.members.map((_, i) => `member${i}` as const)
      const own = parties[cluster.members.indexOf(member)]!
      for (const other of parties) if (other !== own) network.cut(own, other)
      return { lastsMs: longMs, end: async () => network.mend() }
    },
  },
])

const brokerFaults: Fault[] = [
  {
    name: 'broker-killed',
    strike: async ({ brokers }, random) => {
      const i = random.below(brokers.length)
      await brokers[i]!.end('SIGKILL')
      return { affectedBrokers: [i], end: () => brokers[i]!.start() }
    },
  },
  {
    name: 'broker-stopped',
    strike: async ({ brokers }, random) => {
      const i = random.below(brokers.length)
      brokers[i]!.freeze()
      return { affectedBrokers: [i], lastsMs: longMs, end: async () => brokers[i]!.thaw() }
    },
  },
  {
    name: 'broker-cut-from-etcd',
    strike: async ({ brokers, cluster, network }, random) => {
      const i = random.below(brokers.length)
      cluster.members.forEach((_, j) => {
        network.cut(`broker${i}`, `member${j}`)
      })
      return { affectedBrokers: [i], lastsMs: longMs, end: async () => network.mend() }
    },
  },
  {
    name: 'broker-cut-from-a-member',
    strike: async ({ brokers, network }, random) => {
      const i = random.below(brokers.length)
      // The member that the broker calls first.
      network.cut(`broker${i}`, `member${i}`)
      return { lastsMs: longMs, end: async () => network.mend() }
    },
  },
  {
    name: 'broker-cut-from-clients',
    strike: async ({ brokers, network }, random) => {
      const i = random.below(brokers.length)
      network.cut('clients', `broker${i}`)
      return { affectedBrokers: [i], lastsMs: longMs, end: async () => network.mend() }
    },
  },
]

const restarts: Fault[] = [
  {
    name: 'compaction',
    strike: async (world) => {
      await world.compact()
      return { end: async () => {} }
    },
  },
  {
    // The broker must join again like a new broker, because the entries that it missed were
    // removed.
    name: 'broker-stopped-and-log-compacted',
    strike: async (world, random) => {
      const i = random.below(world.brokers.length)
      world.brokers[i]!.freeze()
      await world.compact()
      return { affectedBrokers: [i], lastsMs: longMs, end: async () => world.brokers[i]!.thaw() }
    },
  },
  {
    name: 'brokers-restarted-in-turn',
    strike: async ({ brokers }) => {
      for (const broker of brokers) {
        await broker.end('SIGTERM')
        await broker.start()
      }
      return { end: async () => {} }
    },
  },
  {
    name: 'brokers-killed-at-once',
    strike: async ({ brokers }) => {
      await Promise.all(brokers.map((broker) => broker.end('SIGKILL')))
      const end = async () => {
        await Promise.all(brokers.map((broker) => broker.start()))
      }
      return { affectedBrokers: all, isServed: false, end }
    },
  },
  {
    name: 'etcd-restarted',
    strike: async ({ cluster }) => {
      await Promise.all(cluster.members.map((member) => member.kill()))
      const end = async () => {
        await Promise.all(cluster.members.map((member) => member.start()))
      }
      return { affectedBrokers: all, isServed: false, end }
    },
  },
]

export const faults: readonly Fault[] = [...etcdFaults, ...brokerFaults, ...restarts]
