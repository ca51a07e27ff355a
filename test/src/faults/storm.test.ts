/**
 * Tests a storm of resumes: all connections of a broker break at the same time, as in a short
 * network failure. Every client must resume its session, and no session may lose a lock or a place
 * in a queue.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Lock, Session } from '@holdfast/client'
import { expect } from 'chai'
import { nextEvent, Stage } from '../e2e/stage.js'
import { quickOrFull } from '../support/counts.js'
import { maxSockets } from '../support/openFiles.js'

const sessionCount = Math.min(quickOrFull(500, 10_000), maxSockets())

interface Counts {
  readonly heldCount: number
  readonly waitingCount: number
  /** The lock requests that were granted or failed since the broker started. */
  readonly totalLocks: number
  /** The part of `totalLocks` that failed. */
  readonly failedLocks: number
}

/**
 * Sends a command to the broker's process, which answers with its counts. On `reset`, the process
 * first resets all connections of the broker.
 */
async function countsAfter(command: 'reset' | 'count', broker: ChildProcess): Promise<Counts> {
  const answer = once(broker, 'message')
  broker.send(command)
  const [counts] = (await answer) as [Counts]
  return counts
}

describe('faults: a storm of resumes', function () {
  this.timeout(300_000)
  const stage = Stage.forEachTest()

  it(`resumes all ${sessionCount} sessions, with all their locks and places in queues`, async () => {
    const broker = fork(fileURLToPath(new URL('./programs/resettingBroker.js', import.meta.url)))
    stage.onCleanUp(() => broker.kill('SIGKILL'))
    const [port] = (await once(broker, 'message')) as [number]
    const sessions = await connectAll(stage, `ws://127.0.0.1:${port}`)
    // The sessions form a ring: each session holds a lock and waits for the lock of the next
    // session.
    const locks = await Promise.all(sessions.map((session, i) => session.lock(`k${i}`)))
    const requests = sessions.map((session, i) => session.lock(`k${(i + 1) % sessionCount}`))
    // An answer to `stats` shows that the broker has handled the earlier requests of the session.
    await Promise.all(sessions.map((session) => session.stats()))
    const expectedCounts = {
      heldCount: sessionCount,
      waitingCount: sessionCount,
      totalLocks: sessionCount,
      failedLocks: 0,
    }
    expect(await countsAfter('count', broker)).to.deep.equal(expectedCounts)
    const losses: string[] = []
    for (const session of sessions) {
      session.on('lost', () => losses.push('lost'))
      session.on('newSession', () => losses.push('newSession'))
    }
    const resumed = sessions.map((session) => nextEvent(session, 'resumed'))
    await countsAfter('reset', broker)
    await Promise.all(resumed)
    expect(losses).to.deep.equal([])
    expect(await countsAfter('count', broker)).to.deep.equal(expectedCounts)
    expect(locks.every(({ held }) => held)).to.equal(true)
    await unlockInTwoRounds(locks, requests)
    const finalCounts = {
      heldCount: 0,
      waitingCount: 0,
      totalLocks: 2 * sessionCount,
      failedLocks: 0,
    }
    expect(await countsAfter('count', broker)).to.deep.equal(finalCounts)
    expect(losses).to.deep.equal([])
  })
})

/**
 * Connects the sessions in batches of 100, because a broker refuses a connection while too many
 * handshakes are in progress (`limits.pendingConnections`).
 */
async function connectAll(stage: Stage, url: string): Promise<Session[]> {
  // The lease is how long a silent session survives. The grace is how long a session survives the
  // loss of its connection, here as long as the lease.
  const options = { lease: 120_000, grace: 'lease' } as const
  const sessions: Session[] = []
  for (let i = 0; i < sessionCount; i += 100) {
    const batch = Array.from({ length: Math.min(100, sessionCount - i) }, () =>
      stage.openSession(url, options),
    )
    sessions.push(...(await Promise.all(batch)))
  }
  return sessions
}

/**
 * Every session unlocks its lock, so that another session gets the lock. Then every session unlocks
 * the lock that it got.
 */
async function unlockInTwoRounds(
  locks: readonly Lock[],
  requests: readonly Promise<Lock>[],
): Promise<void> {
  await Promise.all(locks.map((lock) => lock.unlock()))
  const newLocks = await Promise.all(requests)
  expect(newLocks.every(({ held }) => held)).to.equal(true)
  await Promise.all(newLocks.map((lock) => lock.unlock()))
}
