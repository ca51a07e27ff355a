/**
 * Watchers that stop reading while the broker sends them many events. The memory of the broker may
 * grow by half of its limit for each such watcher, and the broker must serve all other clients.
 */
import { readFileSync } from 'node:fs'
import type { Session, WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { ServeProcess } from '../e2e/remote.js'
import { Collector, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'

const mib = 1024 * 1024
/** With 1,000 readers the kernel's memory for TCP ends, and it drops what the broker has sent. */
const readers = count(30, 300)
/** More than the kernel's buffers and the broker's limit together. */
const bytesForEach = 16 * mib
/**
 * An allowance for each reader: the contents of its socket, and garbage. A reader may leave 1 MiB
 * unread, but the broker keeps a common output only once.
 */
const mostForEach = mib / 2
/** An allowance for the work of the broker itself. */
const workBytes = 128 * mib

/** A number of the kernel about the memory of a process, in bytes. */
function memoryOf(pid: number, figure: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${figure}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}

/** Makes events of so many bytes for every watcher. Returns the number of events. */
async function pile(busy: Session): Promise<number> {
  const metadata = [['x'.repeat(4_000)], ['€'.repeat(1_333)]]
  const keys = Array.from({ length: 10 }, (_, i) => `k${i}`)
  let events = 0
  for (let sent = 0; sent < bytesForEach; sent += 2 * keys.length * 4_000) {
    const terms = { metadata: metadata[events % 3 === 0 ? 1 : 0] }
    const locks = await Promise.all(keys.map((key) => busy.lock(key, terms)))
    await Promise.all(locks.map((lock) => lock.unlock()))
    events += 2 * keys.length
  }
  return events
}

describe('faults: memory while clients do not read', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()

  it(`of ${readers} such clients: grows by at most half of the limit for each client`, async () => {
    const served = await ServeProcess.start(stage)
    const pid = served.process.pid!
    const sloths: RawClient[] = []
    for (let i = 0; i < readers; i++) {
      const sloth = await RawClient.open(served.url, { lease: 300_000 })
      stage.onClear(() => sloth.drop())
      sloth.send({ type: 'watch', id: 1 })
      await sloth.receive('watching')
      sloth.socket.pause()
      sloths.push(sloth)
    }
    const busy = await stage.session(served.url)
    const before = memoryOf(pid, 'VmRSS')
    await pile(busy)
    const most = memoryOf(pid, 'VmHWM')
    expect(most - before).to.be.below(readers * mostForEach + workBytes)

    for (const sloth of sloths) {
      sloth.socket.resume()
      await sloth.closed()
    }
    const events = new Collector<WatchEvent>()
    busy.watch('k', events.add)
    await events.count(1)
    await busy.lock('k')
    await events.count(2)
  })

  it('of one such client that reads again later: it gets all events, in order', async () => {
    const patience = ['slowBytes', 'backlogBytes'].flatMap((name) => [
      '--limit',
      `${name}=${2 * bytesForEach}`,
    ])
    const served = await ServeProcess.start(stage, ...patience)
    const reader = await RawClient.open(served.url, { lease: 300_000 })
    stage.onClear(() => reader.drop())
    reader.send({ type: 'watch', id: 1 })
    await reader.receive('watching')
    reader.socket.pause()
    const events = await pile(await stage.session(served.url))
    reader.socket.resume()
    const told = new Map<number, string>()
    for (let i = 0; i < events; i++) {
      const { event, fence } = (await reader.receive('event')).event
      expect(told.get(fence)).to.equal(event === 'locked' ? undefined : 'locked')
      told.set(fence, event)
    }
    const fences = [...told.keys()]
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b))
    expect(new Set(told.values())).to.deep.equal(new Set(['unlocked']))
  })
})
