/**
 * Brokers that come to a shared log and leave it, in good order or not, and what no broker goes on
 * with.
 */
import { nodeEnvironment, ReplicatedLog } from '@holdfast/server/internal'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster, type Diary } from './cluster.js'
import { raise } from './logSuite.js'
import { MemorySource, MemoryStore } from './memoryEngine.js'

describe('replicated log: coming and going', () => {
  it('whoever says goodbye leaves its sessions to another one at once', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    const home = a.home
    a.log.submit(raise(1))
    await cluster.until(a.log.close())
    expect(b.applied).to.deep.include.members([raise(1)])
    expect(b.restarts).to.deep.equal([[home, b.home]])
    expect(b.log.status.members).to.deep.equal([b.home])
  })

  it('whoever is the last is found silent by whoever comes next', async () => {
    const cluster = new Cluster()
    const a = await cluster.join()
    const home = a.home
    await cluster.until(a.log.close())
    const b = await cluster.join()
    expect(b.restarts).to.deep.equal([])
    await cluster.pass(9_000)
    expect(b.restarts).to.deep.equal([[home, b.home]])
  })

  it('a goodbye that nobody hears does not take for ever', async () => {
    const cluster = new Cluster()
    const a = await cluster.join()
    a.source.cut()
    a.log.submit(raise(1))
    const before = cluster.machine.clock.monotonic()
    await cluster.until(a.log.close())
    expect(cluster.machine.clock.monotonic() - before).to.be.lessThan(4_000)
    expect(cluster.machine.timers).to.equal(0)
  })

  it('leaves no timer behind', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    await cluster.pass(2_000)
    await cluster.until(Promise.all([a.log.close(), b.log.close()]))
    expect(cluster.machine.timers).to.equal(0)
  })

  it('a start without an answer ends with a sentence', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    source.cut()
    const error = await cluster.until(log.start(cluster.diary(log, source)).catch((one) => one))
    expect(error).to.be.instanceOf(HoldfastError)
    expect(error).to.deep.include({ code: 'UNAVAILABLE' })
    expect(error.message).to.contain('no answer')
    expect(cluster.machine.timers).to.equal(0)
  })

  it('a start that could not join ends with a sentence too', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    const starting = log.start(cluster.diary(log, source)).catch((one) => one)
    // The charter is there, and then nothing more.
    cluster.machine.endTurn()
    source.cut()
    const error = await cluster.until(starting)
    expect(error.code).to.equal('UNAVAILABLE')
    expect(cluster.machine.timers).to.equal(0)
  })

  it('whoever hears of itself too late does not serve', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    source.faults.delayMs = 3_000
    const diary = cluster.diary(log, source)
    const error = await cluster.until(log.start(diary).catch((one) => one))
    expect(error.message).to.contain('could not join')
    expect(diary.story).to.deep.equal([])
  })

  it('a start can be given up', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    source.faults.delayMs = 10_000
    const starting = log.start(cluster.diary(log, source)).catch((one) => one)
    await cluster.pass(1_000)
    await cluster.until(log.close())
    expect((await cluster.until(starting)).message).to.contain('closed')
  })

  it('a log of another cluster is refused, as is one of another dead time', async () => {
    const cluster = new Cluster()
    await cluster.join({ cluster: 'one' })
    for (const options of [{ cluster: 'two' }, { cluster: 'one', deadMs: 5_000 }]) {
      const { log, source } = cluster.newLog(options)
      const error = await cluster.until(log.start(cluster.diary(log, source)).catch((one) => one))
      expect(error.code).to.equal('INVALID_OPTION')
    }
  })

  it('options that cannot be are refused', () => {
    const source = new MemorySource(new MemoryStore(nodeEnvironment))
    for (const options of [
      ...[{ deadMs: 999 }, { deadMs: 60_001 }, { deadMs: 1_500.5 }],
      ...[{ snapshotEntries: 0 }, { snapshotCharacters: 0 }],
    ]) {
      expect(() => new ReplicatedLog(source, options, nodeEnvironment)).to.throw(HoldfastError)
    }
  })
})

describe('replicated log: what cannot go on', () => {
  const strange: [string, string, string][] = [
    ['an entry of a newer format', '{"v":2}', 'has format 2'],
    ['what is no entry', 'nonsense', 'not an entry'],
  ]
  for (const [what, text, words] of strange) {
    it(`stops at ${what}`, async () => {
      const cluster = new Cluster()
      const a = await cluster.join()
      cluster.store.put(text)
      cluster.store.put(text)
      await cluster.pass(1_000)
      expect(a.failure?.message).to.contain(words)
      const before = cluster.store.position
      a.log.submit(raise(1))
      await cluster.pass(10_000)
      expect(cluster.store.position).to.equal(before)
      expect(a.log.isLive()).to.equal(false)
      await a.log.close()
      expect(cluster.machine.timers).to.equal(0)
    })
  }

  /** Until the tables are compared, all entries are those of the one that differs. */
  async function compared(cluster: Cluster, all: readonly Diary[]): Promise<void> {
    const [odd] = all
    await cluster.pass(1_000)
    odd!.digestIs = 'another'
    for (let i = 0; i < 1_100 && odd!.failure === undefined; i++) {
      odd!.log.submit(raise(i))
      await cluster.settle()
    }
  }

  it('a broker whose table differs stops, and the others go on, although it spoke first', async () => {
    const cluster = new Cluster()
    const [a, b, c] = [await cluster.join(), await cluster.join(), await cluster.join()]
    await compared(cluster, [a, b, c])
    expect(a.failure?.message).to.contain('not that of the others after 1000 entries')
    await cluster.pass(9_000)
    for (const { failure, story } of [b, c]) {
      expect(failure).to.equal(undefined)
      expect(story).to.deep.equal(['serve'])
    }
    expect(b.log.status.members).to.deep.equal([b.home, c.home])
  })

  it('two brokers whose tables differ both stop, since nobody can tell who is right', async () => {
    const cluster = new Cluster()
    const all = [await cluster.join(), await cluster.join()]
    await compared(cluster, all)
    for (const { failure } of all) {
      expect(failure?.message).to.contain('differ after 1000 entries of the log, and no majority')
    }
  })
})
