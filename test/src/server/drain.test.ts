/**
 * Going away in good order: everybody is told, nobody new is served, whoever holds gets the time,
 * whoever is idle leaves spread over it, and at its end nothing is left.
 */
import { drain, MemoryLog, type StateMachine } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'

/** Drains, and lets the sockets behave as sockets do: a close is echoed in the same turn. */
function startDrain(bench: Bench, ms: number, clients: readonly Client[], echo = true) {
  const state = { done: false }
  void drain(bench.broker, bench.environment.clock, ms).then(() => {
    state.done = true
  })
  const pass = async (stepMs: number, steps: number): Promise<void> => {
    for (let step = 0; step < steps; step++) {
      bench.environment.pass(stepMs)
      for (const { socket } of clients) {
        if (echo && socket.closedWith !== undefined) socket.drop()
      }
      await bench.settle()
    }
  }
  return { state, pass }
}

function closed(clients: readonly Client[]): number {
  return clients.filter(({ socket }) => socket.closedWith !== undefined).length
}

describe('drain', () => {
  it('tells every client, and takes no new requests for locks and no new connections', async () => {
    const bench = new Bench()
    const client = bench.join()
    const fence = client.take('k')
    const { state, pass } = startDrain(bench, 1_000, [client])
    bench.environment.endTurn()
    expect(client.heard()).to.deep.equal([{ type: 'draining', within: 1_000 }])
    client.lock('l')
    expect(client.heard()[0]).to.deep.include({ type: 'failed', code: 'UNAVAILABLE' })
    expect(bench.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    const id = client.unlock(fence)
    expect(client.heard()).to.deep.equal([{ type: 'unlocked', id }])
    await pass(50, 60)
    expect(state.done).to.equal(true)
  })

  it('closes with 1012 and is done when nobody is left, without waiting for the time', async () => {
    const bench = new Bench()
    const clients = [bench.join(), bench.join()]
    const { state, pass } = startDrain(bench, 0, clients)
    await pass(5, 3)
    expect(closed(clients)).to.equal(2)
    for (const { socket } of clients) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    expect(state.done).to.equal(true)
  })

  it('spreads those who hold nothing over the time', async () => {
    const bench = new Bench()
    const clients = Array.from({ length: 100 }, () => bench.join())
    const { state, pass } = startDrain(bench, 10_000, clients)
    await pass(50, 50)
    expect(closed(clients)).to.be.within(20, 30)
    await pass(50, 50)
    expect(closed(clients)).to.be.within(45, 55)
    await pass(50, 110)
    expect(closed(clients)).to.equal(100)
    expect(state.done).to.equal(true)
  })

  it('leaves holders and waiters the whole time, and lets them go when they are done', async () => {
    const bench = new Bench()
    const holder = bench.join()
    const waiter = bench.join()
    const fence = holder.take('k')
    waiter.lock('k')
    waiter.heard()
    const { state, pass } = startDrain(bench, 10_000, [holder, waiter])
    await pass(50, 190)
    expect(closed([holder, waiter])).to.equal(0)
    holder.unlock(fence)
    expect(waiter.socket.heardOf('granted')).to.have.length(1)
    await pass(50, 2)
    expect(closed([holder])).to.equal(1)
    expect(closed([waiter])).to.equal(0)
    await pass(50, 20)
    expect(closed([waiter])).to.equal(1)
    expect(state.done).to.equal(true)
  })

  it('drops whoever does not finish the closing handshake', async () => {
    const bench = new Bench()
    const client = bench.join()
    const { state, pass } = startDrain(bench, 100, [client], false)
    await pass(50, 60)
    expect(client.socket.terminated).to.equal(true)
    expect(state.done).to.equal(true)
  })

  it('leaves no timer behind', async () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.take('k', { ttl: 60_000 })
    const { pass } = startDrain(bench, 100, [client])
    await pass(50, 10)
    await bench.broker.stop()
    expect(bench.environment.timers).to.equal(0)
  })
})

describe('quiet start', () => {
  it('grants nothing until it is over, then in the order of asking', () => {
    const bench = new Bench({ quietStart: 5_000 })
    const [first, second] = [bench.join({ lease: 60_000 }), bench.join({ lease: 60_000 })]
    first.lock('k')
    second.lock('k')
    second.lock('l')
    bench.environment.pass(4_999)
    expect([...first.heard(), ...second.heard()]).to.deep.equal([])
    bench.environment.pass(1)
    expect(first.socket.heardOf('granted')).to.deep.equal([{ type: 'granted', id: 1, fence: 1 }])
    expect(second.socket.heardOf('granted')).to.deep.equal([{ type: 'granted', id: 2, fence: 2 }])
  })

  it('is over on time although the broker was stopped: real time is what it waits for', () => {
    const bench = new Bench({ quietStart: 5_000 })
    const client = bench.join()
    client.lock('k')
    bench.environment.stopFor(5_000)
    bench.environment.fireTimers()
    bench.environment.endTurn()
    expect(client.socket.heardOf('granted')).to.have.length(1)
  })

  it('lets a steal through, and holds off who does not wait', () => {
    const bench = new Bench({ quietStart: true })
    const client = bench.join()
    client.lock('k', { timeout: 0 })
    client.lock('k', { steal: true })
    expect(client.heard()).to.deep.include.members([{ type: 'granted', id: 2, fence: 1 }])
    bench.environment.pass(299_000)
    client.lock('l')
    expect(client.socket.heardOf('granted')).to.deep.equal([])
  })

  it('is over where a broker was killed in it, and the next one was not told to be quiet', () => {
    class Kept extends MemoryLog {
      override start(replica: StateMachine): undefined {
        replica.replay({ type: 'quiet', quiet: true, at: 0 })
        super.start(replica)
      }
    }
    const client = new Bench({}, new Kept()).join()
    client.take('k')
    const bench = new Bench({ quietStart: 5_000 }, new Kept())
    const other = bench.join()
    other.lock('k')
    bench.environment.pass(4_999)
    expect(other.socket.heardOf('granted')).to.deep.equal([])
    bench.environment.pass(1)
    expect(other.socket.heardOf('granted')).to.have.length(1)
  })
})
