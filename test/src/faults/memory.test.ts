/**
 * Tests watchers that stop reading while the broker sends them many events. A watcher may leave
 * 1 MiB unread, but the memory of the broker may grow by only half of this for each watcher. The
 * broker must still serve all other clients.
 */
import { readFileSync } from 'node:fs'
import type { LockEvent, Session, WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { ServeProcess } from '../e2e/remote.js'
import { Collector, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'

const mib = 1024 * 1024
/**
 * The number of watchers. With 1,000 watchers the kernel has no memory left for TCP, and drops data
 * that the broker has sent.
 */
const watcherCount = count(12, 300)
/**
 * The bytes of events for each watcher: more than the buffers of the kernel and the limit of the
 * broker together.
 */
const eventBytesPerWatcher = 16 * mib
/**
 * The allowance for each watcher, in bytes: for garbage, and for the contents of its socket. Most
 * unread output needs no memory of its own, because watchers share one copy of equal output.
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
  // Each round causes two events of 4 kB for each key: one for the lock, one for the unlock. Every
  // third round has the text that is not ASCII, because `eventCount`, which rises by 20, is then
  // divisible by 3.
  for (let sent = 0; sent < eventBytesPerWatcher; sent += 2 * keys.length * 4_000) {
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

  it(`needs at most half a MiB of memory for each of ${watcherCount} watchers`, async () => {
    const served = await ServeProcess.startListening(stage)
    const pid = served.process.pid!
    const watchers: RawClient[] = []
    for (let i = 0; i < watcherCount; i++) {
      const watcher = await RawClient.open(served.url, { lease: 300_000 })
      stage.onClear(() => watcher.drop())
      watcher.send({ type: 'watch', id: 1 })
      await watcher.receive('watching')
      watcher.socket.pause()
      watchers.push(watcher)
    }
    const busy = await stage.session(served.url)
    const initialBytes = memoryOf(pid, 'VmRSS')
    await causeEvents(busy)
    const peakBytes = memoryOf(pid, 'VmHWM')
    expect(peakBytes - initialBytes).to.be.below(watcherCount * maxMemoryPerWatcher + workBytes)

    // The broker has disconnected the watchers. A paused socket notices this when it reads again.
    for (const watcher of watchers) {
      watcher.socket.resume()
      await watcher.closed()
    }
    // The broker still serves another client: its watch gets the state, and then the new lock.
    const events = new Collector<WatchEvent>()
    busy.watch('k', events.add)
    await events.waitForCount(1)
    await busy.lock('k')
    await events.waitForCount(2)
  })

  it('keeps all events, in order, for a client that reads again later', async () => {
    // With limits beyond the bytes of all events, the broker keeps the events for the watcher.
    const flags = ['slowBytes', 'backlogBytes'].flatMap((name) => [
      '--limit',
      `${name}=${2 * eventBytesPerWatcher}`,
    ])
    const served = await ServeProcess.startListening(stage, ...flags)
    const watcher = await RawClient.open(served.url, { lease: 300_000 })
    stage.onClear(() => watcher.drop())
    watcher.send({ type: 'watch', id: 1 })
    await watcher.receive('watching')
    watcher.socket.pause()
    const eventCount = await causeEvents(await stage.session(served.url))
    watcher.socket.resume()
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
