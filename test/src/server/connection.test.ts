/**
 * One connection: hello first and in time, messages in order, what is not a message, and what an
 * ack says has arrived.
 */
import { expect } from 'chai'
import { Bench } from './bench.js'
import type { FakeSocket } from './socket.js'

function closeOf(socket: FakeSocket): number | undefined {
  return socket.closedWith?.code
}

describe('connection: hello', () => {
  it('is welcomed with what holds from now on', () => {
    const bench = new Bench()
    const socket = bench.greet({ lease: 4_000, grace: 1_000 })
    expect(socket.heard()).to.deep.equal([
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

  it('is dated by its arrival, not by the welcome', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.environment.pass(77)
    socket.say({ type: 'hello' })
    bench.environment.stopFor(9)
    bench.environment.endTurn()
    expect(socket.heard()).to.deep.include.members([
      { type: 'welcome', session: 'id1', resumed: false, lease: 15_000, grace: 0, at: 1_077 },
    ])
  })

  it('gets no secret without a grace', () => {
    expect(new Bench().join().welcome).not.to.have.property('secret')
  })

  const wishes: [string, object, { lease: number; grace: number }][] = [
    ['nothing', {}, { lease: 15_000, grace: 0 }],
    ['too short a lease', { lease: 1 }, { lease: 2_000, grace: 0 }],
    ['too long a lease', { lease: 2_147_483_647 }, { lease: 300_000, grace: 0 }],
    ['a grace above the lease', { lease: 5_000, grace: 60_000 }, { lease: 5_000, grace: 5_000 }],
    ['all of the lease', { grace: 'lease' }, { lease: 15_000, grace: 15_000 }],
  ]
  for (const [wish, hello, terms] of wishes) {
    it(`that wants ${wish} is told what it gets`, () => {
      expect(new Bench().join(hello).welcome).to.deep.include(terms)
    })
  }

  it('that does not come in time is 4408', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.environment.pass(4_999)
    expect(closeOf(socket)).to.equal(undefined)
    bench.environment.pass(1)
    expect(closeOf(socket)).to.equal(4408)
  })

  it('that comes with a broker that was stopped meanwhile is in time', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.environment.pass(1_000)
    bench.environment.stopFor(60_000)
    bench.environment.fireTimers()
    bench.say(socket, { type: 'hello' })
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('that comes a second time is 4400', () => {
    const bench = new Bench()
    const client = bench.join()
    client.say({ type: 'hello' })
    expect(closeOf(client.socket)).to.equal(4400)
  })

  it('is not waited for by what comes before it: that is 4400', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.say(socket, { type: 'lock', id: 1, key: 'k' })
    expect(closeOf(socket)).to.equal(4400)
    expect(bench.broker.table.heldCount).to.equal(0)
  })

  it('can be followed in its own frame by what it allows', () => {
    const bench = new Bench()
    const socket = bench.connect()
    bench.say(socket, { type: 'hello' }, { type: 'lock', id: 1, key: 'k' })
    expect(socket.heard().map(({ type }) => type)).to.deep.equal(['welcome', 'granted'])
    expect(socket.frames).to.have.length(1)
  })

  it('of more than 4 KiB is 1009, in bytes and not in characters', () => {
    const bench = new Bench()
    const frameOf = (bytes: number): string => {
      const text = JSON.stringify({
        type: 'hello',
        token: 'x'.repeat(2_000),
        name: '€'.repeat(100),
      })
      return text + ' '.repeat(bytes - Buffer.byteLength(text))
    }
    const justRight = bench.connect()
    bench.say(justRight, frameOf(4_096))
    expect(justRight.heardOf('welcome')).to.have.length(1)
    const tooLong = bench.connect()
    bench.say(tooLong, frameOf(4_097))
    expect(closeOf(tooLong)).to.equal(1009)
  })

  it('is bounded by the number of connections: more are 1013', () => {
    const bench = new Bench({ limits: { connections: 2 } })
    const first = bench.join()
    bench.join()
    const third = bench.connect()
    expect(closeOf(third)).to.equal(1013)
    third.drop()
    first.socket.drop()
    expect(closeOf(bench.connect())).to.equal(undefined)
  })
})

describe('connection: frames', () => {
  it('takes an array as if each of its messages had come alone', () => {
    const bench = new Bench()
    const client = bench.join()
    client.say({ type: 'lock', id: 1, key: 'k' }, { type: 'lock', id: 2, key: 'l' })
    expect(client.heard()).to.deep.equal([
      { type: 'granted', id: 1, fence: 1 },
      { type: 'granted', id: 2, fence: 2 },
    ])
  })

  it('answers all that one turn brought in one frame', () => {
    const bench = new Bench()
    const client = bench.join()
    client.heard()
    const before = client.socket.frames.length
    for (let id = 1; id <= 50; id++) client.socket.say({ type: 'lock', id, key: `k${id}` })
    expect(client.socket.frames).to.have.length(before)
    bench.environment.endTurn()
    expect(client.socket.frames).to.have.length(before + 1)
    expect(client.heard()).to.have.length(50)
  })

  const junk: [string, string][] = [
    ['text that is not JSON', 'hello'],
    ['an empty frame', ''],
    ['an empty array', '[]'],
    ['an array in an array', '[[{"type":"stats","id":1}]]'],
    ['a number', '7'],
    ['null', 'null'],
    ['a message without a type and an id', '{}'],
    ['an unknown type without an id', '{"type":"dance"}'],
    ['an id that is none', '{"type":"stats","id":{"toString":1}}'],
  ]
  for (const [what, frame] of junk) {
    it(`closes with 4400 at ${what}`, () => {
      const client = new Bench().join()
      client.socket.say(frame)
      expect(closeOf(client.socket)).to.equal(4400)
    })
  }

  it('closes with 4400 at a binary frame', () => {
    const client = new Bench().join()
    client.socket.sayBinary()
    expect(closeOf(client.socket)).to.equal(4400)
  })

  it('answers what is wrong and can be named, and goes on', () => {
    const client = new Bench().join()
    client.say(
      { type: 'lock', id: 1, key: '' },
      { type: 'lock', id: 2, key: 'k', ttl: 0 },
      { type: 'lock', id: 3, key: 'k', timeout: -1 },
      { type: 'lock', id: 4, key: 'k', tll: 5 },
      { type: 'dance', id: 5 },
      { type: 'lock', id: 6, key: 'k' },
    )
    expect(
      client.heard().map((message) => (message.type === 'failed' ? message.code : message.type)),
    ).to.deep.equal([
      'INVALID_KEY',
      'INVALID_TTL',
      'INVALID_TIMEOUT',
      'BAD_MESSAGE',
      'BAD_MESSAGE',
      'granted',
    ])
  })

  it('does what came before the junk, and nothing that comes after it', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.say({ type: 'lock', id: 1, key: 'k' }, 7, { type: 'lock', id: 2, key: 'l' })
    client.socket.say({ type: 'lock', id: 3, key: 'm' })
    expect(Array.from(bench.broker.table.keys.values(), ({ key }) => key)).to.deep.equal(['k'])
    // What was answered is still said, before the close.
    expect(client.heard()).to.deep.equal([{ type: 'granted', id: 1, fence: 1 }])
  })

  it('hears nothing any more on a connection that is gone', () => {
    const bench = new Bench()
    const client = bench.join()
    client.socket.drop()
    client.socket.say({ type: 'lock', id: 1, key: 'k' })
    client.socket.sayBinary()
    client.socket.drop()
    expect(bench.broker.table.heldCount).to.equal(0)
    expect(bench.broker.connections.size).to.equal(0)
  })

  it('drops a socket whose closing handshake takes longer than a second', () => {
    const bench = new Bench()
    const client = bench.join()
    client.say('junk')
    bench.environment.pass(999)
    expect(client.socket.terminated).to.equal(false)
    bench.environment.pass(1)
    expect(client.socket.terminated).to.equal(true)
  })
})

describe('connection: acks', () => {
  it('counts messages and not frames, the hello as the first', () => {
    const bench = new Bench()
    const client = bench.join()
    client.say({ type: 'pong', n: 0 })
    client.say({ type: 'stats', id: 1 }, { type: 'stats', id: 2 }, { type: 'pong', n: 0 })
    const acks = client.heard().filter(({ type }) => type === 'ack')
    expect(acks).to.deep.equal([
      { type: 'ack', n: 2, at: 1_000 },
      { type: 'ack', n: 5, at: 1_000 },
    ])
  })

  it('counts what was refused: it has arrived', () => {
    const client = new Bench().join()
    client.say({ type: 'lock', id: 1, key: '' }, { type: 'pong', n: 0 })
    expect(client.heard().at(-1)).to.deep.equal({ type: 'ack', n: 3, at: 1_000 })
  })

  it('says when the newest arrived, by the broker and in whole ms', () => {
    const bench = new Bench()
    const client = bench.join()
    bench.environment.pass(1_234.5)
    client.say({ type: 'ack', ids: [] })
    expect(client.heard()).to.deep.equal([{ type: 'ack', n: 2, at: 2_234 }])
  })

  it('comes in the same turn as the pong', () => {
    const bench = new Bench()
    const client = bench.join()
    client.socket.say({ type: 'pong', n: 0 })
    bench.environment.endTurn()
    expect(client.heard()).to.have.length(1)
  })

  it('are asked for with a ping every third of the lease', () => {
    const bench = new Bench()
    const client = bench.join({ lease: 6_000 })
    bench.environment.pass(1_999)
    expect(client.heard()).to.deep.equal([])
    bench.environment.pass(1)
    expect(client.heard()).to.deep.equal([{ type: 'ping', n: 1 }])
    bench.environment.pass(2_000)
    expect(client.heard()).to.deep.equal([{ type: 'ping', n: 2 }])
  })
})
