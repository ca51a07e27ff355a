/**
 * Tests every limit of the broker. If a client exceeds a limit, the error must name the limit
 * and its value. The broker must also report each refused connection and session to its observer.
 * The lease is how long the broker keeps a silent session. A pending connection has not finished
 * its handshake yet. The grace is how long a session survives the loss of its connection.
 */
import { type BrokerLimits, type BrokerOptions, HoldfastError } from '@holdfast/server'
import { limits as limitRows, settingsFrom } from '@holdfast/server/internal'
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness } from '../server/harness.js'
import type { FakeSocket } from '../server/socket.js'
import { harnessWithTokens, openSessionWithToken } from './authentication.js'
import { RefusalRecorder } from './refusalRecorder.js'

/** A broker with limits, and the refusals that the broker has reported. */
interface LimitedBroker {
  readonly harness: BrokerHarness
  readonly refusals: RefusalRecorder
}

/** Makes a broker with these limits. Records the refusals that it reports. */
function brokerWithLimits(
  limits: Partial<BrokerLimits>,
  options: BrokerOptions = {},
): LimitedBroker {
  const refusals = new RefusalRecorder()
  return { harness: new BrokerHarness({ ...options, limits, observer: refusals }), refusals }
}

/** Returns the code and the message of each `failed` message. */
function failuresIn(messages: readonly ServerMessage[]): string[] {
  return messages.flatMap((message) =>
    message.type === 'failed' ? `${message.code} ${message.message}` : [],
  )
}

/** The code and the reason of the close; `0 open` without a close. */
function closeOf(socket: FakeSocket): string {
  const { code, reason } = socket.closedWith ?? { code: 0, reason: 'open' }
  return `${code} ${reason}`
}

// The values of limits in this file are small, so that few messages exceed a limit. The closes have
// the codes 1013 (too many connections), 4308 (slow reader), 4408 (no hello) and 4429 (quota).

