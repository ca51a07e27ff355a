/**
 * Tests what queries and watches show of the ttl and the maxHold of a lock, on a fake clock. The
 * ttl is how long a lock lasts without a refresh, and the maxHold is how long the lock lasts at
 * most.
 */
import type { Found, HeldInfo } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from '../log/cluster.js'
import { BrokerHarness, type Client, passTimeAnsweringPings } from './harness.js'

/** Sends a query and returns the locks in all parts of its answer. */
function query(client: Client, selection: object = {}): HeldInfo[] {
  client.takeMessages()
  client.say({ type: 'query', id: 1, ...selection })
  return client.socket.takeMessagesOfType('found').flatMap(({ held }: Found) => held)
}

/** The fields of a lock that belong to its ttl and its maxHold. */
function timeFieldsOf({ ttl, ttlRemaining, maxHold, maxHoldRemaining }: HeldInfo): object {
  return { ttl, ttlRemaining, maxHold, maxHoldRemaining }
}

/** The time fields of a lock without a ttl and without a maxHold. */
const noTimes = {
  ttl: undefined,
  ttlRemaining: undefined,
  maxHold: undefined,
  maxHoldRemaining: undefined,
}

/** The time fields of a lock with this ttl, and without a maxHold. */
const timesWithTtl = (ttl: number, ttlRemaining: number | undefined) => ({
  ...noTimes,
  ttl,
  ttlRemaining,
})

describe('the times of a lock in queries and watches', () => {
  let harness: BrokerHarness
  let holder: Client
  let reader: Client

  beforeEach(() => {
    harness = new BrokerHarness()
    holder = harness.openSession({ lease: 60_000, name: 'ann' })
    reader = harness.openSession({ lease: 60_000 })
  })

  it('are missing in the answer for a lock without a ttl and without a maxHold', () => {
    const fence = holder.acquire('k')
    const since = harness.environment.clock.wall()
    const lock = `{"key":"k","mode":"exclusive","session":"${holder.session}","name":"ann","fence":${fence},"since":${since}}`
    reader.say({ type: 'query', id: 1 })
    const restOfAnswer = '"waiting":[],"heldCount":1,"waitingCount":0,"more":false'
    expect(reader.socket.frames.at(-1)).to.equal(
      `{"type":"found","id":1,"held":[${lock}],${restOfAnswer}}`,
    )
  })

  it('count down, and a refresh restarts the ttl, but not the maxHold', () => {
    const fence = holder.acquire('k', { ttl: 1_000, maxHold: 3_000 })
    passTimeAnsweringPings(harness, 400, holder, reader)
    const times = { ttl: 1_000, ttlRemaining: 600, maxHold: 3_000, maxHoldRemaining: 2_600 }
    expect(timeFieldsOf(query(reader)[0]!)).to.deep.equal(times)
    holder.refresh(fence)
    expect(timeFieldsOf(query(reader)[0]!)).to.include({
      ttlRemaining: 1_000,
      maxHoldRemaining: 2_600,
    })
    holder.refresh(fence, { ttl: 5_000 })
    const newTtl = { ttl: 5_000, ttlRemaining: 5_000 }
    expect(timeFieldsOf(query(reader)[0]!)).to.deep.equal({ ...times, ...newTtl })
  })

  it('are in a page of a query, in the initial state of a watch, and in `Broker.remainingTimesOf`', () => {
    holder.acquire('k', { ttl: 1_000 })
    passTimeAnsweringPings(harness, 100, holder, reader)
    // A query with `after` asks for a page.
    expect(timeFieldsOf(query(reader, { after: '' })[0]!)).to.deep.equal(timesWithTtl(1_000, 900))
    reader.say({ type: 'watch', id: 2 })
    expect(timeFieldsOf(reader.socket.takeMessagesOfType('watching')[0]!.held[0]!)).to.deep.equal(
      timesWithTtl(1_000, 900),
    )
    const [lock] = harness.broker.find({}, 1).held
    expect(harness.broker.remainingTimesOf(lock!)).to.deep.equal({
      ttlRemaining: 900,
      maxHoldRemaining: undefined,
    })
  })

  it('are rounded up to whole ms', () => {
    holder.acquire('k', { ttl: 1_000 })
    harness.environment.advance(0.25)
    expect(query(reader)[0]!.ttlRemaining).to.equal(1_000)
  })

  it('are the same for all keys of a set, also after a refresh that gives the set a ttl', () => {
    const items = ['a', 'b', 'c'].map((key) => ({ key }))
    holder.say({ type: 'lockAll', id: 1, items })
    const { fence } = holder.socket.takeMessagesOfType('granted')[0]!
    expect(query(reader).map(timeFieldsOf)).to.deep.equal(items.map(() => noTimes))
    holder.say({ type: 'refresh', id: 2, fence, ttl: 700 })
    expect(query(reader).map(timeFieldsOf)).to.deep.equal(items.map(() => timesWithTtl(700, 700)))
  })

  it('are in an event, except for the remaining times', () => {
    reader.say({ type: 'watch', id: 2 })
    const fence = holder.acquire('k', { ttl: 1_000, maxHold: 9_000 })
    holder.refresh(fence, { ttl: 2_000 })
    holder.unlock(fence)
    // The lock and the unlock each cause an event. A refresh causes no event.
    const events = reader.socket.takeMessagesOfType('event').map(({ event }) => event as HeldInfo)
    expect(events.map(timeFieldsOf)).to.deep.equal(
      [1_000, 2_000].map((ttl) => ({ ...timesWithTtl(ttl, undefined), maxHold: 9_000 })),
    )
  })

  it('do not count down while the process of the broker is stopped', () => {
    holder.acquire('k', { ttl: 10_000 })
    harness.environment.advanceWithoutTimers(3_000)
    const { ttlRemaining } = query(reader)[0]!
    // The broker notices the stop by a late timer, and counts the stop from when this timer was
    // due: up to 250 ms after the stop began.
    expect(ttlRemaining).to.be.within(9_750, 10_000)
  })

  it('are 0 when the time of a lock is over, until the broker ends the lock', () => {
    holder.acquire('k', { ttl: 100 })
    // The timer fires, but its turn does not end. So the broker has not ended the lock yet.
    const endNoTurn = () => {}
    harness.environment.clock.advance(150, endNoTurn)
    const { broker } = harness
    const [lock] = broker.find({}, 1).held
    expect(broker.remainingTimesOf(lock!)).to.include({ ttlRemaining: 0 })
  })

  it('make the answer longer, so that the broker needs more turns to send the answer', () => {
    /** Acquires 1,000 locks with these options. Returns how many turns three queries then take. */
    const turnsFor = (options: object): number => {
      const harness = new BrokerHarness()
      const holder = harness.openSession({ lease: 60_000 })
      for (let i = 0; i < 1_000; i++) holder.acquire(`k${i}`, options)
      const readers = [1, 2, 3].map(() => harness.openSession({ lease: 60_000 }))
      for (const { socket } of readers) socket.say({ type: 'query', id: 1 })
      let turns = 0
      let completeAnswers = 0
      while (completeAnswers < 3) {
        turns++
        harness.environment.endOneTurn()
        const parts = readers.flatMap(({ socket }) => socket.takeMessagesOfType('found'))
        completeAnswers += parts.filter(({ more }) => !more).length
      }
      return turns
    }
    expect(turnsFor({ ttl: 60_000, maxHold: 60_000 })).to.be.above(turnsFor({}))
  })
})

