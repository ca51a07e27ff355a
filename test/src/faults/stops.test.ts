/**
 * Tests processes that are paused and continued later, as by a closed laptop, a debugger or a
 * hypervisor. A holder that continues must notice the loss of its lock before it does anything
 * else. A broker that continues must not end sessions because they were silent during its pause.
 * The lease is how long the broker keeps a silent session. A ttl is how long a lock lasts. A grace
 * is how long a session survives the loss of its connection.
 */
import { expect } from 'chai'
import { RemoteClient, ServeProcess } from '../e2e/remote.js'
import type { Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { type NamedTest, runConcurrently } from './concurrentTests.js'

/** Waits while a process is paused. No event ends the wait, because its length is under test. */
function letTimePass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** What ends the lock of a paused holder, and the options with which the lock is requested. */
const expiries: [string, { ttl?: number }][] = [
  ['the lease', {}],
  ['the ttl of its lock', { ttl: 500 }],
]

/**
 * Pauses a holder until its lock was granted to another client. Checks that the holder then knows
 * its loss. The grace `'lease'` is as long as the lease.
 */
async function pauseHolder(
  stage: Stage,
  options: { ttl?: number },
  grace: number | 'lease',
): Promise<void> {
  const { url } = await stage.startBroker()
  const pausedHolder = await RemoteClient.start(stage, url, { lease: 2_000, grace })
  const other = await RemoteClient.start(stage, url)
  const fence = await pausedHolder.lock('k', options)
  const granted = other.lock('k')
  await other.untilMessagesHandled()
  pausedHolder.kill('SIGSTOP')
  const nextFence = await granted
  expect(nextFence).to.be.above(fence)
  // The paused process gets this question when it continues, at the same time as its due timers and
  // the input of its socket. Whichever comes first, the answer must be false.
  const isHeld = pausedHolder.execute({ do: 'isHeld', fence })
  pausedHolder.kill('SIGCONT')
  expect(await isHeld).to.equal(false)
  await pausedHolder.event('aborted', fence)
  await pausedHolder.event('lost', fence)
  await other.execute({ do: 'unlock', fence: nextFence })
  expect(await pausedHolder.lock('k'), 'the next lock of the former holder').to.be.above(nextFence)
}

/**
 * Pauses a broker for more than three leases, and checks that the broker ended no session and no
 * lock.
 */
async function pauseBroker(stage: Stage): Promise<void> {
  const broker = await ServeProcess.startListening(stage)
  const options = { lease: 2_000, grace: 'lease' } as const
  const holder = await RemoteClient.start(stage, broker.url, options)
  const waiter = await RemoteClient.start(stage, broker.url, options)
  const otherHolder = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
  const fence = await holder.lock('k')
  const keptFence = await otherHolder.lock('kept', { ttl: 60_000 })
  const granted = waiter.lock('k')
  await waiter.untilMessagesHandled()
  broker.kill('SIGSTOP')
  // The holder hears nothing from the broker, so the holder gives up its lock after the lease.
  const lost = await holder.event('lost', fence)
  // Three more leases of 2,000 ms.
  await letTimePass(6_000)
  broker.kill('SIGCONT')
  const nextFence = await granted
  expect(nextFence).to.be.above(fence)
  const { at } = await waiter.event('granted', nextFence)
  expect(lost.at < at, 'the old holder knows its loss before the next grant').to.equal(true)
  // The broker kept the sessions: the clients resumed them and opened no new sessions.
  for (const client of [holder, waiter]) await client.event('resumed')
  expect(await otherHolder.execute({ do: 'isHeld', fence: keptFence })).to.equal(true)
  // `untilMessagesHandled` resolves with the statistics of the broker.
  expect(await otherHolder.untilMessagesHandled()).to.include({ expiredLocks: 0 })
  const events = [holder, waiter].flatMap(({ events }) => events.items.map(({ event }) => event))
  expect(events).not.to.include('newSession')
  // `started` is the start of the process. No event reports a loss or a new connection.
  expect(otherHolder.events.items.map(({ event }) => event)).to.deep.equal(['started', 'granted'])
}

describe('faults: processes that are paused', function () {
  this.timeout(300_000)

  const runCount = quickOrFull(1, 5)
  runConcurrently(runCount, [
    ...expiries.flatMap(([expiry, options]) =>
      ([0, 'lease'] as const).map(
        (grace): NamedTest => [
          `a holder that is paused past ${expiry}, grace ${grace}, knows its loss as soon as it continues`,
          (stage) => pauseHolder(stage, options, grace),
        ],
      ),
    ),
    [
      'a holder that is paused for less than its lease keeps its lock',
      async (stage) => {
        const { url } = await stage.startBroker()
        // The pause of 1,500 ms is much shorter than this lease, also on a slow machine.
        const pausedHolder = await RemoteClient.start(stage, url, { lease: 6_000 })
        const fence = await pausedHolder.lock('k')
        pausedHolder.kill('SIGSTOP')
        await letTimePass(1_500)
        pausedHolder.kill('SIGCONT')
        await pausedHolder.untilMessagesHandled()
        expect(await pausedHolder.execute({ do: 'isHeld', fence })).to.equal(true)
        expect(pausedHolder.events.items.map(({ event }) => event)).to.deep.equal([
          'started',
          'granted',
        ])
      },
    ],
    [
      'a broker that is paused for more than three leases ends no session, and clients that lost their locks resume',
      pauseBroker,
    ],
    [
      'a broker that is paused past the timeout of a request reports the timeout as soon as it continues',
      async (stage) => {
        const broker = await ServeProcess.startListening(stage)
        const holder = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
        const waiter = await RemoteClient.start(stage, broker.url, { lease: 60_000 })
        await holder.lock('k')
        const outcome = waiter.lock('k', { timeout: 1_000 }).then(
          () => 'granted',
          // A remote client passes on only the code of an error, as the message.
          (error: Error) => error.message,
        )
        await waiter.untilMessagesHandled()
        broker.kill('SIGSTOP')
        await letTimePass(2_000)
        broker.kill('SIGCONT')
        expect(await outcome).to.equal('LOCK_TIMEOUT')
        expect(await holder.untilMessagesHandled()).to.include({ failedLocks: 1, expiredLocks: 0 })
      },
    ],
  ])
})