describe('the limits of connections', () => {
  it('close a connection beyond the limit connections', () => {
    const { harness, refusals } = brokerWithLimits({ connections: 1 })
    harness.openSession()
    expect(closeOf(harness.connect())).to.equal('1013 quota exceeded: connections 1')
    expect(refusals.causes).to.deep.equal(['connections'])
  })

  it('close a pending connection in favour of another address, and do not count closing connections', () => {
    const { harness, refusals } = brokerWithLimits({ connections: 3 })
    const session = harness.openSession()
    const connectFrom = (remoteAddress: string) => harness.connect({ remoteAddress })
    const crowd = ['10.0.0.1', '10.0.0.1'].map(connectFrom)
    const refused = connectFrom('10.0.0.1')
    expect(closeOf(refused)).to.equal('1013 quota exceeded: connections 3')
    const newClient = connectFrom('203.0.113.1')
    expect(closeOf(crowd[0]!)).to.equal('1013 quota exceeded: connections 3')
    harness.sayAndEndTurn(newClient, { type: 'hello' })
    expect(newClient.takeMessagesOfType('welcome')).to.have.length(1)
    crowd[1]!.drop()
    // Only `session` and `newClient` count. The broker is closing `crowd[0]` and `refused`, but
    // their sockets have not ended yet.
    const later = connectFrom('10.0.0.1')
    expect([crowd[0]!, session.socket, later].map(closeOf)).to.deep.equal([
      '1013 quota exceeded: connections 3',
      '0 open',
      '0 open',
    ])
    expect(refusals.causes).to.deep.equal(['connections', 'connections'])
  })

  it('close a pending connection beyond the limit pendingConnections', () => {
    const { harness, refusals } = brokerWithLimits({ pendingConnections: 2 })
    const first = harness.connect()
    harness.connect()
    expect(closeOf(harness.connect())).to.equal('1013 quota exceeded: pendingConnections 2')
    harness.sayAndEndTurn(first, { type: 'hello' })
    expect(closeOf(harness.connect())).to.equal('0 open')
    expect(closeOf(harness.connect())).to.match(/^1013/)
    expect(refusals.causes).to.deep.equal(['pending_connections', 'pending_connections'])
  })

  it('do not count a pending connection after it has dropped', () => {
    const { harness } = brokerWithLimits({ pendingConnections: 1 })
    harness.connect().drop()
    expect(closeOf(harness.connect())).to.equal('0 open')
  })

  it('close a connection beyond pendingConnectionsPerAddress, which counts an IPv6 network as one address', () => {
    const { harness, refusals } = brokerWithLimits({ pendingConnectionsPerAddress: 1 })
    const connectFrom = (remoteAddress: string) => harness.connect({ remoteAddress })
    expect(closeOf(connectFrom('10.0.0.1'))).to.equal('0 open')
    expect(closeOf(connectFrom('10.0.0.2'))).to.equal('0 open')
    expect(closeOf(connectFrom('::ffff:10.0.0.1'))).to.equal(
      '1013 quota exceeded: pendingConnectionsPerAddress 1',
    )
    expect(closeOf(connectFrom('2001:db8::1'))).to.equal('0 open')
    expect(closeOf(connectFrom('2001:db8:0:0:ffff::2'))).to.match(/^1013/)
    expect(closeOf(connectFrom('2001:db8:0:1::1'))).to.equal('0 open')
    // The first half of an IPv6 address is the network. Here `::` stands for zeros in this half:
    // the address is 2001:0:0:1:2:3:4:5.
    expect(closeOf(connectFrom('2001::1:2:3:4:5'))).to.equal('0 open')
    expect(closeOf(connectFrom('2001:0:0:1::1'))).to.match(/^1013/)
    expect(refusals.causes).to.deep.equal(Array(3).fill('pending_connections_per_address'))
  })

  it('share pendingConnections fairly between addresses', () => {
    const { harness, refusals } = brokerWithLimits({ pendingConnections: 6 })
    const connectFrom = (remoteAddress: string) => harness.connect({ remoteAddress })
    const addresses = [...Array<string>(4).fill('10.0.0.1'), '10.0.0.2', '10.0.0.2']
    const crowd = addresses.map(connectFrom)
    const newClient = connectFrom('203.0.113.1')
    expect([newClient, ...crowd].map(closeOf)).to.deep.equal([
      '0 open',
      '1013 quota exceeded: pendingConnections 6',
      ...Array(5).fill('0 open'),
    ])
    expect(closeOf(connectFrom('10.0.0.1')), 'the address with most connections').to.match(/^1013/)
    expect(closeOf(connectFrom('10.0.0.2')), 'an address with fewer connections').to.equal('0 open')
    expect(closeOf(crowd[1]!), 'makes room for the connection of 10.0.0.2').to.match(/^1013/)
    expect(refusals.causes).to.deep.equal(Array(3).fill('pending_connections'))
    harness.sayAndEndTurn(newClient, { type: 'hello' })
    expect(newClient.takeMessagesOfType('welcome')).to.have.length(1)
  })

  it('count an IPv6 network as one address also for the fair share of pendingConnections', () => {
    const { harness } = brokerWithLimits({ pendingConnections: 20 })
    const crowd = Array.from({ length: 20 }, (_, i) =>
      harness.connect({ remoteAddress: `2001:db8::${i}` }),
    )
    expect(closeOf(harness.connect({ remoteAddress: '2001:0DB8:0::ff' }))).to.match(/^1013/)
    expect(closeOf(harness.connect({ remoteAddress: '2001:db8:0:1::1' }))).to.equal('0 open')
    expect(closeOf(crowd[0]!)).to.match(/^1013/)
  })

  it('let clients connect while ten addresses open connections without a hello', () => {
    const { harness } = brokerWithLimits({}, { profile: 'public' })
    const flood = () => {
      for (let i = 0; i < 10; i++) harness.connect({ remoteAddress: `10.0.0.${i}` })
    }
    // 20 rounds of 10 connections reach the limit of 200 pending connections of this profile.
    for (let round = 0; round < 20; round++) flood()
    for (let i = 0; i < 60; i++) {
      flood()
      const socket = harness.connect({ remoteAddress: `203.0.113.${i}` })
      harness.sayAndEndTurn(socket, { type: 'hello' })
      expect(
        socket.takeMessagesOfType('welcome'),
        `client ${i}: ${closeOf(socket)}`,
      ).to.have.length(1)
    }
  })

  it('close a connection that sends no hello within helloMs', () => {
    const { harness, refusals } = brokerWithLimits({ helloMs: 300 })
    const socket = harness.connect()
    harness.environment.advance(299)
    expect(closeOf(socket)).to.equal('0 open')
    harness.environment.advance(1)
    expect(closeOf(socket)).to.equal('4408 no hello in time')
    expect(refusals.causes).to.deep.equal(['hello_ms'])
  })

  it('close a client that does not read: beyond slowBytes after slowMs, beyond backlogBytes immediately', () => {
    const { harness, refusals } = brokerWithLimits({
      slowBytes: 100,
      slowMs: 200,
      backlogBytes: 10_000,
    })
    const [aboveSlowBytes, aboveBacklog] = [harness.openSession(), harness.openSession()]
    aboveSlowBytes.socket.isClientReading = false
    aboveBacklog.socket.isClientReading = false
    aboveSlowBytes.say(...many(10, 'stats'))
    aboveBacklog.say(...many(200, 'stats'))
    expect(closeOf(aboveBacklog.socket)).to.match(/^4308/)
    expect(closeOf(aboveSlowBytes.socket)).to.equal('0 open')
    harness.environment.advance(201)
    expect(closeOf(aboveSlowBytes.socket)).to.equal('4308 client reads too slowly')
    expect(refusals.causes).to.deep.equal(['backlog_bytes', 'slow_bytes'])
  })
})

