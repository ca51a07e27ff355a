/**
 * Tests a broker with a journal. A real process runs the broker, is killed, and is started again.
 * The journal is a command log on disk, from which the broker restores its lock table. Each session
 * must keep what the broker has confirmed: the locks, their fences (numbers of the grants) and the
 * places in the queues.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, fixedInterval, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { nextEvent } from '../e2e/stage.js'
import { quickOrFull, runRandomTest } from '../support/counts.js'
import { freePort } from '../support/freePort.js'
import { holdfastFile } from '../support/programs.js'

describe('journal: a broker that is killed', () => {
  let dir: string
  let port: number
  let broker: ChildProcess | undefined
  const sessions: Session[] = []

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'holdfast-journal-'))
    port = await freePort()
  })

  afterEach(async () => {
    await Promise.all(sessions.splice(0).map((session) => session.close()))
    await kill()
    rmSync(dir, { recursive: true, force: true })
  })

  /** Starts the broker, and resolves when it listens. */
  async function start(): Promise<void> {
    // With `--drain 0`, a SIGTERM ends the broker although sessions hold locks.
    const args = [holdfastFile, 'serve', '--port', String(port), '--journal', dir, '--drain', '0']
    broker = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    // The broker prints its first line when it listens.
    await once(broker.stdout!, 'data')
  }

  /** Ends the process of the broker, and waits for its exit. */
  async function kill(): Promise<void> {
    if (broker === undefined) return
    const exited = once(broker, 'exit')
    broker.kill('SIGKILL')
    await exited
    broker = undefined
  }

  /** Connects a client, which tries every 20 ms to reconnect while it has no connection. */
  async function openSession(): Promise<Session> {
    const session = await connect(`ws://127.0.0.1:${port}`, {
      grace: 'lease',
      lease: 60_000,
      reconnect: fixedInterval({ interval: 20 }),
    })
    sessions.push(session)
    return session
  }

  it('continues with its locks, their fences and the waiting requests', async () => {
    await start()
    const [alice, bob, carol] = [await openSession(), await openSession(), await openSession()]
    const lock = await alice.lock('orders:42', { metadata: { why: 'test' } })
    // The broker writes the requests of a session to the journal in order. So once the second
    // request of a session is granted, the journal has the first request, which waits.
    const requestOfBob = bob.lock('orders:42')
    await bob.lock('orders:43')
    const requestOfCarol = carol.lock('orders:42')
    await carol.lock('orders:44')
    const resumed = [alice, bob, carol].map((session) => nextEvent(session, 'resumed'))
    await kill()
    await start()
    await Promise.all(resumed)
    expect(lock.held).to.equal(true)
    const { held, waiting } = await alice.query({ key: 'orders:42' })
    expect(held).to.have.length(1)
    expect(held[0]).to.include({ session: alice.id, fence: lock.fence })
    expect(held[0]!.metadata).to.deep.equal({ why: 'test' })
    expect(waiting.map(({ session }) => session)).to.deep.equal([bob.id, carol.id])
    await lock.unlock()
    const lockOfBob = await requestOfBob
    expect(lockOfBob.fence).to.be.greaterThan(lock.fence)
    await lockOfBob.unlock()
    expect((await requestOfCarol).fence).to.be.greaterThan(lockOfBob.fence)
  })

  it('exits with code 0 after a SIGTERM, and continues with its locks after a start', async () => {
    await start()
    const alice = await openSession()
    const lock = await alice.lock('k')
    const resumed = nextEvent(alice, 'resumed')
    const exited = once(broker!, 'exit')
    broker!.kill('SIGTERM')
    expect(await exited).to.deep.equal([0, null])
    await start()
    await resumed
    expect(lock.held).to.equal(true)
  })

  it('grants no lock twice and loses no request after kills at any moment', async function () {
    this.timeout(600_000)
    await runRandomTest(async (random) => {
      await start()
      const workers = await Promise.all(Array.from({ length: 4 }, openSession))
      let isOver = false
      let highestFence = 0
      const counts = { grants: 0, overlaps: 0 }
      const heldKeys = new Set<string>()
      const work = workers.map(async (session) => {
        while (!isOver) {
          // The four workers share three keys, so that requests wait.
          const key = `k${random.below(3)}`
          const lock = await session.lock(key)
          counts.grants++
          if (heldKeys.has(key)) counts.overlaps++
          heldKeys.add(key)
          highestFence = Math.max(highestFence, lock.fence)
          // Sends another request, so that the session holds the lock for a while.
          await session.stats()
          heldKeys.delete(key)
          await lock.unlock()
        }
      })
      for (let round = 0; round < quickOrFull(3, 20); round++) {
        // Kills the broker after a random number of grants, at least five. Each call of `stats`
        // only waits for an answer, while the workers go on.
        const grantsAtKill = counts.grants + 5 + random.below(40)
        while (counts.grants < grantsAtKill) await workers[0]!.stats()
        const resumed = workers.map((session) => nextEvent(session, 'resumed'))
        await kill()
        await start()
        await Promise.all(resumed)
      }
      isOver = true
      await Promise.all(work)
      expect(counts.overlaps).to.equal(0)
      // Each of at least three rounds has at least five grants.
      expect(counts.grants).to.be.at.least(15)
      const { heldCount, waitingCount } = await workers[0]!.query()
      expect({ heldCount, waitingCount }).to.deep.equal({ heldCount: 0, waitingCount: 0 })
      const lastLock = await workers[0]!.lock('after')
      expect(lastLock.fence).to.be.greaterThan(highestFence)
    })
  })
})
