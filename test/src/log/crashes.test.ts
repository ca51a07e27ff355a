/**
 * Runs a broker that has a journal as a real process, and kills the process at named points of its
 * work. The journal is a command log on disk, from which the broker restores its lock table after a
 * crash. Every answer that a client received must be true of the restored table. A ledger records
 * these answers and lists each false answer as a lie.
 */
import type { Lock } from '@holdfast/client'
import { LockTable } from '@holdfast/server/core'
import { expect } from 'chai'
import { isFullRun, quickOrFull, Random } from '../support/counts.js'
import { crashAtPoints } from './crashes.js'
import { Ledger } from './ledger.js'
import { crashPoints } from './points.js'

describe('journal: crashes', () => {
  it('leave every received answer true, at each named point', async function () {
    this.timeout(600_000)
    // A quick run crashes only at every second point.
    const points = crashPoints.filter((_, i) => isFullRun || i % 2 === 0)
    // A quick run has one round for each chosen point.
    const rounds = quickOrFull(points.length, 20)
    const { crashes, lies, grants } = await crashAtPoints(rounds, new Random(), points)
    expect(lies).to.deep.equal([])
    expect([...crashes.keys()]).to.deep.equal(points)
    // One session holds 1,200 locks all the time. More grants mean that other sessions got locks.
    expect(grants).to.be.greaterThan(1_200)
  })

  it('are checked by a ledger that reports missing locks, and unlocked locks that are still held', async () => {
    const ledger = new Ledger()
    // A fence is the number of a grant.
    const lock = { key: 'k', fence: 7, unlock: async () => {} } as Lock
    ledger.granted(lock, 's')
    expect(ledger.lies(new LockTable())).to.deep.equal([
      'k was granted with fence 7, and is not held',
      'fence 7 can be granted again',
    ])
    const table = new LockTable()
    const limits = { locks: 10, answers: 10, waitersPerKey: 10 }
    table.apply({
      ...{ type: 'open', handshakeId: 'a', session: 's', principal: 'p', name: undefined, at: 0 },
      ...{ ownerBroker: '', lease: 15_000, grace: 15_000, secret: 'hash', limits },
    })
    // The next grant has the fence 7, as in the ledger.
    table.apply({ type: 'raiseFenceFloor', fence: 6, at: 0 })
    table.apply({
      ...{ type: 'lock', session: 's', attachEpoch: 1, id: 1, key: 'k', mode: 'exclusive' },
      ...{ ttl: undefined, timeout: undefined, steal: false, metadata: undefined, at: 0 },
    })
    expect(ledger.lies(table)).to.deep.equal([])
    await ledger.unlock(lock)
    expect(ledger.lies(table)).to.deep.equal(['k was unlocked, and is held: 7'])
  })
})