describe('the limits of sessions', () => {
  it('refuse a session beyond sessionsPerPrincipal until another session ends', async () => {
    const authenticate = ({ token }: { token?: string | undefined }) => token
    const { harness, refusals } = brokerWithLimits({ sessionsPerPrincipal: 1 }, { authenticate })
    const hello = async (token: string) => {
      const socket = harness.connectWithHello({ token })
      await harness.settle()
      return socket
    }
    const first = await hello('ann')
    expect(closeOf(await hello('bob'))).to.equal('0 open')
    expect(closeOf(await hello('ann'))).to.equal('4429 quota exceeded: sessionsPerPrincipal 1')
    first.drop()
    expect(closeOf(await hello('ann'))).to.equal('0 open')
    expect(refusals.causes).to.deep.equal(['sessions_per_principal'])
  })

  it('do not count a resumed session twice for sessionsPerPrincipal', async () => {
    const harness = harnessWithTokens({ limits: { sessionsPerPrincipal: 1 } })
    const first = await openSessionWithToken(harness, 'ann', { grace: 1_000 })
    first.socket.drop()
    const resume = { session: first.session, secret: first.secret! }
    const socket = harness.connectWithHello({ token: 'ann', resume })
    await harness.settle()
    expect(socket.takeMessagesOfType('welcome')[0]?.resumed).to.equal(true)
  })

  it('do not apply sessionsPerPrincipal if the broker has no authenticate', () => {
    const { harness } = brokerWithLimits({}, { profile: 'public' })
    const joinFrom = (remoteAddress: string) => {
      const socket = harness.connect({ remoteAddress })
      harness.sayAndEndTurn(socket, { type: 'hello' })
      return socket
    }
    // All sessions have the principal `anyone`, and `sessionsPerPrincipal` of this profile is 20.
    // Only the limit `sessionsPerAddress` refuses a session.
    const crowd = Array.from({ length: 101 }, () => joinFrom('10.0.0.1'))
    expect(closeOf(crowd.at(-1)!)).to.equal('4429 quota exceeded: sessionsPerAddress 100')
    for (let i = 0; i < 30; i++) expect(closeOf(joinFrom(`203.0.113.${i}`))).to.equal('0 open')
  })

  it('refuse a session beyond sessionsPerAddress until another session ends', () => {
    const { harness, refusals } = brokerWithLimits({ sessionsPerAddress: 1 })
    const joinFrom = (remoteAddress: string) => {
      const socket = harness.connect({ remoteAddress })
      harness.sayAndEndTurn(socket, { type: 'hello' })
      return socket
    }
    const first = joinFrom('10.0.0.1')
    expect(closeOf(first)).to.equal('0 open')
    expect(closeOf(joinFrom('10.0.0.2'))).to.equal('0 open')
    expect(closeOf(joinFrom('10.0.0.1'))).to.equal('4429 quota exceeded: sessionsPerAddress 1')
    first.drop()
    expect(closeOf(joinFrom('10.0.0.1'))).to.equal('0 open')
    expect(refusals.causes).to.deep.equal(['sessions_per_address'])
  })

  it('close a connection beyond messagesPerSecond when messageBurst is used up', () => {
    const { harness, refusals } = brokerWithLimits({ messagesPerSecond: 10, messageBurst: 3 })
    const client = harness.openSession()
    client.say(...many(3, 'stats'))
    expect(client.socket.takeMessagesOfType('stats')).to.have.length(3)
    // At 10 messages per second, the client may send one more message after 100 ms.
    harness.environment.advance(100)
    client.say({ type: 'stats', id: 4 })
    // `takeMessagesOfType` returns only the messages since its last call.
    expect(client.socket.takeMessagesOfType('stats')).to.have.length(1)
    client.say({ type: 'stats', id: 5 })
    expect(closeOf(client.socket)).to.equal('4429 quota exceeded: messagesPerSecond 10')
    expect(refusals.causes).to.deep.equal(['messages_per_second'])
    expect(refusals.all[0]).to.include({ session: client.session, principal: 'anyone' })
  })

  it('count invalid messages for messagesPerSecond', () => {
    const { harness, refusals } = brokerWithLimits({ messagesPerSecond: 10, messageBurst: 3 })
    const client = harness.openSession()
    // A `lock` without a key is invalid.
    client.say(...many(3, 'lock'))
    expect(failuresIn(client.takeMessages())).to.have.length(3)
    client.say(...many(2, 'nonsense', {}, 4))
    expect(closeOf(client.socket)).to.equal('4429 quota exceeded: messagesPerSecond 10')
    expect(refusals.causes).to.deep.equal(['messages_per_second'])
  })

  it('keep the locks of a session for its lease after a close by messagesPerSecond', () => {
    const { harness } = brokerWithLimits({ messagesPerSecond: 1, messageBurst: 1 })
    const client = harness.openSession({ lease: 2_000 })
    client.acquire('k')
    // This second message is one message too many, so the broker closes the connection.
    client.say({ type: 'stats', id: 9 })
    client.socket.drop()
    expect(harness.broker.table.heldCount).to.equal(1)
    harness.environment.advance(2_001)
    expect(harness.broker.table.heldCount).to.equal(0)
  })
})

