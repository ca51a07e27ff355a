/**
 * All connections of a broker break at once, as in a short network failure, and every session
 * returns. All sessions are resumed, and no lock and no queue position is lost.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Lock, Session } from '@holdfast/client'
import { expect } from 'chai'
import { next, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'

const crowd = Math.min(count(1_000, 10_000), mostSockets())

/** How many connections a process may have, with an allowance for other files. */
function mostSockets(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? 1_024) - 200
}

interface Counts {
  readonly heldCount: number
  readonly waitingCount: number
  readonly totalLocks: number
  readonly failedLocks: number
}

/** Runs an action, and returns the broker's state afterwards. */
async function tell(broker: ChildProcess, word: 'reset' | 'count'): Promise<Counts> {
  const answer = once(broker, 'message')
  broker.send(word)
  const [counts] = (await answer) as [Counts]
  return counts
}

describe('faults: a storm of resumes', function () {
  this.timeout(300_000)
  const stage = Stage.forEachTest()

  it(`of ${crowd} sessions: all are resumed, with all locks and queue positions`, async () => {
    const broker = fork(fileURLToPath(new URL('./programs/resettingBroker.js', import.meta.url)))
    stage.onClear(() => broker.kill('SIGKILL'))
    const [port] = (await once(broker, 'message')) as [number]
    const sessions = await connectAll(stage, `ws://127.0.0.1:${port}`)
    // A ring: each session holds a lock and waits for the lock of its neighbour.
    const locks = await Promise.all(sessions.map((session, i) => session.lock(`k${i}`)))
    const waits = sessions.map((session, i) => session.lock(`k${(i + 1) % crowd}`))
    await Promise.all(sessions.map((session) => session.stats()))
    const all = { heldCount: crowd, waitingCount: crowd, totalLocks: crowd, failedLocks: 0 }
    expect(await tell(broker, 'count')).to.deep.equal(all)

    const faults: string[] = []
    for (const session of sessions) {
      session.on('lost', () => faults.push('lost'))
      session.on('newSession', () => faults.push('newSession'))
    }
    const resumed = sessions.map((session) => next(session, 'resumed'))
    await tell(broker, 'reset')
    await Promise.all(resumed)

    expect(faults).to.deep.equal([])
    expect(await tell(broker, 'count')).to.deep.equal(all)
    expect(locks.every(({ held }) => held)).to.equal(true)
    await unlockRound(locks, waits)
    const none = { heldCount: 0, waitingCount: 0, totalLocks: 2 * crowd, failedLocks: 0 }
    expect(await tell(broker, 'count')).to.deep.equal(none)
    expect(faults).to.deep.equal([])
  })
})

/** Connects a hundred sessions at a time, which a broker must accept at any time. */
async function connectAll(stage: Stage, url: string): Promise<Session[]> {
  const sessions: Session[] = []
  for (let i = 0; i < crowd; i += 100) {
    const batch = Array.from({ length: Math.min(100, crowd - i) }, () =>
      stage.session(url, { lease: 120_000, grace: 'lease' }),
    )
    sessions.push(...(await Promise.all(batch)))
  }
  return sessions
}

/**
 * Every session unlocks its lock, so that its neighbour gets the lock. Then every session unlocks
 * the lock that it got.
 */
async function unlockRound(locks: readonly Lock[], waits: readonly Promise<Lock>[]): Promise<void> {
  await Promise.all(locks.map((lock) => lock.unlock()))
  const granted = await Promise.all(waits)
  expect(granted.every(({ held }) => held)).to.equal(true)
  await Promise.all(granted.map((lock) => lock.unlock()))
}
