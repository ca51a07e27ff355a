/**
 * Tests a session that waits for a lock that the same session holds: the session keeps waiting, and
 * warns once. The client checks a request 5 s after sending it, and then every 5 s. A fence is the
 * number of a grant.
 */
import type { ConnectOptions } from '@holdfast/client'
import { connectIn, platformEnvironment } from '@holdfast/client/internal'
import type { Welcome } from '@holdfast/shared'
import { expect } from 'chai'
import {
  makeClientFakes,
  stateOf,
  untilTurnEnds,
  url,
  welcome,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

interface Warning {
  readonly message: string
  readonly code: string
}

/** Opens a session on a fake clock, and collects its warnings. */
async function openSession(options: ConnectOptions = {}, welcomeMessage: Welcome = welcome()) {
  const warnings: Warning[] = []
  const { clock, network, environment } = makeClientFakes()
  const warn = (message: string, code: string) => void warnings.push({ message, code })
  const connecting = connectIn(url, options, { ...environment, warn })
  await untilTurnEnds()
  network.lastSocket.accept()
  network.lastSocket.newMessages()
  network.lastSocket.deliver(welcomeMessage)
  const session = await connecting
  /** Lets time pass. A ping and an acknowledgement each second keep the session connected. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      await untilTurnEnds()
      clock.advance(Math.min(1_000, ms - passed))
      network.lastSocket.deliver({ type: 'ping', n: passed })
      await untilTurnEnds()
      network.lastSocket.deliver({ type: 'ack', n: network.lastSocket.sent.length, at: 50_000 })
    }
  }
  /** Requests a lock and grants it. The fence is the id of the request. */
  const hold = async (key: string, mode: 'exclusive' | 'shared' = 'exclusive') => {
    const requesting = session.lock(key, { mode })
    await untilTurnEnds()
    const { id } = network.lastSocket.newMessages().at(-1) as { id: number }
    network.lastSocket.deliver({ type: 'granted', id, fence: id })
    return requesting
  }
  return { session, warnings, pass, hold, network, clock }
}

describe('a session that waits for its own lock', () => {
  it('warns once after 5 s, and keeps waiting', async () => {
    const { session, warnings, pass, hold } = await openSession({ name: 'billing-3' })
    await hold('k')
    const requesting = session.lock('k')
    await pass(4_999)
    expect(warnings).to.deep.equal([])
    await pass(1)
    expect(warnings).to.have.length(1)
    const [{ message, code }] = warnings as [Warning]
    expect(code).to.equal('HOLDFAST_SELF_WAIT')
    expect(message).to.include('session "billing-3" has waited 5 s for the lock "k"')
    expect(message).to.include('(fence 1)').and.include('not re-entrant')
    expect(message).to.include('The option "warnings" turns this warning off')
    await pass(60_000)
    expect(warnings).to.have.length(1)
    expect(await stateOf(requesting)).to.equal('pending')
  })

  it('counts the 5 s from the sending of the request', async () => {
    const { session, warnings, pass, hold } = await openSession()
    await hold('k')
    await pass(3_000)
    void session.lock('k').catch(() => {})
    await untilTurnEnds()
    await pass(4_999)
    expect(warnings).to.have.length(0)
    await pass(1)
    expect(warnings).to.have.length(1)
  })

  it('warns once for each key, however many requests wait for the key', async () => {
    const { session, warnings, pass, hold } = await openSession()
    for (const key of ['a', 'b']) {
      await hold(key)
      for (let i = 0; i < 3; i++) void session.lock(key).catch(() => {})
      void session.singleflightLock(key).catch(() => {})
      void session.locks.request(key, () => {}).catch(() => {})
    }
    await pass(30_000)
    const warnedKeys = warnings.map(({ message }) => /the lock "(.)"/.exec(message)?.[1])
    expect(warnedKeys).to.deep.equal(['a', 'b'])
  })

  it('warns if one request gets the lock while another request of the session waits', async () => {
    const { session, warnings, pass, network } = await openSession()
    void session.lock('k').catch(() => {})
    void session.lock('k').catch(() => {})
    await untilTurnEnds()
    // Longer than the 5 s, but the session holds nothing yet.
    await pass(7_000)
    expect(warnings).to.have.length(0)
    network.lastSocket.deliver({ type: 'granted', id: 1, fence: 9 })
    await pass(5_000)
    expect(warnings).to.have.length(1)
  })

  it('warns about an exclusive request beside a shared lock, but not about a shared request', async () => {
    const { session, warnings, pass, hold } = await openSession()
    await hold('k', 'shared')
    void session.lock('k', { mode: 'shared' }).catch(() => {})
    // Long enough for two checks.
    await pass(11_000)
    expect(warnings).to.have.length(0)
    void session.lock('k').catch(() => {})
    await pass(11_000)
    expect(warnings).to.have.length(1)
  })

  it('does not warn about a lock that another session holds, or that is unlocked in time', async () => {
    const { session, warnings, pass, hold, network } = await openSession()
    const lock = await hold('k')
    void session.lock('k').catch(() => {})
    void session.lock('other').catch(() => {})
    await pass(4_000)
    void lock.unlock()
    network.lastSocket.deliver({ type: 'granted', id: 2, fence: 2 })
    await pass(30_000)
    expect(warnings).to.deep.equal([])
  })

  it('does not warn about an aborted request', async () => {
    const { session, warnings, pass, hold } = await openSession()
    await hold('k')
    const controller = new AbortController()
    void session.lock('k', { signal: controller.signal }).catch(() => {})
    await pass(1_000)
    controller.abort()
    await pass(30_000)
    expect(warnings).to.deep.equal([])
  })

  it('does not warn without a connection', async () => {
    // With a grace, the session survives the end of its connection.
    const { session, warnings, hold, network, clock } = await openSession(
      { grace: 'lease', reconnect: [60_000] },
      welcomeWithGrace(),
    )
    await hold('k')
    network.lastSocket.end()
    void session.lock('k').catch(() => {})
    clock.advance(6_000)
    expect(warnings).to.deep.equal([])
  })

  it('does not warn, and uses no timer, with the option warnings: false', async () => {
    const { session, warnings, pass, hold, clock } = await openSession({ warnings: false })
    await hold('k')
    const timersBefore = clock.timerCount
    void session.lock('k').catch(() => {})
    expect(clock.timerCount).to.equal(timersBefore)
    await pass(30_000)
    expect(warnings).to.deep.equal([])
  })

  it('leaves no timer when the session is closed', async () => {
    const { session, hold, network, clock } = await openSession()
    await hold('k')
    void session.lock('k').catch(() => {})
    const closing = session.close()
    network.lastSocket.end(1000)
    await closing
    expect(clock.timerCount).to.equal(0)
  })

  it('emits a process warning in Node', async () => {
    const warning = new Promise<Error>((resolve) => process.once('warning', resolve))
    platformEnvironment.warn!('the message', 'HOLDFAST_SELF_WAIT')
    expect(await warning).to.include({
      name: 'HoldfastWarning',
      code: 'HOLDFAST_SELF_WAIT',
      message: 'the message',
    })
  })
})