describe('the limits of requests', () => {
  /** A limit, messages whose last message exceeds the limit, and the failure. */
  const cases: [Partial<BrokerLimits>, object[], RegExp][] = [
    [
      { locksPerSession: 1 },
      [
        { type: 'lock', id: 1, key: 'a' },
        { type: 'lock', id: 2, key: 'b' },
      ],
      /holds and waits for 1 locks, the maximum; unlock a lock first \(locksPerSession\)$/,
    ],
    [
      { waitersPerKey: 1 },
      many(3, 'lock', { key: 'a' }),
      /^QUOTA_EXCEEDED 1 requests wait for this key, the maximum; .* \(waitersPerKey\)$/,
    ],
    [
      { unacknowledged: 2 },
      many(3, 'unlock', { fence: 1 }),
      /^QUOTA_EXCEEDED 2 answers .* \(unacknowledged\)$/,
    ],
    [
      { watchesPerSession: 1 },
      many(2, 'watch', { key: 'a' }),
      /^QUOTA_EXCEEDED the session has 1 watches, the maximum; .* \(watchesPerSession\)$/,
    ],
    [
      // Three `€` have 9 bytes.
      { keyBytes: 8 },
      [{ type: 'lock', id: 1, key: '€€€' }],
      /^QUOTA_EXCEEDED the key has more than 8 bytes; .* \(keyBytes\)$/,
    ],
    [
      { keysPerSet: 2 },
      [{ type: 'lockAll', id: 1, items: [{ key: 'a' }, { key: 'b' }, { key: 'c' }] }],
      /^QUOTA_EXCEEDED the set has more than 2 keys; .* \(keysPerSet\)$/,
    ],
    [
      { keyBytes: 1 },
      [{ type: 'lockAll', id: 1, items: [{ key: 'a' }, { key: 'bb' }] }],
      /^QUOTA_EXCEEDED "bb": the key has more than 1 bytes; .* \(keyBytes\)$/,
    ],
    [
      { locksPerSession: 2 },
      [{ type: 'lockAll', id: 1, items: [{ key: 'a' }, { key: 'b' }, { key: 'c' }] }],
      /^QUOTA_EXCEEDED the session holds and waits for 2 locks, .* \(locksPerSession\)$/,
    ],
    [
      { barriersPerSession: 1 },
      many(2, 'barrier', { key: 'a', parties: 3 }),
      /^QUOTA_EXCEEDED 1 calls of the session wait at barriers, .* \(barriersPerSession\)$/,
    ],
    [
      { locksPerSession: 1 },
      many(2, 'barrier', { key: 'a', parties: 3 }),
      /^QUOTA_EXCEEDED the session holds and waits for 1 locks, .* \(locksPerSession\)$/,
    ],
    [
      { waitersPerKey: 1 },
      [...many(2, 'once', { key: 'a' }), { type: 'campaign', id: 3, key: 'a' }],
      /^QUOTA_EXCEEDED 1 requests wait for this key, the maximum; .* \(waitersPerKey\)$/,
    ],
    [
      // As JSON, the three `€` and the two quotes have 11 bytes.
      { metadataBytes: 10 },
      [{ type: 'lock', id: 1, key: 'a', metadata: '€€€' }],
      /^QUOTA_EXCEEDED the metadata has more than 10 bytes; .* \(metadataBytes\)$/,
    ],
  ]
  for (const [limits, messages, pattern] of cases) {
    const [name] = Object.keys(limits) as [keyof BrokerLimits]
    const type = (messages as { type: string }[]).at(-1)?.type
    it(`refuse a ${type} beyond ${name}`, () => {
      const { harness } = brokerWithLimits(limits)
      // The broker stores unacknowledged answers only for a session with a grace.
      const client = harness.openSession({ grace: 1_000 })
      client.say(...messages)
      // The `unlock` messages within the limit fail too, because the session holds no lock.
      const failed = failuresIn(client.takeMessages()).filter(
        (text) => !text.startsWith('LOCK_NOT_HELD'),
      )
      expect(failed).to.have.length(1)
      expect(failed[0]).to.match(pattern)
      expect(closeOf(client.socket)).to.equal('0 open')
    })
  }

  it('refuse a request beyond deadlockVisits', () => {
    const { harness } = brokerWithLimits({ deadlockVisits: 2 })
    // A scope is one task of a client. The last client requests k0. The holder of k0 waits for k1,
    // whose holder waits for k2, and so on: the broker visits more than two waiting scopes.
    const clients = Array.from({ length: 4 }, () => harness.openSession())
    for (const [i, client] of clients.entries()) client.acquire(`k${i}`, { scope: 1 })
    for (const i of [0, 1, 2]) clients[i]!.lock(`k${i + 1}`, { scope: 1 })
    const last = clients[3]!
    last.lock('k0', { scope: 1 })
    const [failed] = failuresIn(last.takeMessages())
    expect(failed).to.match(/^QUOTA_EXCEEDED the request depends on more than 2 waiting scopes/)
    expect(failed).to.match(/\(deadlockVisits\)$/)
    expect(harness.broker.table.waitingCount).to.equal(3)
  })

  it('refuse a steal that would end more locks than stolenLocks, and end none of them', () => {
    const { harness } = brokerWithLimits({ stolenLocks: 3 })
    // A steal of `crowd` ends three locks. A steal of `a` ends four: the set of `a` and `b`, which
    // counts as two locks, and the two locks of the sharer.
    const holder = harness.openSession()
    for (let i = 0; i < 3; i++) holder.acquire('crowd', { mode: 'shared' })
    holder.say({ type: 'lockAll', id: 4, items: [{ key: 'a', mode: 'shared' }, { key: 'b' }] })
    const sharer = harness.openSession()
    for (let i = 0; i < 2; i++) sharer.acquire('a', { mode: 'shared' })
    const stealer = harness.openSession()
    stealer.lock('crowd', { steal: true })
    expect(failuresIn(stealer.takeMessages())).to.deep.equal([])
    stealer.lock('a', { steal: true })
    const [failed] = failuresIn(stealer.takeMessages())
    expect(failed).to.match(/^QUOTA_EXCEEDED the steal would end more than 3 locks, the maximum; /)
    expect(failed).to.match(/ \(stolenLocks\)$/)
    expect([...harness.broker.table.keys.get('a')!.holders]).to.have.length(3)
  })

  it('count a watch once for watchesPerSession if it replaces a watch with the same id', () => {
    const { harness } = brokerWithLimits({ watchesPerSession: 1 })
    const client = harness.openSession()
    client.say({ type: 'watch', id: 1, key: 'a' }, { type: 'watch', id: 1, key: 'b' })
    expect(client.takeMessages().map(({ type }) => type)).to.deep.equal(['watching', 'watching'])
    harness.openSession().acquire('b')
    expect(client.socket.takeMessagesOfType('event')).to.have.length(1)
  })

  it('accept a request that is exactly at the limit', () => {
    // Three `€` have 9 bytes, and with the two quotes of JSON 11.
    const { harness } = brokerWithLimits({ keyBytes: 9, metadataBytes: 11 })
    harness.openSession().acquire('€€€', { metadata: '€€€' })
  })
})

