/**
 * Tests a journal on a full disk, a small file system in memory. The journal is a command log on
 * disk, from which a broker restores its lock table; LMDB is the database of the journal. When the
 * disk is full, the broker must stop granting immediately, report the reason and exit. When more
 * space is free, the next broker must restore all locks that clients hold.
 */
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdtempSync,
  renameSync,
  rmdirSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fixedInterval, type Session } from '@holdfast/client'
import { journalLog } from '@holdfast/server'
import { expect } from 'chai'
import { ServeProcess } from '../e2e/remote.js'
import { nextEvent, Stage } from '../e2e/stage.js'
import { Holdfast } from '../ops/command.js'
import { freePort } from '../support/freePort.js'
import { needs } from '../support/needs.js'
import type { EmbeddedBrokerMessage } from './programs/embeddedJournal.js'

const program = fileURLToPath(new URL('./programs/embeddedJournal.js', import.meta.url))

const mount = (...args: string[]): unknown => execFileSync('mount', args)

/** Mounts a disk of 1 MiB. Returns its path. */
function mountSmallDisk(stage: Stage): string {
  const disk = mkdtempSync(join(tmpdir(), 'holdfast-disk-'))
  mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk)
  stage.onCleanUp(() => {
    // LMDB keeps the file of a failed journal open until the process ends, so only a lazy unmount
    // succeeds.
    execFileSync('umount', ['--lazy', disk])
    rmdirSync(disk)
  })
  return disk
}

