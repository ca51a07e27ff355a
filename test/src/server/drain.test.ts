/**
 * Tests draining and the quiet start. A draining broker tells its clients that it will stop. The
 * broker refuses new lock requests, closes idle connections one by one, gives holders time to
 * finish, and then closes all connections. A broker with a quiet start grants nothing for some time
 * after its start, so that the holders of a former broker can finish. A fence is the number of a
 * grant.
 */
import { drain, MemoryLog, type StateMachine } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

/**
 * Starts to drain a broker. Returns `pass(stepMs, steps)`, which lets time pass in steps. After
 * each step the clients answer the close frame of the broker, unless `answersClose` is false.
 */
function startDrain(
  harness: BrokerHarness,
  drainMs: number,
  clients: readonly Client[],
  answersClose = true,
) {
  const state = { hasEnded: false }
  void drain(harness.broker, harness.environment.clock, drainMs).then(() => {
    state.hasEnded = true
  })
  const pass = async (stepMs: number, steps: number): Promise<void> => {
    for (let step = 0; step < steps; step++) {
      harness.environment.advance(stepMs)
      for (const { socket } of clients) {
        if (answersClose && socket.closedWith !== undefined) socket.drop()
      }
      await harness.settle()
    }
  }
  return { state, pass }
}

/** The number of clients whose connections the broker has closed. */
function closedCount(clients: readonly Client[]): number {
  return clients.filter(({ socket }) => socket.closedWith !== undefined).length
}

describe('drain', () => {
  it('tells every client of the drain, and refuses new lock requests and connections', async () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const fence = client.acquire('k')
    const { state, pass } = startDrain(harness, 1_000, [client])
    harness.environment.endTurn()
    expect(client.takeMessages()).to.deep.equal([{ type: 'draining', within: 1_000 }])
    client.lock('l')
    expect(client.takeMessages()[0]).to.deep.include({ type: 'failed', code: 'UNAVAILABLE' })
    expect(harness.connect().closedWith?.code).to.equal(closeCodes.restart.code)
    const id = client.unlock(fence)
    expect(client.takeMessages()).to.deep.equal([{ type: 'unlocked', id }])
    // 3 s: at most 1 s for the drain, and 2 s for the last closing handshakes.
    await pass(50, 60)
    expect(state.hasEnded).to.equal(true)
  })

  it('closes idle connections with 1012, and ends as soon as no connection is left', async () => {
    const harness = new BrokerHarness()
    const clients = [harness.openSession(), harness.openSession()]
    const { state, pass } = startDrain(harness, 0, clients)
    await pass(5, 3)
    expect(closedCount(clients)).to.equal(2)
    for (const { socket } of clients) {
      expect(socket.closedWith?.code).to.equal(closeCodes.restart.code)
    }
    expect(state.hasEnded).to.equal(true)
  })

  it('closes idle connections one by one over the whole time', async () => {
    const harness = new BrokerHarness()
    const clients = Array.from({ length: 100 }, () => harness.openSession())
    const { state, pass } = startDrain(harness, 10_000, clients)
    // After 2.5 s of 10 s, the broker has closed about a quarter of the connections.
    await pass(50, 50)
    expect(closedCount(clients)).to.be.within(20, 30)
    // After 5 s, about half of the connections.
    await pass(50, 50)
    expect(closedCount(clients)).to.be.within(45, 55)
    await pass(50, 110)
    expect(closedCount(clients)).to.equal(100)
    expect(state.hasEnded).to.equal(true)
  })

  it('keeps the connections of holders and waiters, at most until the end of the drain', async () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession()
    const waiter = harness.openSession()
    const fence = holder.acquire('k')
    waiter.lock('k')
    waiter.takeMessages()
    const { state, pass } = startDrain(harness, 10_000, [holder, waiter])
    // 9.5 s of the drain.
    await pass(50, 190)
    expect(closedCount([holder, waiter])).to.equal(0)
    holder.unlock(fence)
    expect(waiter.socket.takeMessagesOfType('granted')).to.have.length(1)
    await pass(50, 2)
    expect(closedCount([holder])).to.equal(1)
    expect(closedCount([waiter])).to.equal(0)
    await pass(50, 20)
    expect(closedCount([waiter])).to.equal(1)
    expect(state.hasEnded).to.equal(true)
  })

  it('terminates a socket whose client does not answer the close', async () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const answersClose = false
    const { state, pass } = startDrain(harness, 100, [client], answersClose)
    await pass(50, 60)
    expect(client.socket.isTerminated).to.equal(true)
    expect(state.hasEnded).to.equal(true)
  })

  it('leaves no timer behind', async () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    client.acquire('k', { ttl: 60_000 })
    const { pass } = startDrain(harness, 100, [client])
    await pass(50, 10)
    await harness.broker.stop()
    expect(harness.environment.timerCount).to.equal(0)
  })
})

