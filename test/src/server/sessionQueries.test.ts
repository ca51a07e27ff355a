/**
 * Tests queries for one session: its lease and grace for every client, and its principal and
 * address only for clients with the permission `inspect`. The lease is the time that the broker
 * keeps a session without a message of its client. The grace is the time that a session outlives
 * its connection.
 */
import type { Operation } from '@holdfast/server'
import type { SessionInfo } from '@holdfast/shared'
import { expect } from 'chai'
import { Cluster } from '../log/cluster.js'
import { harnessWithTokens, openSessionWithToken } from '../ops/authentication.js'
import { BrokerHarness, type Client } from './harness.js'

/** Queries a session. Returns undefined if the broker knows no such session. */
function ask(client: Client, session: string): SessionInfo | undefined {
  client.takeMessages()
  client.say({ type: 'query', id: 1, kind: 'sessions', session })
  const [found] = client.socket.takeMessagesOfType('found')
  expect(found!.sessions).to.have.length(found!.sessionsCount!)
  return found!.sessions![0]
}

describe('a query for a session', () => {
  it('shows the lease, the grace and whether the client is connected, and finds no unknown session', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 9_000, grace: 4_000 })
    const reader = harness.openSession()
    const { session } = client
    expect(ask(reader, session)).to.include({ session, lease: 9_000, grace: 4_000 })
    expect(ask(reader, session)).to.include({ connected: true })
    client.socket.drop()
    expect(ask(reader, session)).to.include({ connected: false })
    expect(ask(reader, session)).not.to.have.property('address')
    harness.environment.advance(4_000)
    expect(ask(reader, session)).to.equal(undefined)
    expect(ask(reader, 'unknown')).to.equal(undefined)
  })

  it('shows the address of the newest connection', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    const reader = harness.openSession()
    expect(ask(reader, client.session)).to.include({ address: '127.0.0.1' })
    const socket = harness.connect({ remoteAddress: '192.0.2.7' })
    harness.sayAndEndTurn(socket, { type: 'hello', ...client.resumeHello() })
    expect(ask(reader, client.session)).to.include({ address: '192.0.2.7' })
  })

  it('shows the principal and the address only with the permission inspect', async () => {
    // `inspect` has no key, so a rule that permits `inspect` for one key never applies.
    const mayForOneKey = (operation: Operation, key: string) =>
      operation !== 'inspect' || key === 'secret'
    const [allowed, denied] = [
      harnessWithTokens({}, () => true),
      harnessWithTokens({}, mayForOneKey),
    ]
    for (const [harness, isAllowed] of [[allowed, true] as const, [denied, false] as const]) {
      const [ann, bob] = [
        await openSessionWithToken(harness, 'ann'),
        await openSessionWithToken(harness, 'bob'),
      ]
      const info = ask(bob, ann.session)!
      const { lease, grace } = ann.welcome
      const common = { session: ann.session, lease, grace, connected: true }
      const privateFields = { principal: 'ann', address: '127.0.0.1' }
      expect(info).to.deep.equal(isAllowed ? { ...common, ...privateFields } : common)
    }
  })

  it('without permission rules, shows the principal only if the broker authenticates no client', async () => {
    // By default, an authenticated client does not have the permission `inspect`.
    const authenticated = new BrokerHarness({ authenticate: ({ token }) => token })
    const ann = await openSessionWithToken(authenticated, 'ann')
    expect(ask(ann, ann.session)).not.to.have.any.keys('principal', 'address')
    // Without authentication, every client may do everything.
    const client = new BrokerHarness().openSession()
    const fields = ['session', 'lease', 'grace', 'connected', 'principal', 'address']
    expect(ask(client, client.session)).to.have.all.keys(fields)
  })

  it('shows the principal only if the newest token of the client permits it', async () => {
    const harness = new BrokerHarness({
      authenticate: ({ token }) =>
        token === undefined
          ? undefined
          : { principal: 'ann', may: (operation) => operation !== 'inspect' || token === 'wide' },
    })
    const client = await openSessionWithToken(harness, 'wide')
    expect(ask(client, client.session)).to.include({ principal: 'ann' })
    client.say({ type: 'auth', id: 9, token: 'narrow' })
    await harness.settle()
    expect(ask(client, client.session)).not.to.have.property('principal')
  })

  it('in a cluster, shows the address only at the broker that has the connection', async () => {
    const cluster = new Cluster()
    const [a, b] = [await cluster.startBroker(), await cluster.startBroker()]
    const [alice, bob] = [await cluster.connectClient(a), await cluster.connectClient(b)]
    const query = { type: 'query', id: 1, kind: 'sessions', session: alice.session }
    const infos: SessionInfo[] = []
    for (const client of [alice, bob]) {
      await cluster.send(client, query)
      infos.push(client.socket.takeMessagesOfType('found')[0]!.sessions![0]!)
    }
    const { address, ...common } = infos[0]!
    expect(address).to.equal('127.0.0.1')
    expect(infos[1]).to.deep.equal(common)
    expect(common).to.include({ connected: true })
  })
})
