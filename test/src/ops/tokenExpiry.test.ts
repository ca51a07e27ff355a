/** Tokens that expire while the session of their client is open. */
import { expect } from 'chai'
import { BrokerHarness, passAlive } from '../server/harness.js'
import { answersOf, join } from './authentication.js'

describe('expiring tokens', () => {
  /** A token is how many ms it lasts from now; `other …` is another principal's. */
  function bench(): BrokerHarness {
    const made: BrokerHarness = new BrokerHarness({
      authenticate: ({ token = '' }) => {
        const [, who, ms] = /^(other )?(\d+)$/.exec(token) ?? []
        if (ms === undefined) return undefined
        return { principal: who ?? 'ann', expiresAt: made.environment.clock.wall() + Number(ms) }
      },
    })
    return made
  }

  it('are announced 30 s before they expire, and close the session with 4401', async () => {
    const b = bench()
    const client = await join(b, '60000')
    const early = passAlive(b, 29_900, client)
    expect(answersOf(early.flat())).to.not.include('expiring')
    const [later] = passAlive(b, 200, client)
    expect(later!.find(({ type }) => type === 'expiring')).to.include({ type: 'expiring' })
    passAlive(b, 29_800, client)
    expect(client.socket.closedWith).to.equal(undefined)
    passAlive(b, 300, client)
    expect(client.socket.closedWith).to.include({ code: 4401 })
  })

  it('are announced at once if they expire within 30 s', async () => {
    const b = bench()
    const client = await join(b, '5000')
    const [heard] = passAlive(b, 100, client)
    const warning = heard!.find(({ type }) => type === 'expiring') as { within: number }
    expect(warning.within).to.be.within(4_800, 5_000)
  })

  it('are replaced by another token of the same principal', async () => {
    const b = bench()
    const client = await join(b, '5000')
    const fence = client.acquire('k')
    client.say({ type: 'auth', id: 7, token: '120000' })
    await b.settle()
    expect(client.heard()).to.deep.include({ type: 'authenticated', id: 7 })
    passAlive(b, 60_000, client)
    expect(client.socket.closedWith).to.equal(undefined)
    client.unlock(fence)
    expect(answersOf(client.heard())).to.include('unlocked')
  })

  it('are not replaced by another principal, by a bad token, or twice at the same time', async () => {
    const b = bench()
    const client = await join(b, '5000')
    for (const token of ['other 9000', 'nonsense']) {
      client.say({ type: 'auth', id: 7, token })
      await b.settle()
      expect(answersOf(client.heard())).to.deep.equal(['failed UNAUTHORIZED'])
    }
    client.say({ type: 'auth', id: 8, token: '9000' }, { type: 'auth', id: 9, token: '9000' })
    await b.settle()
    expect(answersOf(client.heard())).to.deep.equal(['failed QUOTA_EXCEEDED', 'authenticated'])
    passAlive(b, 9_200, client)
    expect(client.socket.closedWith).to.include({ code: 4401 })
  })

  it('are not accepted without TLS', async () => {
    const b = new BrokerHarness({ authenticate: ({ token = 'ann' }) => token })
    const socket = b.connect()
    Object.assign(socket, { isSecure: false })
    b.say(socket, { type: 'hello' })
    await b.settle()
    expect(socket.heardOf('welcome')).to.have.length(1)
    b.say(socket, { type: 'auth', id: 7, token: 'ann' })
    await b.settle()
    expect(answersOf(socket.heard())).to.deep.equal(['failed UNAUTHORIZED'])
  })

  it('are refused if their expiry is not a valid time', async () => {
    for (const expiresAt of [Number.NaN, '2030-01-01', null]) {
      const authenticate = () => ({ principal: 'ann', expiresAt: expiresAt as number })
      const b = new BrokerHarness({ authenticate })
      const socket = b.connectWithHello({ token: 't' })
      await b.settle()
      expect(socket.closedWith).to.include({ code: 4401 })
    }
  })

  it('can have no expiry', async () => {
    const authenticate = () => ({ principal: 'ann', expiresAt: Number.POSITIVE_INFINITY })
    const b = new BrokerHarness({ authenticate })
    const client = await join(b, 't')
    const [heard] = passAlive(b, 10_000, client)
    expect(answersOf(heard!)).to.not.include('expiring')
    expect(client.socket.closedWith).to.equal(undefined)
  })

  it('are forgotten when their connection closes', async () => {
    const b = bench()
    const client = await join(b, '60000')
    client.socket.drop()
    // After the time of the warning that the connection would have got.
    b.environment.pass(40_000)
    expect(b.environment.timers).to.equal(0)
  })

  it('are ignored without authenticate', () => {
    const b = new BrokerHarness({ limits: { messagesPerSecond: 10 } })
    const client = b.join()
    client.say({ type: 'auth', id: 7, token: 'whatever' })
    expect(client.heard()).to.deep.equal([{ type: 'authenticated', id: 7 }])
  })

  it('leave the locks to the session for its lease', async () => {
    const b = bench()
    const client = await join(b, '3000')
    client.acquire('k')
    passAlive(b, 3_100, client)
    client.socket.drop()
    expect(b.broker.table.heldCount).to.equal(1)
    b.environment.pass(15_000)
    expect(b.broker.table.heldCount).to.equal(0)
  })
})
