/**
 * Tests the notices on a fake clock: which client gets a notice, how often, and how much work a
 * crowd of holders causes. `queued` tells a client that its request waits. `contended` tells a
 * holder how many requests wait for its lock. A client gets the notices that its request names in
 * `notify`. A fence is the number of a grant, which identifies a lock. `passTimeAnsweringPings`
 * lets time pass while clients answer the pings, and returns the messages that each client got. A
 * turn is a run of the event loop.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client, passTimeAnsweringPings } from './harness.js'

/** The numbers of waiting requests in the `contended` notices that a client got. */
function contendedIn(messages: readonly ServerMessage[]): number[] {
  return messages.flatMap((message) => (message.type === 'contended' ? [message.waiting] : []))
}

/** A broker with this many clients. */
function setUp(count: number): { harness: BrokerHarness; clients: Client[] } {
  const harness = new BrokerHarness()
  const clients = Array.from({ length: count }, () => harness.openSession({ lease: 60_000 }))
  return { harness, clients }
}

const contended = { notify: ['contended'] }

describe('contended notices', () => {
  it('come immediately, then at most once a second with the newest number of requests', () => {
    const { harness, clients } = setUp(2)
    const [holder, busy] = clients as [Client, Client]
    holder.acquire('k', contended)
    busy.lock('k')
    expect(contendedIn(holder.takeMessages())).to.deep.equal([1])
    for (let i = 0; i < 3; i++) busy.lock('k')
    expect(contendedIn(passTimeAnsweringPings(harness, 900, holder, busy)[0]!)).to.deep.equal([])
    expect(contendedIn(passTimeAnsweringPings(harness, 200, holder, busy)[0]!)).to.deep.equal([4])
    expect(contendedIn(passTimeAnsweringPings(harness, 5_000, holder, busy)[0]!)).to.deep.equal([])
  })

  it('count the waiting upgrades of other holders, but not the upgrade of the notified holder', () => {
    const { clients } = setUp(2)
    const [first, second] = clients as [Client, Client]
    const shared = { ...contended, mode: 'shared' }
    const fence = first.acquire('k', shared)
    second.acquire('k', shared)
    first.say({ type: 'upgrade', id: 100, fence })
    expect(contendedIn(first.takeMessages())).to.deep.equal([])
    expect(contendedIn(second.takeMessages())).to.deep.equal([1])
  })

  it('do not come when requests leave the queue', () => {
    const { harness, clients } = setUp(2)
    const [holder, busy] = clients as [Client, Client]
    holder.acquire('k', contended)
    const ids = [busy.lock('k'), busy.lock('k')]
    holder.takeMessages()
    passTimeAnsweringPings(harness, 1_500, holder, busy)
    busy.say({ type: 'cancel', request: ids[0] })
    expect(contendedIn(passTimeAnsweringPings(harness, 3_000, holder, busy)[0]!)).to.deep.equal([])
  })

  it('come at the grant if requests wait already, also right after a notice to the former holder', () => {
    const { clients } = setUp(3)
    const [first, second, third] = clients as [Client, Client, Client]
    const fence = first.acquire('k', contended)
    second.lock('k', contended)
    third.lock('k')
    first.unlock(fence)
    expect(contendedIn(second.takeMessages())).to.deep.equal([1])
  })

  it('come only to the holders that asked for them', () => {
    const { clients } = setUp(3)
    const [notified, unnotified, busy] = clients as [Client, Client, Client]
    notified.acquire('k', { ...contended, mode: 'shared' })
    unnotified.acquire('k', { mode: 'shared' })
    busy.lock('k')
    expect(contendedIn(notified.takeMessages())).to.deep.equal([1])
    expect(unnotified.takeMessages()).to.deep.equal([])
  })

  it('count the requests for the busiest key of a set, and come at most once a second for the whole set', () => {
    const { harness, clients } = setUp(2)
    const [holder, busy] = clients as [Client, Client]
    holder.say({ type: 'lockAll', id: 1, items: [{ key: 'k' }, { key: 'l' }], ...contended })
    busy.lock('k')
    busy.lock('l')
    busy.lock('l')
    expect(contendedIn(holder.takeMessages())).to.deep.equal([1])
    expect(contendedIn(passTimeAnsweringPings(harness, 1_100, holder, busy)[0]!)).to.deep.equal([2])
  })

  it('come again after a resume, because the client may not have got the first notice', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000, grace: 'lease' })
    const busy = harness.openSession({ lease: 60_000 })
    holder.acquire('k', contended)
    holder.socket.drop()
    busy.lock('k')
    const resumed = harness.connectWithHello(holder.resumeHello({ attempt: 1 }))
    const types = resumed.takeMessages().map(({ type }) => type)
    expect(types.slice(-2)).to.deep.equal(['snapshot', 'contended'])
  })

  it('come once for each of 1,200 locks of one key, in several turns', () => {
    const { harness, clients } = setUp(4)
    const [busy, ...holders] = clients as [Client, Client, Client, Client]
    for (const holder of holders) {
      const ids = Array.from({ length: 400 }, (_, i) => i + 1)
      const fields = { key: 'k', mode: 'shared', ...contended }
      holder.say(...ids.map((id) => ({ type: 'lock', id, ...fields })))
      holder.takeMessages()
    }
    expect(harness.broker.table.heldCount).to.equal(1_200)
    // Unlike `busy.say`, this does not end the turn.
    busy.socket.say({ type: 'lock', id: 1, key: 'k' })
    harness.environment.endOneTurn()
    // At most 64 of the 1,200 notices fit into the budget of the first turn.
    const inFirstTurn = holders.flatMap((holder) => contendedIn(holder.takeMessages()))
    expect(inFirstTurn.length).to.be.within(1, 64)
    const later = passTimeAnsweringPings(harness, 900, ...holders, busy).slice(0, 3)
    expect(later.flatMap(contendedIn).length + inFirstTurn.length).to.equal(1_200)
  })

  it('stop when the lock ends', () => {
    const { harness, clients } = setUp(2)
    const [holder, busy] = clients as [Client, Client]
    const fence = holder.acquire('k', contended)
    busy.lock('k')
    busy.lock('k')
    holder.unlock(fence)
    holder.takeMessages()
    expect(contendedIn(passTimeAnsweringPings(harness, 3_000, holder, busy)[0]!)).to.deep.equal([])
  })
})

