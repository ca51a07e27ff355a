/**
 * Tests the engine on etcd, which stores a shared command log (the record of all changes of locks).
 * The etcd is real and healthy, and has three members. Besides the common suite of all engines,
 * this file tests the keys in etcd. Each chunk of a snapshot has a key. An incarnation is one life
 * of a broker in the log, and writes its entries to a key of its own, its slot.
 */
import { expect } from 'chai'
import { expectRejection } from '../e2e/stage.js'
import { slowClock } from '../support/slowClock.js'
import { engineSuite } from './engineSuite.js'
import { EtcdStage, logConfig, Reader } from './etcdStage.js'

// The slow clock prevents timeouts: after a timeout the engine may write an entry a second time,
// which most tests do not expect.
engineSuite('on etcd', () => EtcdStage.forSuite({}, slowClock))

describe('log: the engine on etcd and its keys', function () {
  this.timeout(60_000)
  const stage = EtcdStage.forSuite()

  it('refuses keys of another cluster, format or program', async () => {
    await stage.openEngine()
    const open = (change: object) => stage.newEngine().open({ ...logConfig, ...change })
    const clusterError = await expectRejection(open({ cluster: 'east' }), 'INVALID_OPTION')
    expect(clusterError.message).to.equal(
      `The prefix ${stage.prefix} on etcd belongs to the cluster "", not "east": choose another prefix`,
    )
    const formatError = await expectRejection(open({ format: 4 }), 'INVALID_OPTION')
    expect(formatError.message).to.include(
      'has a log of format 3, but this Holdfast needs format 4',
    )
    // The longer prefix is another log, although the keys of both logs begin with the same text.
    const longerPrefix = stage.newEngine({ prefix: `${stage.prefix}x` })
    await longerPrefix.open({ ...logConfig, cluster: 'east' })
    const member = await stage.cluster.leader()
    const key = Buffer.from(`${stage.prefix}y/settings`).toString('base64')
    await member.ask('/v3/kv/put', { key, value: '' })
    const other = stage.newEngine({ prefix: `${stage.prefix}y` })
    const { message } = await expectRejection(other.open(logConfig), 'INVALID_OPTION')
    expect(message).to.equal(
      `The prefix ${stage.prefix}y on etcd has keys of another program ("${stage.prefix}y/settings"): choose an unused prefix`,
    )
  })

  // The entries of a log at `p` have keys below `p/log/`, so the keys of a log at `p/log` would be
  // entries too. An operator who removes the log at `p` would also remove a log at `p/a`.
  for (const subPath of ['log', 'a', 'a/b']) {
    it(`refuses the prefix p/${subPath} if p is the prefix of a log`, async () => {
      const upper = await stage.openEngine()
      const reader = new Reader()
      upper.follow(0, reader)
      await upper.append('b', 'one')
      const lower = stage.newEngine({ prefix: `${stage.prefix}/${subPath}` })
      const { message } = await expectRejection(lower.open(logConfig), 'INVALID_OPTION')
      expect(message).to.equal(
        `The prefix ${stage.prefix}/${subPath} on etcd lies below the prefix ${stage.prefix} of another log: choose a prefix beside it`,
      )
      await upper.append('b', 'two')
      await reader.entries.waitForCount(2)
      expect(reader.texts).to.deep.equal(['one', 'two'])
      expect((await stage.keys()).sort()).to.deep.equal(['config', 'log/b'])
    })
  }

  it('refuses the prefix p if p/a is the prefix of a log', async () => {
    const lower = stage.newEngine({ prefix: `${stage.prefix}/a` })
    await lower.open(logConfig)
    const { message } = await expectRejection(stage.openEngine(), 'INVALID_OPTION')
    expect(message).to.equal(
      `The prefix ${stage.prefix} on etcd lies above the prefix ${stage.prefix}/a of another log: choose a prefix beside it`,
    )
  })

  it('keeps the chunks of only one of several snapshots of the same position', async () => {
    const engines = await Promise.all([1, 2, 3, 4].map(() => stage.openEngine()))
    await Promise.all(engines.map((engine, i) => engine.saveSnapshot(7, [`${i}`])))
    const chunks = (await stage.keys()).filter((key) => key.startsWith('chunks/'))
    expect(chunks).to.have.length(1)
  })

  it('removes the snapshots before a position, and the slots of dead incarnations', async () => {
    const engine = await stage.openEngine()
    await engine.append('dead', 'a')
    for (const text of ['b', 'c', 'd']) await engine.append('living', text)
    const reader = new Reader()
    engine.follow(0, reader)
    await reader.entries.waitForCount(4)
    const [, b, c] = reader.entries.items.map(([position]) => position) as [number, number, number]
    for (const position of [b - 1, b, c]) await engine.saveSnapshot(position, [`up to ${position}`])
    await engine.compact(b, ['living'])
    const chunks = (await stage.keys()).filter((key) => key.startsWith('chunks/'))
    // After `chunks/`, a key has the position of the snapshot in 16 digits.
    expect(chunks.map((key) => Number(key.slice(7, 23)))).to.deep.equal([b, c])
    expect((await stage.keys()).filter((key) => key.startsWith('log/'))).to.deep.equal([
      'log/living',
    ])
  })

  it('keeps the newest entry of a slot after a compaction, so that a replay can begin with this entry', async () => {
    const engine = await stage.openEngine()
    const reader = new Reader()
    engine.follow(0, reader)
    for (const text of ['a', 'b', 'c']) await engine.append('slot', text)
    await reader.entries.waitForCount(3)
    const [, b, c] = reader.entries.items.map(([position]) => position) as [number, number, number]
    await engine.compact(c, ['slot'])
    // A replay begins after its start position, so this replay begins with the newest entry, `c`.
    expect(await engine.canReplayFrom(b)).to.equal(true)
  })

  it('reports a snapshot as damaged if a chunk is missing', async () => {
    const engine = await stage.openEngine()
    await engine.saveSnapshot(10, ['old'])
    const oldSnapshot = await engine.snapshot()
    await engine.saveSnapshot(20, ['new'])
    // Removes the chunks of the old snapshot before the test reads them.
    await engine.compact(20, [])
    const readFirstChunk = async () => {
      for await (const _ of oldSnapshot!.parts) throw new Error('A removed chunk was read')
    }
    const { message } = await expectRejection(readFirstChunk(), 'UNAVAILABLE')
    expect(message).to.match(/^The snapshot of the shared log is damaged at the key .*\/chunks\//)
  })
})
