/**
 * Tests the client's methods for operators and for tokens, with a real broker. The method `revoke`
 * ends a lock of any session, and `authenticate` renews a token. `connect` sends a token to another
 * machine only with TLS. A fence is the number of a grant. The grace is how long a session survives
 * the loss of its connection.
 */
import { connect } from '@holdfast/client'
import type { Authenticate } from '@holdfast/server'
import { expect } from 'chai'
import { expectRejection, nextEvent, Stage, untilAborted } from '../e2e/stage.js'
import { TcpProxy } from '../faults/proxy.js'

describe('session.revoke', () => {
  const stage = Stage.forEachTest()

  it('ends a lock, informs its holder, and grants the lock to the next waiter', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'bob', 'ops')
    const [ann, bob, ops] = sessions
    const lock = await ann!.lock('k')
    const requestOfBob = bob!.lock('k')
    const lost = nextEvent(ann!, 'lost')
    const abortReason = untilAborted(lock.signal)
    await ops!.revoke('k', { fence: lock.fence, reason: 'stuck' })
    expect(await lost).to.deep.equal({ key: 'k', fence: lock.fence, reason: 'revoked' })
    expect(await abortReason).to.include({ code: 'LOCK_LOST', reason: 'revoked', note: 'stuck' })
    expect(lock.lost!.message).to.equal('the lock was lost: an operator revoked it: stuck')
    expect(lock.held).to.equal(false)
    expect((await requestOfBob).fence).to.be.above(lock.fence)
    await expectRejection(lock.unlock(), 'LOCK_NOT_HELD')
  })

  it('tells the reason to a disconnected holder when the holder reconnects', async () => {
    const { url, port } = await stage.startBroker()
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const ann = await stage.openSession(proxy.url, { grace: 'lease' })
    const ops = await stage.openSession(url)
    const lock = await ann.lock('k')
    // The client emits `jeopardy` when it cannot reach the broker and may lose its locks.
    const jeopardy = nextEvent(ann, 'jeopardy')
    // `cut` resets Ann's connection. Until `acceptConnections`, Ann cannot reconnect.
    proxy.refuseConnections()
    proxy.cut()
    await jeopardy
    await ops.revoke('k', { fence: lock.fence, reason: 'ann hangs' })
    const resumed = nextEvent(ann, 'resumed')
    proxy.acceptConnections()
    await resumed
    expect(lock.lost).to.include({ code: 'LOCK_LOST', reason: 'revoked', note: 'ann hangs' })
  })

  it('rejects with LOCK_NOT_HELD if no held lock has both the key and the fence', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ops')
    const [ann, ops] = sessions
    const lock = await ann!.lock('k')
    const reason = 'stuck'
    await expectRejection(ops!.revoke('k', { fence: lock.fence + 1, reason }), 'LOCK_NOT_HELD')
    await expectRejection(ops!.revoke('other', { fence: lock.fence, reason }), 'LOCK_NOT_HELD')
    expect(lock.held).to.equal(true)
  })

  it('needs the permission to revoke', async () => {
    const { url } = await stage.startBroker({ authorize: (_, operation) => operation !== 'revoke' })
    const session = await stage.openSession(url)
    const { fence } = await session.lock('k')
    await expectRejection(session.revoke('k', { fence, reason: 'stuck' }), 'FORBIDDEN')
  })

  it('rejects invalid arguments', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ops')
    const [ops] = sessions
    await expectRejection(ops!.revoke('', { fence: 1, reason: 'r' }), 'INVALID_KEY')
    for (const options of [
      { fence: 0, reason: 'r' },
      { fence: 1, reason: '' },
      // A reason may have at most 256 characters.
      { fence: 1, reason: 'x'.repeat(257) },
    ]) {
      await expectRejection(ops!.revoke('k', options), 'INVALID_OPTION')
    }
  })
})

describe('session.authenticate', () => {
  const stage = Stage.forEachTest()

  /**
   * Accepts the tokens `short` and `long` of one principal. The broker warns 30 s before a token
   * expires. The warning for `short` comes after 1 s, so the test has time to listen for it. The
   * warning for `long` is due after all tests.
   */
  const authenticate: Authenticate = ({ token }) => {
    const lifetime = { short: 31_000, long: 3_600_000 }[token ?? '']
    if (lifetime === undefined) return undefined
    return { principal: 'ann', expiresAt: Date.now() + lifetime }
  }

  it('renews an expiring token, and later handshakes send the new token', async () => {
    const tokensSeen: (string | undefined)[] = []
    const { port } = await stage.startBroker({
      authenticate: (credentials) => {
        tokensSeen.push(credentials.token)
        return authenticate(credentials)
      },
    })
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const session = await stage.openSession(proxy.url, { token: 'short', grace: 'lease' })
    const { within: timeLeft } = (await nextEvent(session, 'expiring')) as { within: number }
    expect(timeLeft).to.be.within(1, 30_000)
    await session.authenticate('long')
    const lock = await session.lock('k')
    const resumed = nextEvent(session, 'resumed')
    proxy.cut()
    await resumed
    expect(lock.held).to.equal(true)
    // The broker has seen the first handshake, the renewal and the resume.
    expect(tokensSeen).to.deep.equal(['short', 'long', 'long'])
  })

  it('rejects if the broker or the client refuses the token, and the session goes on', async () => {
    const { url } = await stage.startBroker({ authenticate })
    const session = await stage.openSession(url, { token: 'long' })
    await expectRejection(session.authenticate('nonsense'), 'UNAUTHORIZED')
    expect((await session.lock('k')).held).to.equal(true)
    // The client refuses an empty token and does not send it.
    await expectRejection(session.authenticate(''), 'INVALID_OPTION')
  })

  it('rejects with SESSION_CLOSED if the session has ended', async () => {
    const { url } = await stage.startBroker({ authenticate })
    const session = await stage.openSession(url, { token: 'long' })
    await session.close()
    await expectRejection(session.authenticate('long'), 'SESSION_CLOSED')
  })
})

describe('a token', () => {
  it('is sent to another machine only with TLS', async () => {
    // The last URL begins like a URL of this machine, but names another machine.
    for (const url of ['ws://locks.example', 'ws://10.0.0.1:7420', 'ws://127.0.0.1.evil.example']) {
      await expectRejection(connect(url, { token: 't' }), 'INVALID_OPTION')
      await expectRejection(connect(['wss://locks.example', url], { token: 't' }), 'INVALID_OPTION')
    }
  })

  // In the tests below, the signal is aborted. `connect` checks the signal after its other options,
  // so the error `ABORTED` shows that it has accepted these options.
  it('may be sent without TLS if allowInsecure is set', async () => {
    const signal = AbortSignal.abort()
    const options = { token: 't', allowInsecure: true, signal }
    await expectRejection(connect('ws://10.0.0.1:7420', options), 'ABORTED')
  })

  for (const url of ['ws://127.0.0.1:1', 'ws://[::1]:1', 'ws://localhost:1', 'wss://a.example']) {
    it(`may be sent to ${url}`, async () => {
      await expectRejection(connect(url, { token: 't', signal: AbortSignal.abort() }), 'ABORTED')
    })
  }
})