describe('the options for limits', () => {
  it('accept every default value', () => {
    for (const profile of ['private', 'public'] as const) {
      const defaults = settingsFrom({ profile }).limits
      expect(settingsFrom({ limits: defaults }).limits).to.deep.equal(defaults)
      for (const [name, row] of Object.entries(limitRows)) {
        expect(defaults, name).to.have.property(name, row[profile])
      }
    }
  })

  it('derive pendingConnections from connections', () => {
    const pendingFor = (connections: number) =>
      settingsFrom({ limits: { connections } }).limits.pendingConnections
    // The limit is a tenth of `connections`, but at least 1,000, even if `connections` is lower.
    expect([pendingFor(500), pendingFor(50_000)]).to.deep.equal([1_000, 5_000])
  })

  const refused: [BrokerOptions, RegExp][] = [
    [{ limits: { keyBytes: 513 } }, /limits\.keyBytes must be at most 512, not 513/],
    [
      { limits: { connections: Number.POSITIVE_INFINITY } },
      /limits\.connections must be a positive integer, not Infinity/,
    ],
    [{ limits: { locks: 3 } as object }, /limits has no option "locks"/],
    [{ profile: 'secret' as 'public' }, /profile must be "private" or "public", not "secret"/],
    [{ trustedProxies: ['10.0.0.0/33'] }, /trustedProxies .*10\.0\.0\.0\/33/],
    [{ trustedProxies: ['10.0.0.0/8/9'] }, /trustedProxies .*10\.0\.0\.0\/8\/9/],
    [{ trustedProxies: ['proxy.example'] }, /trustedProxies .*proxy\.example/],
  ]
  for (const [options, pattern] of refused) {
    it(`refuse ${JSON.stringify(options)} with a message`, () => {
      expect(() => settingsFrom(options)).to.throw(HoldfastError, pattern)
    })
  }
})

/** Makes `count` messages of a type, with ascending ids. */
function many(count: number, type: string, fields: object = {}, firstId = 1): object[] {
  return Array.from({ length: count }, (_, index) => ({ type, id: firstId + index, ...fields }))
}