describe('a quiet start', () => {
  it('delays ordinary grants until its end, and then grants in the order of the requests', () => {
    const harness = new BrokerHarness({ quietStart: 5_000 })
    const [first, second] = [
      harness.openSession({ lease: 60_000 }),
      harness.openSession({ lease: 60_000 }),
    ]
    first.lock('k')
    second.lock('k')
    second.lock('l')
    harness.environment.advance(4_999)
    expect([...first.takeMessages(), ...second.takeMessages()]).to.deep.equal([])
    harness.environment.advance(1)
    expect(first.socket.takeMessagesOfType('granted')).to.deep.equal([
      { type: 'granted', id: 1, fence: 1 },
    ])
    // The request 1 of the second client waits for `k`.
    expect(second.socket.takeMessagesOfType('granted')).to.deep.equal([
      { type: 'granted', id: 2, fence: 2 },
    ])
  })

  it('ends on time although the process of the broker was stopped during the quiet start', () => {
    const harness = new BrokerHarness({ quietStart: 5_000 })
    const client = harness.openSession()
    client.lock('k')
    harness.environment.advanceWithoutTimers(5_000)
    harness.environment.fireTimers()
    harness.environment.endTurn()
    expect(client.socket.takeMessagesOfType('granted')).to.have.length(1)
  })

  it('grants a steal, and refuses a request with timeout 0', () => {
    const harness = new BrokerHarness({ quietStart: true })
    // With the longest lease, the session outlasts the quiet start without answers to pings.
    const client = harness.openSession({ lease: 300_000 })
    client.lock('k', { timeout: 0 })
    expect(client.takeMessages()[0]).to.deep.include({ type: 'failed', id: 1, code: 'LOCK_HELD' })
    client.lock('k', { steal: true })
    expect(client.takeMessages()).to.deep.equal([{ type: 'granted', id: 2, fence: 1 }])
    // A quiet start of `true` lasts as long as the longest lease, 300 s.
    harness.environment.advance(299_000)
    client.lock('l')
    expect(client.socket.takeMessagesOfType('granted')).to.deep.equal([])
    harness.environment.advance(1_000)
    expect(client.socket.takeMessagesOfType('granted')).to.have.length(1)
  })

  it('does not outlast a restart, and begins again if the restarted broker has the option', () => {
    /** The command log of a broker that was killed during its quiet start. */
    class LogOfKilledBroker extends MemoryLog {
      override start(stateMachine: StateMachine): undefined {
        stateMachine.replay({ type: 'quiet', quiet: true, at: 0 })
        super.start(stateMachine)
      }
    }
    const client = new BrokerHarness({}, { log: new LogOfKilledBroker() }).openSession()
    client.acquire('k')
    const harness = new BrokerHarness({ quietStart: 5_000 }, { log: new LogOfKilledBroker() })
    const other = harness.openSession()
    other.lock('k')
    harness.environment.advance(4_999)
    expect(other.socket.takeMessagesOfType('granted')).to.deep.equal([])
    harness.environment.advance(1)
    expect(other.socket.takeMessagesOfType('granted')).to.have.length(1)
  })
})
