/**
 * Tests real half-open connections: packets between two machines get lost, in one direction or
 * both. If this lasts longer than the lease, the old holder must know the loss of its lock before
 * the next grant. A clock that both machines share shows the order. The lease is how long the
 * broker keeps a silent session. The grace is how long the broker keeps a session after its
 * connection dropped.
 */
import { expect } from 'chai'
import { RemoteClient } from '../e2e/remote.js'
import type { Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'
import { Namespace } from './namespace.js'

/** The directions in which packets get lost: `up` to the broker, `down` to the client. */
interface PacketLoss {
  readonly up: boolean
  readonly down: boolean
}

/** Each kind of packet loss, with its name in the titles of the tests. */
const packetLosses: [string, PacketLoss][] = [
  ['on the way to the broker', { up: true, down: false }],
  ['on the way to the client', { up: false, down: true }],
  ['in both directions', { up: true, down: true }],
]

interface Scene {
  /** The machine of `holder`: a network namespace. */
  readonly farMachine: Namespace
  /** Its `lock` resolves with the fence, the number of the grant. */
  readonly holder: RemoteClient
  /** The URL of the broker for clients on this machine. */
  readonly url: string
}

/**
 * Starts a broker on this machine, and a client on another machine (a network namespace). The grace
 * `'lease'` is as long as the lease.
 */
async function openScene(stage: Stage, lease: number, grace: number | 'lease'): Promise<Scene> {
  const farMachine = new Namespace()
  stage.onCleanUp(() => farMachine.remove())
  // By default, the broker would refuse a client of another machine without authentication.
  const { url, broker } = await stage.startBroker({ allowUnauthenticated: true })
  // `here` is the address of this machine on the link to the far machine.
  const { url: farUrl } = await broker.listen({ port: 0, host: farMachine.here })
  const holder = await RemoteClient.start(stage, farUrl, { lease, grace }, farMachine.command)
  return { farMachine, holder, url }
}

/** Loses packets, and checks that the holder knows the loss of its lock before the next grant. */
async function expectLockLossBeforeGrant(
  stage: Stage,
  packetLoss: PacketLoss,
  grace: number | 'lease',
): Promise<void> {
  // The client gives up its lock about 120 ms before the broker ends the lease. This time is 3 % of
  // the lease: 1 % because clocks differ in speed, and 2 % because timers can be late.
  const { farMachine, holder, url } = await openScene(stage, 4_000, grace)
  const other = await RemoteClient.start(stage, url)
  const fence = await holder.lock('k')
  const granted = other.lock('k')
  await other.untilMessagesHandled()
  farMachine.lose(packetLoss)
  const nextFence = await granted
  const { at: grantedAt } = await other.event('granted', nextFence)
  // The signal of the lock aborts when the holder knows the loss.
  const { at: lostAt } = await holder.event('aborted', fence)
  expect(lostAt < grantedAt, 'the loss of the lock comes first').to.equal(true)
  expect(nextFence).to.be.above(fence)
  farMachine.loseNothing()
  await other.execute({ do: 'unlock', fence: nextFence })
  expect(await holder.lock('k'), 'the next lock of the former holder').to.be.above(nextFence)
}

/** Loses packets for less than the lease, and checks that the holder keeps its lock. */
async function expectLockKept(stage: Stage, packetLoss: PacketLoss): Promise<void> {
  // With this lease, the client can resume its session in time even on a slow machine.
  const { farMachine, holder } = await openScene(stage, 6_000, 'lease')
  const fence = await holder.lock('k')
  farMachine.lose(packetLoss)
  // In jeopardy the client has no connection, and cannot know whether the session still exists.
  await holder.event('jeopardy')
  farMachine.loseNothing()
  await holder.event('resumed')
  expect(await holder.execute({ do: 'isHeld', fence })).to.equal(true)
}

describe('faults: lost packets between two machines', function () {
  this.timeout(300_000)
  needs('namespaces')

  // Each test runs once in a quick run, and five times in a full run.
  runConcurrently(quickOrFull(1, 5), [
    ...packetLosses.flatMap(([direction, packetLoss]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `packets lost ${direction}, grace ${grace}: the old holder knows the loss of its lock before the next grant`,
          (stage) => expectLockLossBeforeGrant(stage, packetLoss, grace),
        ],
      ),
    ),
    ...packetLosses.map(
      ([direction, packetLoss]): NamedTest => [
        `packets lost ${direction} for less than the lease: a holder with a grace keeps its lock`,
        (stage) => expectLockKept(stage, packetLoss),
      ],
    ),
  ])
})
