/**
 * Tests the snapshots that a broker makes of its own lock table. Usually a snapshot is made from
 * the entries of the shared log. If the log has dropped entries that no snapshot covers, the broker
 * uses its table instead. The broker serves its clients while it writes the snapshot, so the
 * clients change the table between two parts of the snapshot.
 */
import { dump, LockTable } from '@holdfast/server/core'
import { Digest, MemberList, nodeEnvironment, saveState } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Cluster, type Member } from './cluster.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

/** The lock table of a broker as text, for a comparison of two brokers. */
function tableText({ broker }: Member): string {
  return Array.from(dump(broker.table as LockTable), (item) => JSON.stringify(item)).join('\n')
}

describe('replicated log: snapshots that a broker makes of its own table', () => {
  it('have the state of the table when they began, although clients change the table meanwhile', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const client = await cluster.connectClient(a)
    const waiter = await cluster.connectClient(a)
    const keyCount = 40
    const fences: number[] = []
    for (let id = 1; id <= keyCount; id++)
      fences.push(await cluster.lock(client, { id, key: `key ${id}` }))
    for (let id = 1; id <= keyCount; id += 2)
      await cluster.send(waiter, { type: 'lock', id, key: `key ${id}` })
    // Removes all entries, so that a joining broker needs a snapshot of the table of `a`.
    cluster.store.compact(cluster.store.position)
    let id = keyCount
    let partCount = 0
    a.source.onPart = () => {
      partCount++
      // Unlocks a lock from the beginning of the table and a lock from its end, and locks a key.
      for (const fence of [fences.shift(), fences.pop()])
        if (fence !== undefined) client.say({ type: 'unlock', id: ++id, fence })
      client.say({ type: 'lock', id: ++id, key: `new key ${id}` })
    }
    const b = await cluster.startBroker()
    expect(partCount).to.be.greaterThan(5)
    expect(cluster.store.snapshots.length).to.equal(1)
    expect(tableText(b)).to.equal(tableText(a))
    expect(a.failures).to.deep.equal([])
    expect(b.failures).to.deep.equal([])
  })

  it('are not saved if their items do not have the digest of the table', async () => {
    const store = new MemoryStore(nodeEnvironment)
    const engine = new MemorySource(store).create()
    const state = { position: 2, at: 0, members: new MemberList() }
    const table = new LockTable()
    let endCount = 0
    const ignoreProblem = (): void => {}
    const snapshot = (digest: string) => ({ digest, items: dump(table), end: () => endCount++ })
    // The digest is a hash of the table: 0.0 for an empty table.
    const error = await saveState(engine, state, snapshot('1.2'), ignoreProblem).catch(
      (reason) => reason,
    )
    expect(error.message).to.equal(
      'the items of the snapshot have the digest 0.0, but the table has 1.2',
    )
    expect(store.snapshots).to.deep.equal([])
    const { value } = new Digest(table)
    expect(await saveState(engine, state, snapshot(value), ignoreProblem)).to.equal(state.position)
    // `end` was called for the refused snapshot too.
    expect(endCount).to.equal(2)
  })

  it('do not prevent the next snapshot if the log cannot store them', async () => {
    const cluster = new Cluster()
    const a = await cluster.startBroker()
    const client = await cluster.connectClient(a)
    for (let id = 1; id <= 20; id++) await cluster.lock(client, { id, key: `key ${id}` })
    cluster.store.compact(cluster.store.position)
    a.source.onPart = () => a.source.cut()
    // The broker checks every 60 s whether the log has dropped entries that no snapshot covers.
    await cluster.passTime(62_000)
    expect(cluster.store.snapshots).to.deep.equal([])
    a.source.onPart = () => {}
    a.source.mend()
    // In this time the broker checks at least twice more.
    await cluster.passTime(130_000)
    expect(cluster.store.snapshots.length).to.be.greaterThan(0)
    const b = await cluster.startBroker()
    expect(tableText(b)).to.equal(tableText(a))
  })
})
