/**
 * Snapshots of a shared log: who makes them, who takes them up, and what becomes of a broker that
 * was left so far behind that it needs one.
 */
import { expect } from 'chai'
import { Cluster, type Diary } from './cluster.js'
import { raise } from './logSuite.js'

describe('replicated log: snapshots', () => {
  const options = { snapshotEntries: 20 }

  it('are made by the one that has been here longest, and known to all', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    for (let i = 0; i < 70; i++) {
      a.log.submit(raise(i))
      await cluster.settle()
    }
    expect(cluster.store.snapshots.length).to.equal(2)
    const [former, newest] = cluster.store.snapshots
    expect(cluster.store.compactedTo).to.equal(former!.position)
    for (const { log } of [a, b]) {
      expect(log.status.snapshot?.position).to.equal(newest!.position)
      expect(log.status.snapshot?.ageMs).to.be.within(0, 5_000)
    }
  })

  it('are taken up by whoever joins, with the entries since', async () => {
    const cluster = new Cluster()
    const a = await cluster.join(options)
    for (let i = 0; i < 50; i++) {
      a.log.submit(raise(i))
      await cluster.settle()
    }
    const b = await cluster.join(options)
    expect(b.story).to.deep.equal(['restore', 'serve'])
    expect(b.replayed.length).to.be.lessThan(25)
    expect(b.log.status.members).to.deep.equal([a.home, b.home])
    expect(b.log.status.position).to.equal(a.log.status.position)
    await cluster.pass(20_000)
    expect([a.story, b.story]).to.deep.equal([['serve'], ['restore', 'serve']])
  })

  it('are made by the next one when the first is gone', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    a.source.cut()
    await cluster.pass(30_000)
    expect(cluster.store.snapshots.length).to.be.greaterThan(0)
    expect(b.log.status.members).to.deep.equal([b.home])
  })

  it('that cannot be made are tried again, and said to be missing', async () => {
    const cluster = new Cluster()
    const a = await cluster.join(options)
    const create = a.source.create.bind(a.source)
    a.source.create = () => Object.assign(create(), { open: () => Promise.reject(new Error('no')) })
    const say = async (): Promise<void> => {
      for (let i = 0; i < 25; i++) {
        a.log.submit(raise(i))
        await cluster.settle()
      }
    }
    await say()
    expect(a.log.status.problem).to.contain('no snapshot could be made')
    a.source.create = create
    await say()
    expect(a.log.status.problem).to.equal(undefined)
    expect(cluster.store.snapshots.length).to.equal(1)
  })

  it('bring back whoever was left behind so far that the entries are gone', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    const former = b.home
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(raise(i))
      await cluster.settle()
    }
    expect(b.story).to.deep.equal(['serve'])
    b.source.mend()
    await cluster.pass(2_000)
    // It never loads a table under its clients.
    expect(b.story).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
    expect(b.home).not.to.equal(former)
    expect(a.log.status.members).to.deep.equal([a.home, b.home])
    expect(a.restarts).to.deep.equal([[former, b.home]])
  })

  it('bring it back although the log was out of reach for a while at that', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(options), await cluster.join(options)]
    b.source.cut()
    for (let i = 0; i < 70; i++) {
      a.log.submit(raise(i))
      await cluster.settle()
    }
    b.source.faults.delayMs = 100
    b.source.mend()
    await cluster.pass(150)
    b.source.cut()
    await cluster.pass(5_000)
    expect(b.story).to.deep.equal(['serve', 'resign'])
    b.source.mend()
    await cluster.pass(3_000)
    expect(b.story).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
  })

  describe('where something else than the brokers has made the log forget', () => {
    /** Fifty-odd locks, some snapshots or none, and nothing left that could be followed. */
    async function forgotten(cluster: Cluster, a: Diary): Promise<void> {
      for (let i = 0; i < 50; i++) {
        a.log.submit(raise(i))
        await cluster.settle()
      }
      cluster.store.compact(cluster.store.position)
    }

    for (const [what, terms] of [
      ['no snapshot', {}],
      ['a snapshot that is too old', options],
    ] as const) {
      it(`a newcomer that finds ${what} has one made by those that live`, async () => {
        const cluster = new Cluster()
        const a = await cluster.join(terms)
        await forgotten(cluster, a)
        const b = await cluster.join(terms)
        expect(b.story.at(-1)).to.equal('serve')
        expect(b.story).to.include('restore')
        expect([...b.dump()]).to.deep.equal([...a.dump()])
        expect(b.log.status.members).to.deep.equal([a.home, b.home])
        expect(b.log.status.problem).to.equal(undefined)
        expect(a.log.status.snapshot?.position).to.be.at.least(cluster.store.compactedTo)
        await cluster.pass(20_000)
        expect(a.story).to.deep.equal(['serve'])
      })
    }

    it('whoever was left behind has one made as well, once for all', async () => {
      const cluster = new Cluster()
      const [a, b, c] = [await cluster.join(), await cluster.join(), await cluster.join()]
      b.source.cut()
      c.source.cut()
      await forgotten(cluster, a)
      b.source.mend()
      c.source.mend()
      await cluster.pass(5_000)
      for (const one of [b, c]) {
        expect(one.story).to.deep.equal(['serve', 'resign', 'restore', 'serve'])
      }
      expect(cluster.store.snapshots.length).to.equal(1)
    })

    it('one is made by the next, if the one that should is gone', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.join(), await cluster.join()]
      await forgotten(cluster, a)
      a.source.cut()
      const c = await cluster.join()
      expect(c.story).to.deep.equal(['restore', 'serve'])
      expect(c.log.status.members).to.deep.equal([b.home, c.home])
    })

    it('the next one is made although the log has not what it takes, and those after it are', async () => {
      const cluster = new Cluster()
      const a = await cluster.join({ snapshotEntries: 70 })
      await forgotten(cluster, a)
      for (let i = 50; i < 250; i++) {
        a.log.submit(raise(i))
        await cluster.settle()
      }
      expect(cluster.store.snapshots.length).to.equal(2)
      expect(a.log.status.problem).to.equal(undefined)
      expect(cluster.store.compactedTo).to.equal(cluster.store.snapshots[0]!.position)
      const b = await cluster.join()
      expect([...b.dump()]).to.deep.equal([...a.dump()])
    })

    it('it is noticed within a minute or two, and told, and a snapshot is there', async () => {
      const cluster = new Cluster()
      const [a, b] = [await cluster.join(), await cluster.join()]
      await forgotten(cluster, a)
      await cluster.pass(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.contain('something else than the brokers has compacted')
      await cluster.pass(65_000)
      expect(cluster.store.snapshots.length).to.equal(1)
      expect(a.log.status.problem).to.equal(undefined)
      // So even if all of them go at once, nothing is lost.
      for (const { source } of [a, b]) source.cut()
      const c = await cluster.join()
      expect([...c.dump()]).to.deep.equal([...a.dump()])
    })

    it('and nobody lives, nothing is guessed', async () => {
      const cluster = new Cluster()
      const a = await cluster.join()
      await forgotten(cluster, a)
      a.source.cut()
      const { log, source } = cluster.newLog()
      const error = await cluster.until(log.start(cluster.diary(log, source)).catch((one) => one))
      expect(error.message).to.match(/are gone, no snapshot has them, and no broker that lives/)
    })
  })
})