describe('journal: a read-only disk', () => {
  needs('mounts')
  const stage = Stage.forEachTest()

  it('is the reason that a start reports, and not damage', async () => {
    const disk = mountSmallDisk(stage)
    const dir = join(disk, 'journal')
    const broker = await ServeProcess.startListening(stage, '--port', '0', '--journal', dir)
    broker.kill('SIGINT')
    await broker.exit()
    mount('-o', 'remount,ro', disk)
    const restarted = await Holdfast.run(stage, ['serve', '--port', '0', '--journal', dir])
    expect(restarted.err).to.deep.equal([
      `holdfast: The journal directory ${dir} cannot be opened (Read-only file system: ` +
        'Attempting to setup locks)',
    ])
    expect(restarted.code).to.equal(74)
    const newDir = join(disk, 'new')
    const { code, err } = await Holdfast.run(stage, ['serve', '--port', '0', '--journal', newDir])
    expect(err.join()).to.match(/new cannot be used as a directory \(EROFS: read-only/)
    expect(code).to.equal(78)
  })
})

describe('journal: a full disk', () => {
  needs('mounts')
  const stage = Stage.forEachTest()

  /**
   * Starts a program with an embedded broker, and connects a session. The returned `failure`
   * resolves with the reason when the journal has failed. `requestLocks` requests so many locks
   * that the disk becomes full.
   */
  async function embeddedBroker(dir: string) {
    const child = fork(program, [dir])
    stage.onCleanUp(() => void child.kill('SIGKILL'))
    const exited = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the broker exited with code ${code} and signal ${signal}`)
    })
    // Prevents an unhandled rejection if the program exits while no call of `received` waits.
    exited.catch(() => {})
    const messages: Partial<Record<string, unknown>> = {}
    child.on('message', (message: EmbeddedBrokerMessage) => Object.assign(messages, message))
    const received = async (name: string): Promise<string> => {
      while (messages[name] === undefined) await Promise.race([once(child, 'message'), exited])
      return String(messages[name])
    }
    const session = await stage.openSession(await received('url'))
    // 500 locks with 4 kB each are more than the disk of 1 MiB can store.
    const metadata = 'x'.repeat(4_000)
    const keys = Array.from({ length: 500 }, (_, i) => `key ${i}`)
    const requestLocks = () =>
      Promise.allSettled(keys.map((key) => session.lock(key, { metadata })))
    const close = (): Promise<string> => {
      child.send('close')
      return received('closed')
    }
    return { failure: received('failed'), session, requestLocks, close }
  }

  /**
   * Locks keys with large metadata until `end` resolves. Returns the fence (the number of the
   * grant) of each locked key.
   */
  async function fill(session: Session, end: Promise<unknown>): Promise<Map<string, number>> {
    const fences = new Map<string, number>()
    let hasEnded = false
    const ending = end.then(() => {
      hasEnded = true
    })
    for (let i = 0; !hasEnded; i++) {
      const request = session.lock(`key ${i}`, { metadata: 'x'.repeat(4_000) })
      const lock = await Promise.race([request, ending])
      if (lock !== undefined) fences.set(lock.key, lock.fence)
    }
    return fences
  }

  it('makes the broker stop granting, print the reason and exit with code 74; no lock is lost', async () => {
    const disk = mountSmallDisk(stage)
    const args = ['--port', String(await freePort()), '--journal', join(disk, 'journal')]
    const firstBroker = await ServeProcess.startListening(stage, ...args)
    const reconnect = fixedInterval({ interval: 20 })
    const session = await stage.openSession(firstBroker.url, {
      grace: 'lease',
      lease: 60_000,
      reconnect,
    })
    // The client emits `jeopardy` when it loses the broker and may lose its locks.
    const fences = await fill(session, nextEvent(session, 'jeopardy'))
    expect(fences.size).to.be.greaterThan(10)
    expect(await firstBroker.exit()).to.deep.equal({ code: 74, signal: null })
    const errorLines = await firstBroker.errorLines.waitUntil((lines) =>
      lines.some((line) => /^holdfast/.test(line)),
    )
    expect(errorLines.filter((line) => /^holdfast/.test(line))).to.have.length(1)
    expect(errorLines.at(-1)).to.match(
      /cannot be written \(.*; \d+ bytes are free\), so the broker has stopped granting: free/,
    )

    // The operator makes the disk larger.
    mount('-o', 'remount,size=64m', disk)
    const resumed = nextEvent(session, 'resumed')
    await ServeProcess.startListening(stage, ...args)
    await resumed
    const { held } = await session.query()
    const restoredFences = new Map(held.map(({ key, fence }) => [key, fence]))
    // The broker may also have the lock of the last request of `fill`, which got no answer.
    for (const [key, fence] of fences) expect(restoredFences.get(key), key).to.equal(fence)
    // The new lock must have a fence above the fences of all earlier locks.
    const lastLock = await session.lock('after', { timeout: 0 })
    expect(lastLock.fence).to.be.greaterThan(Math.max(...fences.values()))
  })

  it('lets no broker create a journal until space is free', async () => {
    const disk = mountSmallDisk(stage)
    const filler = join(disk, 'filler')
    const size = statfsSync(disk).bavail * statfsSync(disk).bsize
    writeFileSync(filler, Buffer.alloc(size))
    const journal = join(disk, 'journal')
    const args = ['serve', '--port', '0', '--journal', journal]
    const { code, err } = await Holdfast.run(stage, args)
    expect({ code, err }).to.deep.equal({
      code: 74,
      err: [
        `holdfast: The journal directory ${journal} has no space for a journal ` +
          '(0 bytes are free): make sure that at least 65536 bytes are free',
      ],
    })
    truncateSync(filler, 0)
    await stage.startBroker({ log: journalLog({ dir: journal }) })
  })

  it('does not block the close of a broker that is embedded in a program', async () => {
    const dir = join(mountSmallDisk(stage), 'journal')
    const { failure, session, requestLocks, close } = await embeddedBroker(dir)
    const lost = nextEvent(session, 'lost')
    const answers = requestLocks()
    expect(await failure).to.contain('cannot be written')
    await lost
    await close()
    await session.close()
    const outcomes = new Set((await answers).map(({ status }) => status))
    expect([...outcomes]).to.include('rejected')
  })

  it('makes the broker report the failure, even if the directory was renamed', async () => {
    const dir = join(mountSmallDisk(stage), 'journal')
    const { failure, session, requestLocks, close } = await embeddedBroker(dir)
    renameSync(dir, `${dir}.old`)
    const answers = requestLocks()
    expect(await failure).to.match(/cannot be written \(.*; the free space is unknown, ENOENT/)
    await close()
    await session.close()
    await answers
  })
})
