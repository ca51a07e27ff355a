/**
 * Tests a client that loses the connection of a session without a grace. (The grace is the time for
 * which the broker keeps a session without a connection.) The client opens a new session, and
 * repeats the pending requests. The lease is how long the broker keeps a silent session; a fence is
 * the number of a grant.
 */
import { fixedInterval, type HoldfastError } from '@holdfast/client'
import { connectIn, connectTimeoutFor } from '@holdfast/client/internal'
import { expect } from 'chai'
import {
  errorCodeOf,
  makeClientFakes,
  openScriptedSession,
  reconnect,
  stateOf,
  untilTurnEnds,
  url,
  welcome,
} from '../support/scriptedSession.js'

/**
 * The welcome of a new session. `at` is lower than in the first welcome, because another broker has
 * another clock.
 */
const newWelcome = welcome({ session: 's2', at: 10 })

/** The first letters of the hosts that the client has tried to connect to, in order. */
function triedHosts(sockets: readonly { readonly url: string }[]): string {
  return sockets.map((socket) => socket.url.slice('ws://'.length)[0]).join('')
}

describe('a client that loses its connection', () => {
  it('opens a new session, and repeats requests with the rest of their timeouts', async () => {
    const scene = await openScriptedSession()
    const controller = new AbortController()
    const requesting = [
      scene.session.lock('a', { timeout: 20_000 }),
      scene.session.lock('b', { signal: controller.signal }),
      scene.session.lock('c'),
      scene.session.query({ key: 'a' }),
    ]
    void requesting[1]?.catch(() => {})
    await untilTurnEnds()
    scene.clock.advance(1_000)
    expect(await reconnect(scene)).to.deep.equal({ type: 'hello' })
    controller.abort()
    const requestD = scene.session.lock('d', { ttl: 5 })
    scene.socket.deliver(newWelcome)
    await untilTurnEnds()
    expect(scene.events).to.deep.equal(['newSession'])
    expect(scene.session.id).to.equal('s2')
    // The timeout is 20,000 ms minus the 1,000 ms above and the 50 ms of `reconnect`. On a new
    // connection, lock requests keep their ids, and a query gets a new id.
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'a', timeout: 18_950 },
      { type: 'lock', id: 3, key: 'c' },
      { type: 'lock', id: 5, key: 'd', ttl: 5 },
      { type: 'query', id: 6, key: 'a' },
    ])
    scene.socket.deliver(
      { type: 'granted', id: 3, fence: 30 },
      { type: 'granted', id: 5, fence: 50 },
    )
    expect([(await requesting[2]) !== undefined, (await requestD).fence]).to.deep.equal([true, 50])
  })

  it('never requests a lost lock again', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('a')
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1 })
    const lock = await requesting
    await reconnect(scene)
    scene.socket.deliver(newWelcome)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([])
    expect(lock.held).to.equal(false)
    expect(scene.events).to.deep.equal(['lost session', 'newSession'])
  })

  it('resolves an unlock and rejects a refresh when the session is gone', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('a')
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1 })
    const lock = await requesting
    const refreshing = errorCodeOf(lock.refresh())
    const unlocking = lock.unlock()
    await reconnect(scene)
    await unlocking
    expect(await refreshing).to.equal('LOCK_NOT_HELD')
    scene.socket.deliver(newWelcome)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([])
    expect(scene.events).to.deep.equal(['newSession'])
  })

  it('ends requests exactly at their timeouts while there is no connection', async () => {
    const scene = await openScriptedSession({ reconnect: [60_000] })
    const requesting = errorCodeOf(scene.session.lock('a', { timeout: 5_000 }))
    await untilTurnEnds()
    scene.clock.advance(1_000)
    scene.socket.end()
    // This request begins later, and ends 1 ms before the other request.
    const laterRequesting = errorCodeOf(scene.session.lock('b', { timeout: 3_999 }))
    scene.clock.advance(3_998)
    expect(await stateOf(requesting)).to.equal('pending')
    scene.clock.advance(1)
    expect(await laterRequesting).to.equal('LOCK_TIMEOUT')
    expect(await stateOf(requesting)).to.equal('pending')
    scene.clock.advance(1)
    expect(await requesting).to.equal('LOCK_TIMEOUT')
  })

  it('rejects tryLock immediately without a connection', async () => {
    const scene = await openScriptedSession()
    const sentBefore = errorCodeOf(scene.session.tryLock('a'))
    await untilTurnEnds()
    scene.socket.end()
    const requestedAfter = errorCodeOf(scene.session.tryLock('b'))
    scene.clock.advance(0)
    expect([await sentBefore, await requestedAfter]).to.deep.equal(['UNAVAILABLE', 'UNAVAILABLE'])
  })

  it('uses the delays of the strategy, and begins with the first delay in each outage', async () => {
    const scene = await openScriptedSession({ reconnect: [100, 200, 400] })
    const socketCount = () => scene.network.sockets.length
    for (let outage = 0; outage < 2; outage++) {
      const before = socketCount()
      scene.socket.end()
      scene.clock.advance(99)
      expect(socketCount()).to.equal(before)
      scene.clock.advance(1)
      expect(socketCount()).to.equal(before + 1)
      scene.socket.end()
      scene.clock.advance(199)
      expect(socketCount()).to.equal(before + 1)
      scene.clock.advance(1)
      expect(socketCount()).to.equal(before + 2)
      scene.socket.accept()
      scene.socket.deliver(newWelcome)
      // The drop of a connection that was open for at least 1 s begins a new outage.
      scene.clock.advance(1_000)
    }
    expect(scene.events).to.deep.equal(['newSession', 'newSession'])
  })

  it('continues with longer delays if the broker closes each connection soon after welcome', async () => {
    const scene = await openScriptedSession({ reconnect: [100, 200, 400, 800] })
    scene.clock.advance(1_000)
    for (const delay of [100, 200, 400]) {
      const socketCount = scene.network.sockets.length
      scene.socket.end(1011)
      scene.clock.advance(delay - 1)
      expect(scene.network.sockets.length).to.equal(socketCount)
      scene.clock.advance(1)
      expect(scene.network.sockets.length).to.equal(socketCount + 1)
      scene.socket.accept()
      scene.socket.deliver(newWelcome)
      // Of the new connections, only the last is open for 1 s. So its drop begins a new outage.
      scene.clock.advance(delay === 400 ? 1_000 : 999)
    }
    scene.socket.end(1011)
    scene.clock.advance(100)
    // The first connection, one after each of the three delays, and one in the new outage.
    expect(scene.network.sockets.length).to.equal(5)
  })

  it('gives up at the end of the delays if no connection was open for long', async () => {
    const scene = await openScriptedSession({ reconnect: [10] })
    const requesting = scene.session.lock('a').catch((error) => error)
    scene.socket.end(1011)
    scene.clock.advance(10)
    scene.socket.accept()
    scene.socket.deliver(newWelcome)
    scene.socket.end(1013)
    const error = (await requesting) as HoldfastError
    expect(error.code).to.equal('UNAVAILABLE')
    expect((error.cause as HoldfastError).message).to.contain('1013')
  })

  it('gives its only broker two seconds for a welcome, even with a short lease', async () => {
    const scene = await openScriptedSession({}, welcome({ lease: 2_000 }))
    scene.socket.end()
    // The client tries to reconnect after 50 ms.
    scene.clock.advance(50)
    const { socket } = scene
    scene.clock.advance(1_999)
    expect(socket.closedByClient).to.equal(false)
    scene.clock.advance(1)
    expect(socket.closedByClient).to.equal(true)
  })

  it('derives the time limit of a try from the lease, and doubles the limit after each failed round', () => {
    // For one broker, a try may last a third of the lease, but at least 2,000 ms. For several
    // brokers, one round may last half of the lease, but each try at least 500 ms. No try lasts
    // longer than 10,000 ms.
    const cases: [lease: number, brokerCount: number, failedRounds: number, ms: number][] = [
      // The client does not know its lease before the first welcome.
      [0, 1, 0, 10_000],
      [15_000, 1, 0, 5_000],
      [3_000, 1, 0, 2_000],
      [300_000, 1, 0, 10_000],
      [15_000, 3, 0, 2_500],
      [2_000, 3, 0, 500],
      [15_000, 3, 1, 5_000],
      [15_000, 3, 9, 10_000],
    ]
    for (const [lease, brokerCount, failedRounds, ms] of cases) {
      const label = `${lease} ${brokerCount} ${failedRounds}`
      expect(connectTimeoutFor(lease, brokerCount, failedRounds), label).to.equal(ms)
    }
  })

  it('closes the session when the strategy has no further delay', async () => {
    const scene = await openScriptedSession({
      reconnect: fixedInterval({ interval: 10, maxRetries: 2 }),
    })
    const requesting = errorCodeOf(scene.session.lock('a'))
    for (let i = 0; i < 3; i++) {
      scene.socket.end()
      scene.clock.advance(10)
    }
    expect(await requesting).to.equal('UNAVAILABLE')
    expect(scene.events).to.deep.equal(['closed'])
    expect(scene.session.state).to.equal('closed')
    expect(await errorCodeOf(scene.session.lock('b'))).to.equal('SESSION_CLOSED')
    expect(scene.clock.timerCount).to.equal(0)
  })

  it('does not reconnect with reconnect: false', async () => {
    const scene = await openScriptedSession({ reconnect: false })
    scene.socket.end()
    await untilTurnEnds()
    expect(scene.events).to.deep.equal(['closed'])
    expect(scene.clock.timerCount).to.equal(0)
  })

  it('does not reconnect after a close code that forbids another try', async () => {
    // The code 4409 means that another connection has resumed the session.
    const codes: [number, string][] = [
      [4401, 'UNAUTHORIZED'],
      [4403, 'FORBIDDEN'],
      [4429, 'QUOTA_EXCEEDED'],
      [4400, 'BAD_MESSAGE'],
      [1007, 'BAD_MESSAGE'],
      [4409, 'SESSION_EXPIRED'],
      [1000, 'UNAVAILABLE'],
    ]
    for (const [code, expected] of codes) {
      const scene = await openScriptedSession()
      const requesting = errorCodeOf(scene.session.lock('a'))
      scene.socket.end(code)
      expect(await requesting, String(code)).to.equal(expected)
      expect(scene.events).to.deep.equal(['closed'])
      expect(scene.clock.timerCount).to.equal(0)
    }
  })

  it('shows no remaining lease when the session has ended', async () => {
    const scene = await openScriptedSession()
    expect(scene.session.leaseLeft).to.be.above(0)
    scene.socket.end(4401)
    expect(scene.session.leaseLeft).to.equal(0)
  })

  it('reconnects after a close code that does not forbid another try', async () => {
    // Codes of WebSocket, `tooSlow` (4308), `expired` (4410), and an unknown code.
    for (const code of [1006, 1011, 1012, 1013, 4308, 4410, 4999]) {
      const scene = await openScriptedSession()
      scene.socket.end(code)
      scene.clock.advance(50)
      expect(scene.network.sockets.length, String(code)).to.equal(2)
    }
  })

  it('tries the whole list in each round, and begins with the broker that it used last', async () => {
    const { environment, network, clock } = makeClientFakes()
    const urls = ['ws://a.test', 'ws://b.test', 'ws://c.test']
    const connecting = connectIn(urls, { reconnect: [10, 10] }, environment)
    await untilTurnEnds()
    network.lastSocket.end()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome())
    const session = await connecting
    network.lastSocket.end()
    clock.advance(10)
    // There is no delay within a round: when a try fails, the next try begins.
    network.lastSocket.end()
    network.lastSocket.end()
    network.lastSocket.end()
    clock.advance(10)
    // At first a and b; after the drop, b, c and a in one round, and b in the next round.
    expect(triedHosts(network.sockets)).to.equal('abbcab')
    network.lastSocket.accept()
    network.lastSocket.deliver(newWelcome)
    expect(session.state).to.equal('connected')
  })

  it('returns to the first broker of its list when its broker stops (close code 1012)', async () => {
    const { environment, network, clock } = makeClientFakes()
    const connecting = connectIn(['ws://a.test', 'ws://b.test'], { reconnect: [10] }, environment)
    await untilTurnEnds()
    network.lastSocket.end()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome())
    const session = await connecting
    network.lastSocket.end(1012)
    clock.advance(10)
    expect(triedHosts(network.sockets)).to.equal('aba')
    network.lastSocket.accept()
    network.lastSocket.deliver(newWelcome)
    expect(session.state).to.equal('connected')
  })

  it('sends the newest token that was not refused', async () => {
    const scene = await openScriptedSession({ token: 'first', allowInsecure: true })
    const hellos: unknown[] = []
    for (const token of ['second', 'refused']) {
      const outcome = errorCodeOf(scene.session.authenticate(token))
      await untilTurnEnds()
      const { id } = scene.socket.sent.at(-1) as { id: number }
      if (token === 'second') scene.socket.deliver({ type: 'authenticated', id })
      else scene.socket.deliver({ type: 'failed', id, code: 'UNAUTHORIZED', message: '' })
      expect(await outcome).to.equal(token === 'second' ? 'none' : 'UNAUTHORIZED')
      hellos.push(await reconnect(scene))
      scene.socket.deliver(newWelcome)
    }
    const hello = { type: 'hello', token: 'second' }
    expect(hellos).to.deep.equal([hello, hello])
  })

  it('reports a broker that drains', async () => {
    const scene = await openScriptedSession()
    let within: number | undefined
    scene.session.on('draining', (event) => {
      within = event.within
    })
    scene.socket.deliver({ type: 'draining', within: 5_000 })
    expect(within).to.equal(5_000)
  })

  it('rejects requests if the strategy throws or yields a symbol, and takes an invalid number as 0 ms', async () => {
    const throwingStrategy = {
      [Symbol.iterator](): Iterator<number> {
        throw new Error('mine')
      },
    }
    const scene = await openScriptedSession({ reconnect: throwingStrategy })
    const requesting = errorCodeOf(scene.session.lock('a'))
    scene.socket.end()
    expect(await requesting).to.equal('INVALID_OPTION')
    const withSymbol = await openScriptedSession({ reconnect: [Symbol('delay')] as never })
    const requestingAgain = errorCodeOf(withSymbol.session.lock('a'))
    withSymbol.socket.end()
    expect(await requestingAgain).to.equal('INVALID_OPTION')
    const withNumbers = await openScriptedSession({ reconnect: [Number.NaN, -5] })
    withNumbers.socket.end()
    withNumbers.clock.advance(0)
    expect(withNumbers.network.sockets.map((socket) => socket.url)).to.deep.equal([url, url])
  })
})
