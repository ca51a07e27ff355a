/**
 * Half-open connections: one direction or both directions become silent, and neither end is
 * notified. Each time, the old holder must know that its lock is lost before the broker grants the
 * lock to another session.
 */
import { fixedInterval, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { aborted, next, type Stage, untilHandled } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'
import { TcpProxy } from './proxy.js'
import { Valve } from './valve.js'

interface Silence {
  readonly up: boolean
  readonly down: boolean
}

const toBroker: Silence = { up: true, down: false }
const toClient: Silence = { up: false, down: true }
const bothWays: Silence = { up: true, down: true }
const ways: [string, Silence][] = [
  ['to the broker', toBroker],
  ['to the client', toClient],
  ['both ways', bothWays],
]
const reconnect = fixedInterval({ interval: 20 })

interface Scene {
  /** A client with a lease of 2 s. Valves can make its connection silent. */
  readonly far: Session
  readonly near: Session
  fallSilent(): void
  speakAgain(): void
}

async function scene(stage: Stage, silence: Silence, grace: number | 'lease'): Promise<Scene> {
  const { url, port } = await stage.broker()
  const valves = { up: new Valve(), down: new Valve() }
  const used = (['up', 'down'] as const).filter((way) => silence[way])
  const proxy = await TcpProxy.to(port, () => ({
    up: silence.up ? valves.up.filter : undefined,
    down: silence.down ? valves.down.filter : undefined,
  }))
  stage.onClear(() => proxy.close())
  return {
    far: await stage.session(proxy.url, { lease: 2_000, grace, reconnect }),
    near: await stage.session(url),
    fallSilent: () => {
      for (const way of used) valves[way].shut()
    },
    speakAgain: () => {
      for (const way of used) valves[way].open()
    },
  }
}

/** The holder becomes silent, and the lock is granted again. */
async function handOver(stage: Stage, silence: Silence, grace: number | 'lease'): Promise<void> {
  const { far, near, fallSilent } = await scene(stage, silence, grace)
  const order: string[] = []
  const lock = await far.lock('k')
  lock.signal.addEventListener('abort', () => order.push('lost'))
  const granted = near.lock('k').then((taken) => {
    order.push(`granted, old one held: ${lock.held}`)
    return taken
  })
  await untilHandled(near)
  fallSilent()
  expect((await granted).fence).to.be.above(lock.fence)
  expect(order).to.deep.equal(['lost', 'granted, old one held: false'])
}

/** The holder is silent for less than its lease. */
async function comeBack(stage: Stage, silence: Silence): Promise<void> {
  const { far, fallSilent, speakAgain } = await scene(stage, silence, 'lease')
  const lock = await far.lock('k')
  const events: string[] = []
  far.on('lost', () => events.push('lost'))
  const resumed = next(far, 'resumed')
  // With a grace, the client tries another connection after half a lease of silence.
  const jeopardy = next(far, 'jeopardy')
  fallSilent()
  await jeopardy
  expect(lock.held).to.equal(true)
  speakAgain()
  await resumed
  await lock.refresh()
  expect(lock.held).to.equal(true)
  expect(events).to.deep.equal([])
}

describe('faults: half-open connections, behind a proxy', function () {
  this.timeout(300_000)

  runConcurrently(count(1, 10), [
    ...ways.flatMap(([way, silence]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `silence ${way}, grace ${grace}: the holder knows its loss before the next grant`,
          (stage) => handOver(stage, silence, grace),
        ],
      ),
    ),
    ...ways.map(
      ([way, silence]): NamedTest => [
        `silence ${way} that ends before the lease is over is no loss, with a grace`,
        (stage) => comeBack(stage, silence),
      ],
    ),
    [
      'silence that began before the grant: a waiter that cannot receive its grant does not hold the lock',
      async (stage) => {
        const { far, near, fallSilent } = await scene(stage, toClient, 'lease')
        const first = await near.lock('k')
        const waiting = far.lock('k').then(
          (lock) => lock.held,
          () => false,
        )
        await untilHandled(far)
        const behind = near.lock('k')
        await untilHandled(near)
        fallSilent()
        await first.unlock()
        // The broker grants the lock to the client that cannot receive the grant, until the lease
        // of that client is over.
        expect((await behind).held).to.equal(true)
        await far.close()
        expect(await waiting).to.equal(false)
      },
    ],
    [
      'silence both ways: the ttl of a lock also ends at the holder before it ends at the broker',
      async (stage) => {
        const { far, near, fallSilent } = await scene(stage, bothWays, 'lease')
        const order: string[] = []
        const lock = await far.lock('k', { ttl: 500 })
        const lost = aborted(lock.signal).then(() => order.push('lost'))
        const granted = near.lock('k').then(() => order.push('granted'))
        fallSilent()
        await Promise.all([lost, granted])
        expect(order).to.deep.equal(['lost', 'granted'])
      },
    ],
  ])
})