describe('the remaining times of a lock in a cluster', () => {
  it('are known only at the broker that owns the session, and begin anew when another broker takes over the session', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [
      await cluster.connectClient(a, { grace: 'lease' }),
      await cluster.connectClient(b),
    ]
    await cluster.lock(alice, { id: 1, key: 'k', ttl: 60_000, maxHold: 90_000 })
    await cluster.passTimeAnsweringPings(1_000, alice, bob)
    const timesAt = ({ broker }: typeof a) => broker.remainingTimesOf(broker.find({}, 1).held[0]!)
    expect(timesAt(a)).to.deep.equal({ ttlRemaining: 59_000, maxHoldRemaining: 89_000 })
    expect(timesAt(b)).to.deep.equal({ ttlRemaining: undefined, maxHoldRemaining: undefined })
    await cluster.send(bob, { type: 'query', id: 1 })
    const [found] = bob.socket.takeMessagesOfType('found')
    expect(found!.held[0]).to.include({ ttl: 60_000, maxHold: 90_000 })
    expect(found!.held[0]).not.to.have.any.keys('ttlRemaining', 'maxHoldRemaining')
    await cluster.connectClient(b, alice.resumeHello())
    expect(timesAt(a)).to.deep.equal({ ttlRemaining: undefined, maxHoldRemaining: undefined })
    expect(timesAt(b)).to.deep.equal({ ttlRemaining: 60_000, maxHoldRemaining: 90_000 })
  })
})
