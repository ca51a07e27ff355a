/**
 * Tests a connection of the broker: its first message (`hello`), its frames and messages, invalid
 * input, and `ack`. An `ack` of the broker says how many messages the broker has received. An `ack`
 * of a client confirms answers. The fake clock of the broker begins at 1,000 ms. The lease is the
 * time that the broker keeps a session without a message of its client. An idle session holds
 * nothing and waits for nothing, and may ask for the idle lease, which is twice as long. The grace
 * is the time that a session outlives its connection. A fence is the number of a grant, which rises
 * with every grant.
 */
import { brokerFeatures, brokerVersion } from '@holdfast/server/internal'
import { closeCodes, type Welcome } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness } from './harness.js'
import type { FakeSocket } from './socket.js'

/** The code with which the broker closed the socket; undefined if the socket is open. */
function closeCodeOf(socket: FakeSocket): number | undefined {
  return socket.closedWith?.code
}

function typesOf(messages: readonly { readonly type: string }[]): string[] {
  return messages.map(({ type }) => type)
}

describe('connection: a hello', () => {
  it('is answered with the lease, the grace and the secret of the session', () => {
    const harness = new BrokerHarness()
    const socket = harness.connectWithHello({ lease: 4_000, grace: 1_000 })
    const [{ version, features, ...welcome }, ...others] = socket.takeMessages() as [Welcome]
    expect([version, features]).to.deep.equal([brokerVersion, brokerFeatures])
    expect([welcome, ...others]).to.deep.equal([
      {
        type: 'welcome',
        session: 'id1',
        resumed: false,
        secret: 'secret1',
        lease: 4_000,
        grace: 1_000,
        at: 1_000,
      },
    ])
  })

  it('is answered with the arrival time of the hello, not with the time of the welcome', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.environment.advance(77)
    socket.say({ type: 'hello' })
    harness.environment.advanceWithoutTimers(9)
    harness.environment.endTurn()
    expect(socket.takeMessagesOfType('welcome')[0]).to.deep.include({
      lease: 15_000,
      grace: 0,
      at: 1_077,
    })
  })

  it('is answered without a secret if it requests no grace', () => {
    expect(new BrokerHarness().openSession().welcome).not.to.have.property('secret')
  })

  const hellos: [string, object, { lease: number; grace: number }][] = [
    ['no lease and no grace', {}, { lease: 15_000, grace: 0 }],
    ['too short a lease', { lease: 1 }, { lease: 2_000, grace: 0 }],
    ['too long a lease', { lease: 2_147_483_647 }, { lease: 300_000, grace: 0 }],
    ['a grace above the lease', { lease: 5_000, grace: 60_000 }, { lease: 5_000, grace: 5_000 }],
    ['a grace as long as the lease', { grace: 'lease' }, { lease: 15_000, grace: 15_000 }],
  ]
  for (const [name, hello, granted] of hellos) {
    it(`with ${name} gets ${granted.lease} ms of lease and ${granted.grace} ms of grace`, () => {
      expect(new BrokerHarness().openSession(hello).welcome).to.deep.include(granted)
    })
  }

  it('must arrive within five seconds; if not, the connection closes with 4408', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.environment.advance(4_999)
    expect(closeCodeOf(socket)).to.equal(undefined)
    harness.environment.advance(1)
    expect(closeCodeOf(socket)).to.equal(4408)
  })

  it('is accepted after its deadline if the process of the broker was paused meanwhile', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.environment.advance(1_000)
    harness.environment.advanceWithoutTimers(60_000)
    harness.environment.fireTimers()
    harness.sayAndEndTurn(socket, { type: 'hello' })
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
  })

  it('closes the connection with 4400 if it is sent a second time', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.say({ type: 'hello' })
    expect(closeCodeOf(client.socket)).to.equal(4400)
  })

  it('must be the first message: any other message closes the connection with 4400', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.sayAndEndTurn(socket, { type: 'lock', id: 1, key: 'k' })
    expect(closeCodeOf(socket)).to.equal(4400)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('can be followed by requests in the same frame', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.sayAndEndTurn(socket, { type: 'hello' }, { type: 'lock', id: 1, key: 'k' })
    expect(typesOf(socket.takeMessages())).to.deep.equal(['welcome', 'granted'])
    expect(socket.frames).to.have.length(1)
  })

  it('closes the connection with 1009 if it has more than 4 KiB, in bytes and not in characters', () => {
    const harness = new BrokerHarness()
    const frameOf = (bytes: number): string => {
      const text = JSON.stringify({
        type: 'hello',
        token: 'x'.repeat(2_000),
        name: '€'.repeat(100),
      })
      return text + ' '.repeat(bytes - Buffer.byteLength(text))
    }
    const longest = harness.connect()
    harness.sayAndEndTurn(longest, frameOf(4_096))
    expect(longest.takeMessagesOfType('welcome')).to.have.length(1)
    const tooLong = harness.connect()
    harness.sayAndEndTurn(tooLong, frameOf(4_097))
    expect(closeCodeOf(tooLong)).to.equal(1009)
  })

  it('cannot be sent on a connection beyond the limit: the broker closes the connection with 1013', () => {
    const harness = new BrokerHarness({ limits: { connections: 2 } })
    const first = harness.openSession()
    harness.openSession()
    const third = harness.connect()
    expect(closeCodeOf(third)).to.equal(1013)
    third.drop()
    first.socket.drop()
    expect(closeCodeOf(harness.connect())).to.equal(undefined)
  })
})

