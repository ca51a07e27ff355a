/**
 * Tests how a client closes a session: the client sends bye, and leaves no timer, connection or
 * session. A fence is the number of a grant. In the lists of events, `lost session` is the loss of
 * a lock because its session ended.
 *
 * The lease is how long the broker keeps a silent session. The grace is how long the broker keeps a
 * session without a connection. The state `jeopardy` means that the connection is down, but the
 * session has a grace and may still resume.
 */
import { expect } from 'chai'
import { snapshot } from '../support/resuming.js'
import {
  acquireLock,
  errorCodeOf,
  openScriptedSession,
  stateOf,
  unhandledRejectionsOf,
  untilTurnEnds,
  welcomeWithGrace,
} from '../support/scriptedSession.js'

describe('closing a session', () => {
  it('sends bye after all other messages, and resolves when the broker closes', async () => {
    const scene = await openScriptedSession()
    const { session, socket, clock } = scene
    const requesting = session.lock('a')
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 1 })
    const lock = await requesting
    const waiting = errorCodeOf(session.lock('b'))
    const unlocking = lock.unlock()
    const closing = session.close()
    expect([lock.held, session.state]).to.deep.equal([false, 'closed'])
    expect(await waiting).to.equal('SESSION_CLOSED')
    await unlocking
    await untilTurnEnds()
    expect(socket.newMessages().map(({ type }) => type)).to.deep.equal([
      'lock',
      'lock',
      'unlock',
      'bye',
    ])
    expect(await stateOf(closing)).to.equal('pending')
    socket.end(1000)
    await closing
    expect(scene.events).to.deep.equal(['closed'])
    expect(clock.timerCount).to.equal(0)
    expect(scene.network.sockets.length).to.equal(1)
  })

  it('loses the locks before `close` returns', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('a')
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1 })
    const lock = await requesting
    const { signal } = lock
    void scene.session.close()
    expect([lock.held, signal.aborted]).to.deep.equal([false, true])
    expect(scene.events).to.deep.equal(['lost session'])
    expect(await errorCodeOf(lock.unlock())).to.equal('LOCK_NOT_HELD')
    // The disposal of a lost lock does not throw.
    await lock[Symbol.asyncDispose]()
  })

  it('waits at most a second for the broker to close the connection', async () => {
    const { session, socket, clock } = await openScriptedSession()
    const closing = session.close()
    clock.advance(999)
    expect(await stateOf(closing)).to.equal('pending')
    clock.advance(1)
    await closing
    expect(socket.closedByClient).to.equal(true)
    expect(clock.timerCount).to.equal(0)
  })

  it('resolves immediately if the connection dropped and the session had no grace', async () => {
    const { session, socket, clock, network } = await openScriptedSession()
    socket.end()
    await session.close()
    // Longer than any delay after which a client would reconnect.
    clock.advance(60_000)
    expect(network.sockets.length).to.equal(1)
    expect(clock.timerCount).to.equal(0)
  })

  it('reconnects immediately to send bye for a session that the broker keeps', async () => {
    const scene = await openScriptedSession({ reconnect: [60_000] }, welcomeWithGrace())
    const lock = await acquireLock(scene)
    const { session, clock, network } = scene
    scene.socket.end()
    const closing = session.close()
    expect([lock.held, session.state]).to.deep.equal([false, 'closed'])
    expect(network.sockets.length).to.equal(2)
    network.lastSocket.accept()
    expect(network.lastSocket.newMessages()[0]).to.deep.include({
      resume: { session: 's1', secret: 'first', try: 1 },
    })
    network.lastSocket.deliver(welcomeWithGrace({ resumed: true, secret: 'second' }), snapshot())
    await untilTurnEnds()
    expect(network.lastSocket.newMessages()).to.deep.equal([{ type: 'bye' }])
    expect(await stateOf(closing)).to.equal('pending')
    network.lastSocket.end(1000)
    await closing
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'closed'])
    expect(clock.timerCount).to.equal(0)
  })

  it('sends bye on a connection that the session is opening already', async () => {
    const { session, socket, clock, network } = await openScriptedSession(
      { reconnect: [0] },
      welcomeWithGrace(),
    )
    socket.end()
    clock.advance(1)
    network.lastSocket.accept()
    const closing = session.close()
    // Skips the hello.
    network.lastSocket.newMessages()
    // The broker had ended the old session and answers with a new session, which must end too.
    network.lastSocket.deliver(welcomeWithGrace({ session: 's2' }))
    await untilTurnEnds()
    expect(network.lastSocket.newMessages()).to.deep.equal([{ type: 'bye' }])
    network.lastSocket.end(1000)
    await closing
    expect(network.sockets.length).to.equal(2)
    expect(clock.timerCount).to.equal(0)
  })

  it('tries only once to reconnect for a bye', async () => {
    const { session, socket, clock, network } = await openScriptedSession(
      { reconnect: [0] },
      welcomeWithGrace(),
    )
    socket.end()
    const closing = session.close()
    network.lastSocket.fail(new Error('connection refused'))
    await closing
    clock.advance(60_000)
    expect(network.sockets.length).to.equal(2)
    expect(clock.timerCount).to.equal(0)
  })

  it('waits at most a second to reconnect for a bye', async () => {
    const { session, socket, clock, network } = await openScriptedSession({}, welcomeWithGrace())
    socket.end()
    const closing = session.close()
    network.lastSocket.accept()
    clock.advance(999)
    expect(await stateOf(closing)).to.equal('pending')
    clock.advance(1)
    await closing
    expect(network.lastSocket.closedByClient).to.equal(true)
    expect(clock.timerCount).to.equal(0)
  })

  it('is possible in a `lost` listener that the drop of the connection triggers', async () => {
    const scene = await openScriptedSession({ reconnect: [0] }, welcomeWithGrace())
    scene.session.on('lost', () => void scene.session.close())
    await acquireLock(scene)
    // The client relies on a lease of 10,000 ms for less than 9,800 ms (see `lease.test.ts`).
    scene.clock.advanceWithoutTimers(9_800)
    scene.socket.end()
    expect(scene.network.sockets.length).to.equal(2)
    scene.network.lastSocket.fail(new Error('connection refused'))
    expect(scene.events).to.deep.equal(['lost session', 'closed'])
    expect(scene.clock.timerCount).to.equal(0)
  })

  it('sends bye if a `lost` listener closes the session after the lease ended for the client', async () => {
    const scene = await openScriptedSession({}, welcomeWithGrace())
    scene.session.on('lost', () => void scene.session.close())
    const lock = await acquireLock(scene)
    // Skips the lock request.
    scene.socket.newMessages()
    // The broker keeps the session, because only the wall clock of the client was moved.
    scene.clock.moveWallClock(3_600_000)
    expect(lock.held).to.equal(false)
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'bye' }])
    scene.socket.end(1000)
    expect(scene.events).to.deep.equal(['lost session', 'closed'])
  })

  it('reconnects once for a bye if a `jeopardy` and a `lost` listener both close the session', async () => {
    const scene = await openScriptedSession({ reconnect: [0] }, welcomeWithGrace({ grace: 1_000 }))
    const closings: Promise<void>[] = []
    for (const event of ['jeopardy', 'lost'] as const) {
      scene.session.on(event, () => closings.push(scene.session.close()))
    }
    await acquireLock(scene)
    scene.socket.end()
    // Longer than the delay after which the client would reconnect.
    scene.clock.advance(500)
    expect(scene.network.sockets.length).to.equal(2)
    scene.network.lastSocket.fail(new Error('connection refused'))
    await Promise.all(closings)
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'closed'])
    expect(scene.clock.timerCount).to.equal(0)
  })

  it('makes the client answer no ping after its bye, and not reconnect', async () => {
    const { session, socket, network, clock } = await openScriptedSession()
    const closing = session.close()
    await untilTurnEnds()
    // Skips the bye.
    socket.newMessages()
    socket.deliver({ type: 'ping', n: 1 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
    socket.end(1006)
    await closing
    clock.advance(60_000)
    expect(network.sockets.length).to.equal(1)
  })

  it('may be requested again, and makes every other call fail', async () => {
    const { session, socket } = await openScriptedSession()
    const closings = [session.close(), session.close()]
    socket.end(1000)
    await Promise.all(closings)
    await session[Symbol.asyncDispose]()
    const calls = [
      session.lock('a'),
      session.tryLock('a'),
      session.withLock('a', () => 1),
      session.singleflightLock('a'),
      session.query(),
      session.stats(),
    ]
    const codes = await Promise.all(calls.map((call) => errorCodeOf(call)))
    expect(new Set(codes)).to.deep.equal(new Set(['SESSION_CLOSED']))
    expect(() => session.watch('a', () => {}))
      .to.throw()
      .with.property('code', 'SESSION_CLOSED')
  })

  it('is possible in a `lost` listener that runs after the session has expired', async () => {
    const scene = await openScriptedSession({}, welcomeWithGrace())
    const requesting = scene.session.lock('a')
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 1 })
    const lock = await requesting
    let closing: Promise<void> | undefined
    scene.session.on('lost', () => {
      closing = scene.session.close()
    })
    // 4410 is the close code for an expired session.
    scene.socket.end(4410)
    await closing
    scene.clock.advance(60_000)
    expect([lock.held, scene.network.sockets.length]).to.deep.equal([false, 1])
  })

  it('is not caused by an error of a listener: the client reports the error', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('a')
    await untilTurnEnds()
    const listenerError = new Error('mine')
    let otherCalls = 0
    scene.session.on('draining', () => {
      throw listenerError
    })
    scene.session.on('draining', () => {
      otherCalls++
    })
    const reported = await unhandledRejectionsOf(() => {
      scene.socket.deliver({ type: 'draining', within: 1 }, { type: 'granted', id: 1, fence: 1 })
    })
    expect(reported).to.deep.equal([listenerError])
    expect((await requesting).held).to.equal(true)
    expect(otherCalls).to.equal(1)
  })
})
