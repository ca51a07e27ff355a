/**
 * Readers that stand still, with everything that happens addressed to them: the broker's memory
 * stays below what it was plus twice its limit for each, and everybody else is served.
 */
import { readFileSync } from 'node:fs'
import type { WatchEvent } from '@holdfast/client'
import { expect } from 'chai'
import { RawClient } from '../e2e/raw.js'
import { Served } from '../e2e/remote.js'
import { Collector, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'

const mib = 1024 * 1024
const readers = count(30, 1_000)
/** More than the kernel takes off the broker's hands, and the broker's limit besides. */
const bytesForEach = 16 * mib
/** The limit of a broker, 1 MiB, and as much again for what the collector has not taken yet. */
const mostForEach = 2 * mib
/** What a broker needs for the work itself, whoever reads. */
const workBytes = 128 * mib

/** A figure from the kernel about the memory of a process, in bytes. */
function memoryOf(pid: number, figure: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${figure}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}

describe('faults: memory while readers stand still', function () {
  this.timeout(600_000)
  const stage = Stage.forEachTest()

  it(`of ${readers} of them: at most twice the limit for each`, async () => {
    const served = await Served.start(stage)
    const pid = served.process.pid!
    const sloths: RawClient[] = []
    for (let i = 0; i < readers; i++) {
      const sloth = await RawClient.greeted(served.url, { ttl: 300_000 })
      stage.onClear(() => sloth.vanish())
      sloth.say({ type: 'watch', id: 1 })
      await sloth.hear('watching')
      sloth.socket.pause()
      sloths.push(sloth)
    }
    const busy = await stage.session(served.url)
    const before = memoryOf(pid, 'VmRSS')
    const metadata = 'x'.repeat(4_000)
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`)
    for (let sent = 0; sent < bytesForEach; sent += 2 * keys.length * metadata.length) {
      const locks = await Promise.all(keys.map((key) => busy.lock(key, { metadata })))
      await Promise.all(locks.map((lock) => lock.unlock()))
    }
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
})