describe('connection: the broker', () => {
  it('handles the messages of an array in order', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.say({ type: 'lock', id: 1, key: 'k' }, { type: 'lock', id: 2, key: 'l' })
    expect(client.takeMessages()).to.deep.equal([
      { type: 'granted', id: 1, fence: 1 },
      { type: 'granted', id: 2, fence: 2 },
    ])
  })

  it('answers all messages of one turn of the event loop in one frame', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const frameCount = client.socket.frames.length
    for (let id = 1; id <= 50; id++) client.socket.say({ type: 'lock', id, key: `k${id}` })
    expect(client.socket.frames).to.have.length(frameCount)
    harness.environment.endTurn()
    expect(client.socket.frames).to.have.length(frameCount + 1)
    expect(client.takeMessages()).to.have.length(50)
  })

  const invalidFrames: [string, string][] = [
    ['text that is not JSON', 'hello'],
    ['an empty frame', ''],
    ['an empty array', '[]'],
    ['an array in an array', '[[{"type":"stats","id":1}]]'],
    ['a number', '7'],
    ['null', 'null'],
    ['a message without a type or an id', '{}'],
    ['an unknown type without an id', '{"type":"dance"}'],
    ['an id that is an object', '{"type":"stats","id":{"toString":1}}'],
  ]
  for (const [name, frame] of invalidFrames) {
    it(`closes the connection with 4400 after ${name}`, () => {
      const client = new BrokerHarness().openSession()
      client.socket.say(frame)
      expect(closeCodeOf(client.socket)).to.equal(4400)
    })
  }

  it('closes the connection with 4400 after a binary frame', () => {
    const client = new BrokerHarness().openSession()
    client.socket.sayBinary()
    expect(closeCodeOf(client.socket)).to.equal(4400)
  })

  it('answers an invalid request with an error if the request has an id, and handles the next request', () => {
    const client = new BrokerHarness().openSession()
    client.say(
      { type: 'lock', id: 1, key: '' },
      { type: 'lock', id: 2, key: 'k', ttl: 0 },
      { type: 'lock', id: 3, key: 'k', timeout: -1 },
      // A misspelt `ttl`.
      { type: 'lock', id: 4, key: 'k', tll: 5 },
      { type: 'dance', id: 5 },
      { type: 'lock', id: 6, key: 'k' },
    )
    expect(
      client
        .takeMessages()
        .map((message) => (message.type === 'failed' ? message.code : message.type)),
    ).to.deep.equal([
      'INVALID_KEY',
      'INVALID_TTL',
      'INVALID_TIMEOUT',
      'BAD_MESSAGE',
      'BAD_MESSAGE',
      'granted',
    ])
  })

  it('handles the messages before an invalid message, and none after it', () => {
    const harness = new BrokerHarness()
    // With a grace, the lock outlives the connection.
    const client = harness.openSession({ grace: 'lease' })
    client.say({ type: 'lock', id: 1, key: 'k' }, 7, { type: 'lock', id: 2, key: 'l' })
    client.socket.say({ type: 'lock', id: 3, key: 'm' })
    expect(Array.from(harness.broker.table.keys.values(), ({ key }) => key)).to.deep.equal(['k'])
    // The broker sends the answer to the first request before the close.
    expect(client.takeMessages()).to.deep.equal([{ type: 'granted', id: 1, fence: 1 }])
  })

  it('ignores all input of a connection that has ended', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.socket.drop()
    client.socket.say({ type: 'lock', id: 1, key: 'k' })
    client.socket.sayBinary()
    client.socket.drop()
    expect(harness.broker.table.heldCount).to.equal(0)
    expect(harness.broker.connections.size).to.equal(0)
  })

  it('terminates a socket whose closing handshake takes longer than a second', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.say('junk')
    harness.environment.advance(999)
    expect(client.socket.isTerminated).to.equal(false)
    harness.environment.advance(1)
    expect(client.socket.isTerminated).to.equal(true)
  })
})

