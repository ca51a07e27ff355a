/**
 * Tests half-open connections: one direction or both directions become silent, and neither end is
 * notified. Each time, the old holder must know that its lock is lost before the broker grants the
 * lock to another session. The lease is how long the broker keeps a silent session. The grace is
 * how long the broker keeps a session without a connection. The ttl is how long a lock lasts
 * without a refresh. A fence is the number of a grant.
 */
import { fixedInterval, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { nextEvent, type Stage, untilAborted, untilMessagesHandled } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'
import { TcpProxy } from './proxy.js'
import { Valve } from './valve.js'

/** Whether each direction is silent: `up` to the broker, `down` to the client. */
interface Silence {
  readonly up: boolean
  readonly down: boolean
}

const silenceToBroker: Silence = { up: true, down: false }
const silenceToClient: Silence = { up: false, down: true }
const silenceBothWays: Silence = { up: true, down: true }
/** Each kind of silence, with its name in the titles of the tests. */
const silences: [string, Silence][] = [
  ['to the broker', silenceToBroker],
  ['to the client', silenceToClient],
  ['both ways', silenceBothWays],
]
const reconnect = fixedInterval({ interval: 20 })

interface Scene {
  /** The client behind the proxy. */
  readonly far: Session
  /** The client without the proxy. Its connection never becomes silent. */
  readonly near: Session
  /** Makes the connection of `far` silent. */
  fallSilent(): void
  /** Ends the silence. */
  speakAgain(): void
}

/**
 * Connects one client through a proxy, and one client directly. The test can make the connection
 * through the proxy silent. The grace `'lease'` is as long as the lease.
 */
async function openScene(
  stage: Stage,
  silence: Silence,
  grace: number | 'lease',
  lease = 2_000,
): Promise<Scene> {
  const { url, port } = await stage.startBroker()
  const valves = { up: new Valve(), down: new Valve() }
  const silentDirections = (['up', 'down'] as const).filter((direction) => silence[direction])
  const proxy = await TcpProxy.to(port, () => ({
    up: silence.up ? valves.up.filter : undefined,
    down: silence.down ? valves.down.filter : undefined,
  }))
  stage.onCleanUp(() => proxy.close())
  return {
    far: await stage.openSession(proxy.url, { lease, grace, reconnect }),
    near: await stage.openSession(url),
    fallSilent: () => {
      for (const direction of silentDirections) valves[direction].shut()
    },
    speakAgain: () => {
      for (const direction of silentDirections) valves[direction].open()
    },
  }
}

/**
 * Makes the connection of a holder silent. Checks that the holder knows its loss before the broker
 * grants the lock to another session.
 */
async function expectLossBeforeGrant(
  stage: Stage,
  silence: Silence,
  grace: number | 'lease',
): Promise<void> {
  const { far, near, fallSilent } = await openScene(stage, silence, grace)
  const order: string[] = []
  const lock = await far.lock('k')
  lock.signal.addEventListener('abort', () => order.push('lost'))
  const granted = near.lock('k').then((newLock) => {
    order.push(`granted, old lock held: ${lock.held}`)
    return newLock
  })
  await untilMessagesHandled(near)
  fallSilent()
  expect((await granted).fence).to.be.above(lock.fence)
  expect(order).to.deep.equal(['lost', 'granted, old lock held: false'])
}

/**
 * Makes the connection of a holder silent for less time than the holder's lease. Checks that the
 * holder keeps its lock.
 */
async function expectLockKept(stage: Stage, silence: Silence): Promise<void> {
  // With this lease, the client can resume its session in time even on a slow machine.
  const { far, fallSilent, speakAgain } = await openScene(stage, silence, 'lease', 6_000)
  const lock = await far.lock('k')
  const losses: string[] = []
  far.on('lost', () => losses.push('lost'))
  const resumed = nextEvent(far, 'resumed')
  // With a grace, the client tries another connection after half a lease of silence. Until the
  // client has resumed its session, the session is in jeopardy: the client cannot know whether the
  // session still exists.
  const jeopardy = nextEvent(far, 'jeopardy')
  fallSilent()
  await jeopardy
  expect(lock.held).to.equal(true)
  speakAgain()
  await resumed
  await lock.refresh()
  expect(lock.held).to.equal(true)
  expect(losses).to.deep.equal([])
}

describe('faults: half-open connections, behind a proxy', function () {
  this.timeout(300_000)

  // A full run runs each test ten times.
  runConcurrently(quickOrFull(1, 10), [
    ...silences.flatMap(([direction, silence]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `silence ${direction}, grace ${grace}: the holder knows its loss before the next grant`,
          (stage) => expectLossBeforeGrant(stage, silence, grace),
        ],
      ),
    ),
    ...silences.map(
      ([direction, silence]): NamedTest => [
        `silence ${direction} for less than the lease: a holder with a grace keeps its lock`,
        (stage) => expectLockKept(stage, silence),
      ],
    ),
    [
      'silence before the grant: a waiter that cannot receive its grant does not hold the lock',
      async (stage) => {
        const { far, near, fallSilent } = await openScene(stage, silenceToClient, 'lease')
        const firstLock = await near.lock('k')
        const farGotLock = far.lock('k').then(
          (lock) => lock.held,
          () => false,
        )
        await untilMessagesHandled(far)
        const laterRequest = near.lock('k')
        await untilMessagesHandled(near)
        fallSilent()
        await firstLock.unlock()
        // The broker grants the lock first to `far`, which cannot receive the grant. When the lease
        // of `far` is over, the lock passes to `near`.
        expect((await laterRequest).held).to.equal(true)
        await far.close()
        expect(await farGotLock).to.equal(false)
      },
    ],
    [
      'silence both ways: the holder knows that its ttl has ended before the next grant',
      async (stage) => {
        const { far, near, fallSilent } = await openScene(stage, silenceBothWays, 'lease')
        const order: string[] = []
        const lock = await far.lock('k', { ttl: 500 })
        const lost = untilAborted(lock.signal).then(() => order.push('lost'))
        const granted = near.lock('k').then(() => order.push('granted'))
        fallSilent()
        await Promise.all([lost, granted])
        expect(order).to.deep.equal(['lost', 'granted'])
      },
    ],
  ])
})