describe('queued notices', () => {
  it('list the holders of all keys of a set, and count the requests ahead in the longest queue', () => {
    const { clients } = setUp(3)
    const [holder, busy, waiter] = clients as [Client, Client, Client]
    const fence = holder.acquire('l')
    busy.lock('l')
    const items = [{ key: 'k' }, { key: 'l' }]
    waiter.say({ type: 'lockAll', id: 1, items, notify: ['queued'] })
    // `since` is the time at which the fake wall clock begins.
    const holders = [{ session: holder.session, key: 'l', fence, since: 1_700_000_000_000 }]
    expect(waiter.takeMessages()).to.deep.equal([{ type: 'queued', id: 1, ahead: 1, holders }])
  })

  it('describe at most 16 holders', () => {
    const { clients } = setUp(2)
    const [crowd, waiter] = clients as [Client, Client]
    for (let i = 0; i < 20; i++) crowd.acquire('k', { mode: 'shared' })
    waiter.lock('k', { notify: ['queued'] })
    const [queued] = waiter.takeMessages()
    expect(queued?.type === 'queued' && queued.holders).to.have.length(16)
  })

  it('come once, and not again when the client repeats the request after a resume', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    const waiter = harness.openSession({ lease: 60_000, grace: 'lease' })
    holder.acquire('k')
    const id = waiter.lock('k', { notify: ['queued'] })
    expect(waiter.takeMessages().map(({ type }) => type)).to.deep.equal(['queued'])
    waiter.socket.drop()
    const resumed = harness.clientOn(harness.connectWithHello(waiter.resumeHello({ attempt: 1 })))
    resumed.say({ type: 'lock', id, key: 'k', notify: ['queued'] })
    expect(resumed.takeMessages().map(({ type }) => type)).to.not.include('queued')
  })
})