describe('connection: an ack', () => {
  it('counts messages and not frames, and counts the hello', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.say({ type: 'pong', n: 0 })
    client.say({ type: 'stats', id: 1 }, { type: 'stats', id: 2 }, { type: 'pong', n: 0 })
    const acks = client.takeMessages().filter(({ type }) => type === 'ack')
    // The first ack counts the hello and the pong. The second ack counts three messages more.
    expect(acks).to.deep.equal([
      { type: 'ack', n: 2, at: 1_000 },
      { type: 'ack', n: 5, at: 1_000 },
    ])
  })

  it('counts requests that were refused', () => {
    const client = new BrokerHarness().openSession()
    client.say({ type: 'lock', id: 1, key: '' }, { type: 'pong', n: 0 })
    // The hello, the refused request and the pong.
    expect(client.takeMessages().at(-1)).to.deep.equal({ type: 'ack', n: 3, at: 1_000 })
  })

  it('has the arrival time of the newest message, by the clock of the broker in whole ms', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    harness.environment.advance(1_234.5)
    // The broker confirms the `ack` of a client too.
    client.say({ type: 'ack', ids: [] })
    expect(client.takeMessages()).to.deep.equal([{ type: 'ack', n: 2, at: 2_234 }])
  })

  it('is sent in the turn of the pong', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    client.socket.say({ type: 'pong', n: 0 })
    harness.environment.endTurn()
    expect(client.takeMessages()).to.have.length(1)
  })
})

