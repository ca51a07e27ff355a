/**
 * Brokers that share a log, seen from the log: who counts and who does not while connections to the
 * log fail, answers get lost and entries come late; and that nobody ever counts for too long.
 */
import { encodeCommands } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Cluster, type Diary } from './cluster.js'
import { raise } from './logSuite.js'

function timeOf(diary: Diary, what: string): number {
  const found = diary.events.filter((event) => event.what === what).at(-1)
  if (found === undefined) throw new Error(`it did not ${what}`)
  return found.at
}

describe('replicated log: one order', () => {
  it('is the same for all, whoever submits', async () => {
    const cluster = new Cluster()
    const all = [await cluster.join(), await cluster.join(), await cluster.join()]
    for (let i = 0; i < 60; i++) all[i % 3]!.log.submit(raise(i))
    await cluster.settle()
    const [first] = all
    expect(first!.applied).to.have.length(60)
    for (const other of all) expect(other.applied).to.deep.equal(first!.applied)
  })

  it('has each command once, with every entry twice and every answer lost', async () => {
    const cluster = new Cluster()
    const all = [await cluster.join(), await cluster.join()]
    Object.assign(all[0]!.source.faults, { appendsTwice: true })
    Object.assign(all[1]!.source.faults, { losesAnswers: true })
    for (let i = 0; i < 40; i++) {
      all[i % 2]!.log.submit(raise(i))
      await cluster.pass(10)
    }
    for (const one of all) {
      const fences = one.applied.map((command) => 'fence' in command && command.fence)
      expect(fences).to.have.members(Array.from({ length: 40 }, (_, i) => i))
    }
  })

  it('is taken up by whoever comes later', async () => {
    const cluster = new Cluster()
    const early = await cluster.join()
    for (let i = 0; i < 5; i++) early.log.submit(raise(i))
    await cluster.settle()
    const late = await cluster.join()
    expect(late.replayed).to.deep.equal(early.applied)
    expect(late.applied).to.deep.equal([])
    expect(late.story).to.deep.equal(['serve'])
  })
})

describe('replicated log: what nobody can go on after', () => {
  it('is told although it came right behind the entry that lets a broker serve', async () => {
    const cluster = new Cluster()
    const { log, source } = cluster.newLog()
    const diary = cluster.diary(log, source)
    const unwatch = cluster.store.watch(() => {
      unwatch()
      cluster.store.put('{"v":2}')
    })
    await cluster.until(log.start(diary))
    expect(diary.story).to.deep.equal(['serve'])
    expect(diary.failure?.message).to.contain('The log has format 2')
    expect(log.isLive()).to.equal(false)
  })
})

describe('replicated log: standing', () => {
  it('goes on with nothing to say but that one is there', async () => {
    const cluster = new Cluster()
    const all = [await cluster.join(), await cluster.join()]
    await cluster.pass(60_000)
    for (const one of all) expect(one.story).to.deep.equal(['serve'])
    expect(all[0]!.restarts).to.deep.equal([])
  })

  it('is over in time for whoever is cut off, before another one takes over', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    const home = a.home
    await cluster.pass(10_000)
    const cutAt = cluster.machine.clock.monotonic()
    a.source.cut()
    await cluster.pass(5_000)
    expect([a.story, b.story]).to.deep.equal([['serve'], ['serve']])
    let deadAt: number | undefined
    b.onApply = ({ type }) => {
      if (type === 'restart') deadAt ??= cluster.machine.clock.monotonic()
    }
    await cluster.pass(6_000)
    expect(a.story).to.deep.equal(['serve', 'resign'])
    expect(a.home).to.equal('')
    expect(timeOf(a, 'resign') - cutAt).to.be.lessThan(6_000)
    expect(b.restarts).to.deep.equal([[home, b.home]])
    expect(deadAt).to.be.greaterThan(timeOf(a, 'resign'))
    expect(b.story).to.deep.equal(['serve'])
  })

  it('is looked at when it is asked for, however late the timers are', async () => {
    const cluster = new Cluster()
    const a = await cluster.join()
    cluster.machine.stopFor(5_700)
    expect(a.log.isLive()).to.equal(true)
    cluster.machine.stopFor(200)
    expect(a.log.isLive()).to.equal(false)
    expect(a.story).to.deep.equal(['serve', 'resign'])
    expect(a.log.isLive()).to.equal(false)
    await cluster.pass(1_000)
    expect(a.log.isLive()).to.equal(true)
  })

  it('is had again, under another name, when the log is back; from oneself if nobody came before', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    const former = a.home
    a.source.cut()
    b.source.cut()
    await cluster.pass(10_000)
    expect([a.story, b.story]).to.deep.equal([
      ['serve', 'resign'],
      ['serve', 'resign'],
    ])
    a.source.mend()
    b.source.mend()
    await cluster.pass(3_000)
    expect(a.story).to.deep.equal(['serve', 'resign', 'serve'])
    expect(a.home).not.to.equal(former)
    expect(b.restarts).to.deep.include([former, a.home])
    expect(b.restarts).to.have.length(2)
    expect(a.log.status.members).to.have.members([a.home, b.home])
  })

  it('outlasts an outage that is shorter, and nobody takes anybody for dead', async () => {
    const cluster = new Cluster()
    const all = [await cluster.join(), await cluster.join(), await cluster.join()]
    for (let outage = 0; outage < 3; outage++) {
      for (const { source } of all) source.cut()
      await cluster.pass(4_000)
      for (const { source } of all) source.mend()
      await cluster.pass(2_000)
    }
    for (const one of all) expect(one.story).to.deep.equal(['serve'])
    expect(all[0]!.restarts).to.deep.equal([])
  })

  it('is not lost by one to whom only the others are late', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    // What everybody appends takes two seconds.
    a.source.faults.delayMs = 1_000
    b.source.faults.delayMs = 1_000
    await cluster.pass(40_000)
    expect([a.story, b.story]).to.deep.equal([['serve'], ['serve']])
  })

  it('ends at once when another one took this one for dead', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    const former = a.home
    const last = 1
    const notices = { dead: [{ broker: former, last }] }
    const n = 2
    // What b would say, a moment before b would.
    cluster.store.put(encodeCommands({ broker: b.home, n, at: 0 }, [], notices))
    await cluster.settle()
    expect(a.story).to.deep.equal(['serve', 'resign', 'serve'])
    expect(a.restarts).to.deep.equal([[former, b.home]])
  })

  it('once lost, nothing that was submitted before counts any more', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.join(), await cluster.join()]
    a.source.cut()
    await cluster.pass(1_000)
    a.log.submit(raise(1))
    await cluster.pass(9_000)
    a.log.submit(raise(2))
    a.source.mend()
    await cluster.pass(2_000)
    a.log.submit(raise(3))
    await cluster.settle()
    expect(b.applied.filter(({ type }) => type === 'raise')).to.deep.equal([raise(3)])
    expect(a.story).to.deep.equal(['serve', 'resign', 'serve'])
  })
})
