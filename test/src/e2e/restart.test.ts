/**
 * Tests the restart of a broker: what its sessions do, and that fences rise after every kind of
 * restart, even if a clock was wrong. A fence is the number of a grant. The broker reserves fences
 * before it grants them. A fence file keeps the highest reserved fence on the disk.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fixedInterval } from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { ServeProcess } from './remote.js'
import { nextEvent, Stage, untilAborted, untilMessagesHandled } from './stage.js'

const reconnect = fixedInterval({ interval: 10 })

describe('e2e: restart of a broker', () => {
  const stage = Stage.forEachTest()

  it('loses the locks after kill -9, and clients repeat waiting requests in new sessions', async () => {
    const first = await ServeProcess.startListening(stage)
    const ann = await stage.openSession(first.url, { reconnect, name: 'ann' })
    const ben = await stage.openSession(first.url, { reconnect, name: 'ben' })
    const lockOfAnn = await ann.lock('k')
    const waiting = ben.lock('k')
    await untilMessagesHandled(ben)
    const firstId = ben.id
    const lost = nextEvent(ann, 'lost')
    const newSession = nextEvent(ben, 'newSession')
    first.kill('SIGKILL')
    expect((await lost).reason).to.equal('session')
    expect(lockOfAnn.held).to.equal(false)
    expect(await untilAborted(lockOfAnn.signal)).to.include({ code: 'LOCK_LOST' })
    await first.exit()
    await ServeProcess.startListening(stage, '--port', first.port)
    await newSession
    expect(ben.id).not.to.equal(firstId)
    const lockOfBen = await waiting
    expect(lockOfBen.held).to.equal(true)
    expect(lockOfBen.fence).to.be.above(lockOfAnn.fence)
  })

  it('is followed by higher fences, even without a fence file', async () => {
    let highest = 0
    for (let start = 0; start < 3; start++) {
      const { broker, url } = await stage.startBroker()
      const session = await stage.openSession(url)
      for (let i = 0; i < 100; i++) {
        const lock = await session.lock('k')
        expect(lock.fence).to.be.above(highest)
        highest = lock.fence
        await lock.unlock()
      }
      await broker.close()
    }
  })

  it('is followed by higher fences after kill -9 with a fence file, although the clock was once ahead', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    stage.onCleanUp(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'fences')
    // Writes the file of a broker whose clock was ten years ahead. The fences of a new file begin
    // at 1,024 times the Unix time in ms.
    const fenceAhead = (Date.now() + 10 * 365 * 86_400_000) * 1_024
    writeFileSync(file, `holdfast fences ${fenceAhead}\n`)
    let highest = fenceAhead
    for (let start = 0; start < 3; start++) {
      const serveProcess = await ServeProcess.startListening(stage, '--fence-file', file)
      const session = await stage.openSession(serveProcess.url, { reconnect: false })
      const { fence } = await session.lock('k')
      expect(fence).to.be.above(highest)
      highest = fence
      serveProcess.kill('SIGKILL')
      await serveProcess.exit()
      // The highest reserved fence is above all granted fences.
      expect(Number(/\d+/.exec(readFileSync(file, 'utf8'))?.[0])).to.be.above(highest)
    }
  })

  it('fails before the broker listens, if the fence file is damaged', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-fences-'))
    stage.onCleanUp(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'fences')
    writeFileSync(file, 'not a number')
    expect(() => createBroker({ fenceFile: file })).to.throw(/not a fence file/)
    const serveProcess = ServeProcess.runCommand(
      stage,
      'serve',
      '--port',
      '0',
      '--fence-file',
      file,
    )
    // 78 is the exit code for an invalid setting.
    expect((await serveProcess.exit()).code).to.equal(78)
    const [errorLine] = await serveProcess.errorLines.waitForCount(1)
    expect(errorLine).to.match(/^holdfast: The fence file .* is not a fence file/)
  })
})