describe('connection: the lease', () => {
  it('has a ping every two thirds of the lease, for an idle session', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    harness.environment.advance(3_999)
    expect(client.takeMessages()).to.deep.equal([])
    harness.environment.advance(1)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
    client.socket.say({ type: 'pong', n: 1 })
    harness.environment.endTurn()
    expect(typesOf(client.takeMessages())).to.deep.equal(['ack'])
    harness.environment.advance(4_000)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 2 }])
  })

  for (const [state, message] of [
    ['holds a lock', { type: 'lock', id: 2, key: 'free' }],
    ['waits for a lock', { type: 'lock', id: 2, key: 'held' }],
    ['waits at a barrier', { type: 'barrier', id: 2, key: 'free', parties: 2 }],
  ] as const) {
    it(`has a ping after half the lease, for a session that ${state}`, () => {
      const harness = new BrokerHarness()
      const other = harness.openSession({ lease: 300_000 })
      other.socket.say({ type: 'lock', id: 1, key: 'held' })
      const client = harness.openSession({ lease: 6_000 })
      client.socket.say(message)
      // After a pong, the broker computes the time of the next ping again.
      client.socket.say({ type: 'pong', n: 0 })
      harness.environment.endTurn()
      // Discards the answers.
      client.takeMessages()
      harness.environment.advance(2_999)
      expect(client.takeMessages()).to.deep.equal([])
      harness.environment.advance(1)
      expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
      harness.environment.advance(2_999)
      expect(client.takeMessages()).to.deep.equal([])
    })
  }

  it('begins again after any message, even if the client does not answer a ping', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    client.acquire('k')
    // The broker pings after 3,000 ms. The client sends no pong, but `stats` 200 ms later.
    harness.environment.advance(3_200)
    client.say({ type: 'stats', id: 2 })
    harness.environment.advance(5_999)
    expect(closeCodeOf(client.socket)).to.equal(undefined)
    harness.environment.advance(1)
    expect(closeCodeOf(client.socket)).to.equal(closeCodes.expired.code)
  })

  it('is doubled by a pong that asks for the idle lease, and has a ping after two thirds of the doubled lease', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    client.socket.say({ type: 'pong', n: 0, idle: true })
    harness.environment.endTurn()
    expect(typesOf(client.takeMessages())).to.deep.equal(['ack'])
    harness.environment.advance(7_999)
    expect(client.takeMessages()).to.deep.equal([])
    harness.environment.advance(1)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
    harness.environment.advance(3_999)
    expect(closeCodeOf(client.socket)).to.equal(undefined)
    harness.environment.advance(1)
    expect(closeCodeOf(client.socket)).to.equal(closeCodes.expired.code)
  })

  for (const [event, message] of [
    ['a granted request', { type: 'lock', id: 2, key: 'free' }],
    ['a request that waits', { type: 'lock', id: 2, key: 'held' }],
    ['a call at a barrier', { type: 'barrier', id: 2, key: 'free', parties: 2 }],
  ] as const) {
    it(`is the ordinary lease again after ${event}, with a ping at half the lease`, () => {
      const harness = new BrokerHarness()
      const other = harness.openSession({ lease: 300_000 })
      other.socket.say({ type: 'lock', id: 1, key: 'held' })
      const client = harness.openSession({ lease: 6_000 })
      client.socket.say({ type: 'pong', n: 0, idle: true })
      harness.environment.advance(5_000)
      client.socket.say(message)
      harness.environment.endTurn()
      client.takeMessages()
      harness.environment.advance(2_999)
      expect(client.takeMessages()).to.deep.equal([])
      harness.environment.advance(1)
      expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
      harness.environment.advance(2_999)
      expect(closeCodeOf(client.socket)).to.equal(undefined)
      harness.environment.advance(1)
      expect(closeCodeOf(client.socket)).to.equal(closeCodes.expired.code)
    })
  }

  it('stays the ordinary lease if the session that asks for the idle lease holds a lock', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    client.socket.say({ type: 'lock', id: 1, key: 'k' }, { type: 'pong', n: 0, idle: true })
    harness.environment.endTurn()
    client.takeMessages()
    harness.environment.advance(3_000)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
    harness.environment.advance(3_000)
    expect(closeCodeOf(client.socket)).to.equal(closeCodes.expired.code)
  })

  it('is the ordinary lease again after a pong that does not ask for the idle lease', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    client.socket.say({ type: 'pong', n: 0, idle: true }, { type: 'pong', n: 0 })
    harness.environment.endTurn()
    client.takeMessages()
    harness.environment.advance(4_000)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
    harness.environment.advance(2_000)
    expect(closeCodeOf(client.socket)).to.equal(closeCodes.expired.code)
  })

  it('is followed by the whole grace if the connection drops in the idle lease', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000, grace: 4_000 })
    client.socket.say({ type: 'pong', n: 0, idle: true })
    // Longer than the ordinary lease.
    harness.environment.advance(7_000)
    client.socket.drop()
    harness.environment.advance(3_999)
    expect(
      harness.connectWithHello(client.resumeHello()).takeMessagesOfType('welcome')[0]?.resumed,
    ).to.equal(true)
  })

  it('has no ping while the client sends pongs by itself', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ lease: 6_000 })
    for (let pong = 0; pong < 20; pong++) {
      // The ping would be due after 4,000 ms.
      harness.environment.advance(3_900)
      client.socket.say({ type: 'pong', n: 0 })
      harness.environment.endTurn()
      expect(typesOf(client.takeMessages())).to.deep.equal(['ack'])
    }
    expect(client.socket.closedWith).to.equal(undefined)
    harness.environment.advance(4_000)
    expect(client.takeMessages()).to.deep.equal([{ type: 'ping', n: 1 }])
  })
})
