/**
 * Tests authentication tokens that expire while the session of their client is open. The lease is
 * how long the broker keeps a session without a message of its client. A fence is the number of a
 * grant. `passTimeAnsweringPings` moves the fake clock while the client answers every ping.
 */
import { expect } from 'chai'
import { BrokerHarness, passTimeAnsweringPings } from '../server/harness.js'
import { answersOf, openSessionWithToken } from './authentication.js'

describe('expiring tokens', () => {
  /**
   * A broker for tokens such as `5000`, which expires after 5,000 ms, and `other 5000`, which
   * belongs to another principal.
   */
  function brokerWithTokens(): BrokerHarness {
    const harness: BrokerHarness = new BrokerHarness({
      authenticate: ({ token = '' }) => {
        const [, otherPrincipal, ms] = /^(other )?(\d+)$/.exec(token) ?? []
        if (ms === undefined) return undefined
        const expiresAt = harness.environment.clock.wall() + Number(ms)
        return { principal: otherPrincipal ?? 'ann', expiresAt }
      },
    })
    return harness
  }

  it('cause a warning 30 s before they expire, and close the connection with 4401', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '60000')
    // The warning is due after 30,000 ms, and the end after 60,000 ms. The test looks at
    // 29,900 ms, 30,100 ms, 59,900 ms and 60,200 ms.
    const [earlyMessages] = passTimeAnsweringPings(harness, 29_900, client)
    expect(answersOf(earlyMessages!)).to.not.include('expiring')
    const [laterMessages] = passTimeAnsweringPings(harness, 200, client)
    expect(answersOf(laterMessages!)).to.include('expiring')
    passTimeAnsweringPings(harness, 29_800, client)
    expect(client.socket.closedWith).to.equal(undefined)
    passTimeAnsweringPings(harness, 300, client)
    const reason = 'unauthorized: the token has expired'
    expect(client.socket.closedWith).to.include({ code: 4401, reason })
  })

  it('cause an immediate warning if they expire within 30 s', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '5000')
    const [heard] = passTimeAnsweringPings(harness, 100, client)
    const warning = heard!.find(({ type }) => type === 'expiring') as { within: number }
    // `within` is the time that is left. The broker may send the warning up to 200 ms late.
    expect(warning.within).to.be.within(4_800, 5_000)
  })

  it('are replaced by another token of the same principal', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '5000')
    const fence = client.acquire('k')
    client.say({ type: 'auth', id: 7, token: '120000' })
    await harness.settle()
    expect(client.takeMessages()).to.deep.include({ type: 'authenticated', id: 7 })
    passTimeAnsweringPings(harness, 60_000, client)
    expect(client.socket.closedWith).to.equal(undefined)
    client.unlock(fence)
    expect(answersOf(client.takeMessages())).to.include('unlocked')
  })

  it('are not replaced by a token of another principal, by an unknown token, or while another replacement is checked', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '5000')
    for (const token of ['other 9000', 'nonsense']) {
      client.say({ type: 'auth', id: 7, token })
      await harness.settle()
      expect(answersOf(client.takeMessages())).to.deep.equal(['failed UNAUTHORIZED'])
    }
    // The broker refuses the request 9 while it checks the token of 8.
    client.say({ type: 'auth', id: 8, token: '9000' }, { type: 'auth', id: 9, token: '9000' })
    await harness.settle()
    expect(answersOf(client.takeMessages())).to.deep.equal([
      'failed QUOTA_EXCEEDED',
      'authenticated',
    ])
    // The connection ends when the token of 8 expires.
    passTimeAnsweringPings(harness, 9_200, client)
    expect(client.socket.closedWith).to.include({ code: 4401 })
  })

  it('cannot be replaced over a connection without TLS', async () => {
    // Without TLS the broker refuses a hello with a token. So the hello has no token, and `ann` is
    // the principal anyway.
    const harness = new BrokerHarness({ authenticate: ({ token = 'ann' }) => token })
    const socket = harness.connect()
    Object.assign(socket, { isSecure: false })
    harness.sayAndEndTurn(socket, { type: 'hello' })
    await harness.settle()
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
    harness.sayAndEndTurn(socket, { type: 'auth', id: 7, token: 'ann' })
    await harness.settle()
    expect(answersOf(socket.takeMessages())).to.deep.equal(['failed UNAUTHORIZED'])
  })

  it('are refused if their expiry is not a valid time', async () => {
    for (const expiresAt of [Number.NaN, '2030-01-01', null]) {
      const authenticate = () => ({ principal: 'ann', expiresAt: expiresAt as number })
      const harness = new BrokerHarness({ authenticate })
      const socket = harness.connectWithHello({ token: 't' })
      await harness.settle()
      expect(socket.closedWith).to.include({ code: 4401 })
    }
  })

  it('do not expire if their expiry is infinite', async () => {
    const authenticate = () => ({ principal: 'ann', expiresAt: Number.POSITIVE_INFINITY })
    const harness = new BrokerHarness({ authenticate })
    const client = await openSessionWithToken(harness, 't')
    const [heard] = passTimeAnsweringPings(harness, 10_000, client)
    expect(answersOf(heard!)).to.not.include('expiring')
    expect(client.socket.closedWith).to.equal(undefined)
  })

  it('leave no timer behind after their connection has closed', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '60000')
    client.socket.drop()
    // The broker would have sent the warning of the expiry after 30,000 ms.
    harness.environment.advance(40_000)
    expect(harness.environment.timerCount).to.equal(0)
  })

  it('are accepted and ignored by a broker without the option `authenticate`', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.say({ type: 'auth', id: 7, token: 'whatever' })
    expect(client.takeMessages()).to.deep.equal([{ type: 'authenticated', id: 7 }])
  })

  it('do not end the locks of their session, which ends only with its lease', async () => {
    const harness = brokerWithTokens()
    const client = await openSessionWithToken(harness, '3000')
    client.acquire('k')
    passTimeAnsweringPings(harness, 3_100, client)
    // The broker has begun to close the connection; now the connection ends.
    client.socket.drop()
    expect(harness.broker.table.heldCount).to.equal(1)
    // The default lease lasts 15 s.
    harness.environment.advance(15_000)
    expect(harness.broker.table.heldCount).to.equal(0)
  })
})
