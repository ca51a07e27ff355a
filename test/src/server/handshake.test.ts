/**
 * Tests the handshake from the `hello` of a client to the `welcome` of the broker: authentication,
 * the session, and a slow command log. The command log orders all changes of the lock table. A slow
 * log applies the commands only when a test calls `deliver`. The lease is the time that the broker
 * keeps a session without a message of its client. The grace is the time that a session outlives
 * its connection.
 */
import type { Authenticate } from '@holdfast/server'
import { closeCodes, HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'
import { read } from '../conventions/repository.js'
import { BrokerHarness } from './harness.js'
import { slowLog } from './logs.js'

describe('handshake: authentication', () => {
  it('receives the token, the origin and the address of the connection', async () => {
    const received: unknown[] = []
    const harness = new BrokerHarness({
      authenticate: (credentials) => {
        received.push(credentials)
        return 'ann'
      },
    })
    const socket = harness.connect({ origin: 'https://app.example', remoteAddress: '10.0.0.7' })
    harness.sayAndEndTurn(socket, { type: 'hello', token: 'token-of-ann' })
    await harness.settle()
    expect(received).to.deep.equal([
      { token: 'token-of-ann', origin: 'https://app.example', remoteAddress: '10.0.0.7' },
    ])
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
  })

  const refusals: [string, Authenticate][] = [
    ['returns undefined', () => undefined],
    ['resolves to undefined', async () => undefined],
    [
      'throws',
      () => {
        throw new Error('the directory is down')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the directory is down'))],
    [
      'rejects with an error of Holdfast other than UNAVAILABLE',
      () => Promise.reject(new HoldfastError('FORBIDDEN')),
    ],
    ['returns an empty principal', () => ''],
    ['returns an object without a principal', () => ({}) as string],
  ]
  for (const [outcome, authenticate] of refusals) {
    it(`closes the connection with 4401 when authenticate ${outcome}`, async () => {
      const harness = new BrokerHarness({ authenticate })
      const socket = harness.connectWithHello({ token: 'x' })
      await harness.settle()
      expect(socket.closedWith?.code).to.equal(closeCodes.unauthorized.code)
      expect(harness.broker.table.sessions.size).to.equal(0)
    })
  }

  it('may take several turns, and the broker sends the welcome after the answer', async () => {
    let accept: (principal: string) => void = () => {}
    const harness = new BrokerHarness({
      authenticate: () => new Promise<string>((resolve) => (accept = resolve)),
    })
    const socket = harness.connectWithHello()
    await harness.settle()
    expect(socket.frames).to.deep.equal([])
    accept('ann')
    await harness.settle()
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
  })

  it('closes the connection with 4408 if authenticate takes longer than the time for a hello', async () => {
    const harness = new BrokerHarness({ authenticate: () => new Promise<string>(() => {}) })
    const socket = harness.connectWithHello()
    await harness.settle()
    // By default, a client has 5 s for its hello.
    harness.environment.advance(5_000)
    expect(socket.closedWith?.code).to.equal(closeCodes.noHello.code)
  })

  it('opens no session when the connection ends before authenticate answers', async () => {
    let accept: (principal: string) => void = () => {}
    const harness = new BrokerHarness({
      authenticate: () => new Promise<string>((resolve) => (accept = resolve)),
    })
    const socket = harness.connectWithHello()
    await harness.settle()
    socket.drop()
    accept('ann')
    await harness.settle()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  it('closes with 4400 a connection that sends a request before the welcome', async () => {
    const harness = new BrokerHarness({ authenticate: async () => 'ann' })
    const socket = harness.connectWithHello()
    harness.sayAndEndTurn(socket, { type: 'lock', id: 1, key: 'k' })
    expect(socket.closedWith?.code).to.equal(closeCodes.badMessage.code)
    await harness.settle()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })
})

describe('handshake: without authenticate, the broker', () => {
  it('handles a request that arrives in the same frame as the hello', () => {
    const harness = new BrokerHarness()
    const socket = harness.connect()
    harness.sayAndEndTurn(socket, { type: 'hello' }, { type: 'lock', id: 1, key: 'k' })
    const types = socket.takeMessages().map(({ type }) => type)
    expect(types).to.deep.equal(['welcome', 'granted'])
  })

  it('uses the last value of a field that a message has twice', () => {
    const harness = new BrokerHarness()
    const { socket } = harness.openSession()
    harness.sayAndEndTurn(socket, '{"type":"lock","id":1,"key":"first","key":"last"}')
    expect(harness.broker.table.keys.get('last')?.holders.length).to.equal(1)
    expect(harness.broker.table.keys.get('first')).to.equal(undefined)
  })
})

describe('handshake: with a slow command log, the broker', () => {
  it('sends the welcome only after the log has opened the session', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const socket = harness.connectWithHello()
    expect(socket.frames).to.deep.equal([])
    deliver()
    harness.environment.endTurn()
    expect(socket.takeMessagesOfType('welcome')).to.have.length(1)
  })

  it('ends a session immediately if its connection ended before the log opened the session', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const socket = harness.connectWithHello()
    socket.drop()
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  it('keeps a session for its grace if a resuming connection ended before the log applied the resume', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const first = harness.connectWithHello({ grace: 3_000 })
    deliver()
    harness.environment.endTurn()
    const client = harness.clientOn(first)
    client.socket.drop()
    const second = harness.connectWithHello(client.resumeHello())
    second.drop()
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(1)
    harness.environment.advance(2_900)
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(1)
    harness.environment.advance(200)
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  it('renews the lease at a resuming hello, even if its connection ends before the log applies it', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const first = harness.connectWithHello({ lease: 10_000, grace: 'lease' })
    deliver()
    harness.environment.endTurn()
    const client = harness.clientOn(first)
    harness.environment.advance(9_000)
    const second = harness.connectWithHello(client.resumeHello())
    second.drop()
    // The log applies the resume, but not yet the end of the second connection.
    deliver(1)
    // 11,000 ms after the first hello, the first lease would be over.
    harness.environment.advance(2_000)
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(1)
    // The resuming hello has renewed the lease of 10,000 ms.
    harness.environment.advance(10_100)
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  // On a connection that is still open, the broker opens a new session after a refused resume.
  it('opens no new session after a refused resume if the connection has ended', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const socket = harness.connectWithHello({ resume: { session: 'x', secret: 'y' } })
    socket.drop()
    deliver()
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  it('attaches the later of two connections that resume one session in the same turn', () => {
    const { log, deliver } = slowLog()
    const harness = new BrokerHarness({}, { log })
    const first = harness.connectWithHello({ grace: 'lease' })
    deliver()
    harness.environment.endTurn()
    const client = harness.clientOn(first)
    client.socket.drop()
    const earlier = harness.connectWithHello(client.resumeHello())
    const later = harness.connectWithHello(client.resumeHello())
    deliver()
    harness.environment.endTurn()
    expect(earlier.closedWith?.code).to.equal(closeCodes.replaced.code)
    expect(later.takeMessagesOfType('welcome')[0]?.resumed).to.equal(true)
  })
})

describe('handshake: the description of the broker in welcome', () => {
  it('has the version of the package, and the features that PROTOCOL.md lists', () => {
    const harness = new BrokerHarness()
    const socket = harness.connectWithHello()
    const [welcome] = socket.takeMessagesOfType('welcome')
    expect(welcome!.version).to.equal(JSON.parse(read('server/package.json').text).version)
    const [, section = ''] = /\*\*Features\.\*\*(.*?)\n### /s.exec(read('shared/PROTOCOL.md').text)!
    const listed = Array.from(section.matchAll(/^- `(\w+)`: /gm), ([, name]) => name)
    expect(welcome!.features).to.deep.equal(listed)
  })

  it('lists only features that the broker has', () => {
    const { features } = new BrokerHarness().openSession().welcome
    const requests: Record<string, object> = {
      barrier: { type: 'barrier', id: 1, key: 'b', parties: 2 },
      lockAll: { type: 'lockAll', id: 1, items: [{ key: 'a' }, { key: 'b' }] },
      maxHold: { type: 'lock', id: 1, key: 'm', maxHold: 1_000 },
      notify: { type: 'lock', id: 1, key: 'n', notify: ['queued'] },
      queue: { type: 'watch', id: 1, key: 'q', queue: true },
      permits: { type: 'lock', id: 1, key: 'p', permits: 1, capacity: 2 },
      once: { type: 'once', id: 1, key: 'o' },
      election: { type: 'campaign', id: 1, key: 'e' },
      scope: { type: 'lock', id: 1, key: 's', scope: 1 },
      queryKind: { type: 'query', id: 1, prefix: '', kind: 'barriers' },
      querySession: { type: 'query', id: 1, kind: 'sessions', session: 's' },
      upgrade: { type: 'upgrade', id: 1, fence: 1 },
    }
    // test/src/server/cells.test.ts tests the feature `cell`, which is a field of `hello`.
    // test/src/server/connection.test.ts tests `idleLease`, which is a field of `pong`.
    expect(features).to.have.members([...Object.keys(requests), 'cell', 'idleLease'])
    for (const request of Object.values(requests)) {
      const client = new BrokerHarness().openSession()
      client.say(request)
      expect(client.socket.closedWith).to.equal(undefined)
      // `upgrade` fails with LOCK_NOT_HELD, because the client holds no lock.
      const failures = client.socket.takeMessagesOfType('failed') as readonly {
        readonly code: string
      }[]
      expect(failures.filter(({ code }) => code !== 'LOCK_NOT_HELD')).to.deep.equal([])
    }
  })
})
