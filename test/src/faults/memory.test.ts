/**
 * Tests watchers that stop reading while the broker sends them many events. The broker disconnects
 * a watcher that leaves more than 1 MiB unread. Even so, the memory of the broker may grow by only
 * half of this for each watcher, and the broker must still serve all other clients.
 */
import { readFileSync } from 'node:fs'
import type { LockEvent, Session, WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { ServeProcess } from '../e2e/remote.js'
import { Collector, Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'

const mib = 1024 * 1024
/**
 * The number of watchers. More watchers, such as 1,000, would leave the kernel no memory for TCP:
 * the kernel would drop data that the broker has sent.
 */
const watcherCount = quickOrFull(12, 300)
/**
 * The bytes of events for each watcher: more than the buffers of the kernel and the limit of the
 * broker together.
 */
const eventBytesPerWatcher = 16 * mib
/**
 * The memory that the broker may use for each watcher, in bytes. This is less than the unread
 * output of a watcher, because all watchers share one copy of equal output.
 */
const maxMemoryPerWatcher = mib / 2
/** An allowance for the work of the broker itself. */
const workBytes = 128 * mib

/** Returns the current memory of a process (VmRSS) or its peak (VmHWM), in bytes. */
function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}

/** Causes `eventBytesPerWatcher` bytes of events for each watcher. Returns the event count. */
async function causeEvents(session: Session): Promise<number> {
  // Each of these texts has 4 kB. The broker handles a text that is not ASCII by other code.
  const metadataChoices = [['x'.repeat(4_000)], ['€'.repeat(1_333)]]
  const keys = Array.from({ length: 10 }, (_, i) => `k${i}`)
  let eventCount = 0
  // Each round causes two events of 4 kB for each key: one for the lock, one for the unlock.
  const bytesPerRound = 2 * keys.length * 4_000
  for (let causedBytes = 0; causedBytes < eventBytesPerWatcher; causedBytes += bytesPerRound) {
    // Every third round has the second text: `eventCount` rises by 20 in each round.
    const options = { metadata: metadataChoices[eventCount % 3 === 0 ? 1 : 0] }
    const locks = await Promise.all(keys.map((key) => session.lock(key, options)))
    await Promise.all(locks.map((lock) => lock.unlock()))
    eventCount += 2 * keys.length
  }
  return eventCount
}

describe('faults: the broker, while clients do not read,', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()

  it(`needs at most 128 MiB of memory, and half a MiB for each of ${watcherCount} watchers`, async () => {
    const served = await ServeProcess.startListening(stage)
    const pid = served.process.pid!
    const watchers: RawClient[] = []
    for (let i = 0; i < watcherCount; i++) {
      const watcher = await RawClient.open(served.url, { lease: 300_000 })
      stage.onCleanUp(() => watcher.drop())
      watcher.send({ type: 'watch', id: 1 })
      await watcher.receive('watching')
      watcher.socket.pause()
      watchers.push(watcher)
    }
    const locker = await stage.openSession(served.url)
    const initialBytes = memoryOf(pid, 'VmRSS')
    await causeEvents(locker)
    const peakBytes = memoryOf(pid, 'VmHWM')
    expect(peakBytes - initialBytes).to.be.below(watcherCount * maxMemoryPerWatcher + workBytes)

    // The broker has disconnected the watchers. A paused socket notices this when it reads again.
    for (const watcher of watchers) {
      watcher.socket.resume()
      await watcher.closed()
    }
    // The broker still serves `locker`: its watch gets the state, and then the new lock.
    const events = new Collector<WatchEvent>()
    locker.watch('k', events.add)
    await events.waitForCount(1)
    await locker.lock('k')
    await events.waitForCount(2)
  })

  it('keeps all events, in order, for a client that reads again later', async () => {
    // These limits of a client's unread output exceed the bytes of all events, so the broker keeps
    // the events for the watcher.
    const flags = ['slowBytes', 'backlogBytes'].flatMap((name) => [
      '--limit',
      `${name}=${2 * eventBytesPerWatcher}`,
    ])
    const served = await ServeProcess.startListening(stage, ...flags)
    const watcher = await RawClient.open(served.url, { lease: 300_000 })
    stage.onCleanUp(() => watcher.drop())
    watcher.send({ type: 'watch', id: 1 })
    await watcher.receive('watching')
    watcher.socket.pause()
    const eventCount = await causeEvents(await stage.openSession(served.url))
    watcher.socket.resume()
    // A fence is the number of a grant. For each fence, `locked` must come before `unlocked`.
    const lastEventByFence = new Map<number, string>()
    for (let i = 0; i < eventCount; i++) {
      const { event, fence } = (await watcher.receive('event')).event as LockEvent
      expect(lastEventByFence.get(fence)).to.equal(event === 'locked' ? undefined : 'locked')
      lastEventByFence.set(fence, event)
    }
    const fences = [...lastEventByFence.keys()]
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
    expect(new Set(lastEventByFence.values())).to.deep.equal(new Set(['unlocked']))
  })
})
