/**
 * Processes that are paused and resumed later, as by a laptop's lid, a debugger or a hypervisor. A
 * holder that wakes up must know its loss before it does anything. A broker that wakes up must not
 * expire a session.
 */
import { expect } from 'chai'
import { RemoteClient, ServeProcess } from '../e2e/remote.js'
import type { Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'

/** The duration of a pause is the fault itself, so the tests cannot wait for an event instead. */
function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const losses: [string, { ttl?: number }][] = [
  ['the lease', {}],
  ['the ttl of its lock', { ttl: 500 }],
]

async function oversleep(
  stage: Stage,
  options: { ttl?: number },
  grace: number | 'lease',
): Promise<void> {
  const { url } = await stage.broker()
  const sleeper = await RemoteClient.start(stage, url, { lease: 2_000, grace })
  const other = await RemoteClient.start(stage, url)
  const fence = await sleeper.lock('k', options)
  const granted = other.lock('k')
  await other.untilHandled()
  sleeper.kill('SIGSTOP')
  const next = await granted
  expect(next).to.be.above(fence)
  // This message waits in the pipe of the paused process. When the process wakes up, its timers and
  // its socket are ready too.
  const isHeld = sleeper.tell({ do: 'isHeld', fence })
  sleeper.kill('SIGCONT')
  expect(await isHeld).to.equal(false)
  await sleeper.event('aborted', fence)
  await sleeper.event('lost', fence)
  await other.tell({ do: 'unlock', fence: next })
  expect(await sleeper.lock('k'), 'it can go on').to.be.above(next)
}

async function stopBroker(stage: Stage): Promise<void> {
  const broker = await ServeProcess.start(stage)
  const lease = { lease: 2_000, grace: 'lease' } as const
  const holder = await RemoteClient.start(stage, broker.url, lease)
  const waiter = await RemoteClient.start(stage, broker.url, lease)
  const patient = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
  const fence = await holder.lock('k')
  const kept = await patient.lock('kept', { ttl: 60_000 })
  const granted = waiter.lock('k')
  await waiter.untilHandled()
  broker.kill('SIGSTOP')
  const lost = await holder.event('lost', fence)
  await pauseFor(6_000)
  broker.kill('SIGCONT')
  const next = await granted
  expect(next).to.be.above(fence)
  const { at } = await waiter.event('granted', next)
  expect(lost.at < at, 'the old holder’s loss comes before the next grant').to.equal(true)
  // The sessions live on at the broker: they were resumed, not opened again.
  for (const client of [holder, waiter]) await client.event('resumed')
  expect(await patient.tell({ do: 'isHeld', fence: kept })).to.equal(true)
  expect(await patient.untilHandled()).to.include({ expiredLocks: 0 })
  const events = [holder, waiter].flatMap(({ events }) => events.items.map(({ event }) => event))
  expect(events).not.to.include('newSession')
  expect(patient.events.items.map(({ event }) => event)).to.deep.equal(['started', 'granted'])
}

describe('faults: processes that are paused', function () {
  this.timeout(300_000)

  runConcurrently(count(1, 5), [
    ...losses.flatMap(([expiry, options]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `a holder, past ${expiry}, grace ${grace}: the lock is granted again, and the holder knows its loss first`,
          (stage) => oversleep(stage, options, grace),
        ],
      ),
    ),
    [
      'a holder, for less than its lease: nothing is lost',
      async (stage) => {
        const { url } = await stage.broker()
        const sleeper = await RemoteClient.start(stage, url, { lease: 6_000 })
        const fence = await sleeper.lock('k')
        sleeper.kill('SIGSTOP')
        await pauseFor(1_500)
        sleeper.kill('SIGCONT')
        await sleeper.untilHandled()
        expect(await sleeper.tell({ do: 'isHeld', fence })).to.equal(true)
        expect(sleeper.events.items.map(({ event }) => event)).to.deep.equal(['started', 'granted'])
      },
    ],
    [
      'a broker, for three leases: no session expires, and clients that have lost their locks resume',
      stopBroker,
    ],
    [
      'a broker, past a timeout: the timeout is reported at once',
      async (stage) => {
        const broker = await ServeProcess.start(stage)
        const holder = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
        const waiter = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
        await holder.lock('k')
        const timesOut = waiter.lock('k', { timeout: 1_000 }).then(
          () => 'granted',
          (error: Error) => error.message,
        )
        await waiter.untilHandled()
        broker.kill('SIGSTOP')
        await pauseFor(2_000)
        broker.kill('SIGCONT')
        expect(await timesOut).to.equal('LOCK_TIMEOUT')
        expect(await holder.untilHandled()).to.include({ failedLocks: 1, expiredLocks: 0 })
      },
    ],
  ])
})
