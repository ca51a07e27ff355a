/**
 * Tests the errors that a caller gets: for invalid arguments, unreachable brokers and closed
 * sessions. Each error is a `HoldfastError` with a code, and its message says how to fix the
 * problem. The lease is how long the broker keeps a silent session. The grace is how long the
 * broker keeps a session without a connection. The ttl is how long a lock lasts without a refresh.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import {
  connect,
  exponentialBackoff,
  fixedInterval,
  type Holder,
  HoldfastError,
  type LockOptions,
  linearBackoff,
} from '@holdfast/client'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { expectRejection, nextEvent, Stage } from './stage.js'

describe('e2e: errors of arguments: the client', () => {
  const stage = Stage.forEachTest()

  // A key has at most 512 bytes of UTF-8. `€` has three bytes.
  const keys: [string, string][] = [
    ['empty', ''],
    ['too long', 'k'.repeat(513)],
    ['too long only in bytes', '€'.repeat(171)],
    ['with a control character', 'a\nb'],
    ['with a lone surrogate', 'a\ud800'],
    ['a number', 7 as unknown as string],
  ]
  for (const [title, key] of keys) {
    it(`rejects a key (${title}) with INVALID_KEY in locks, queries and watches`, async () => {
      const { sessions } = await stage.startBrokerWithSessions('ann')
      const [ann] = sessions
      await expectRejection(ann!.lock(key), 'INVALID_KEY')
      await expectRejection(ann!.tryLock(key), 'INVALID_KEY')
      await expectRejection(ann!.singleflightLock(key), 'INVALID_KEY')
      await expectRejection(ann!.query({ key }), 'INVALID_KEY')
      expect(() => ann!.watch({ key }, () => {})).to.throw(HoldfastError)
    })
  }

  it('accepts unusual keys that are valid', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const unusualKeys = [
      '__proto__',
      'constructor',
      ' ',
      '€'.repeat(170),
      '😀',
      'k'.repeat(512),
      '"\\',
    ]
    for (const key of unusualKeys) expect((await sessions[0]!.tryLock(key)).key).to.equal(key)
    expect(broker.query().held.map(({ key }) => key)).to.deep.equal(unusualKeys)
  })

  // The longest time is 2 ** 31 - 1 ms.
  const invalidTimes = [Number.NaN, -1, 1.5, 2 ** 31, Number.POSITIVE_INFINITY, '5']
  for (const ms of invalidTimes as number[]) {
    it(`rejects ${ms} (a ${typeof ms}) as a ttl, a timeout, a lease and a grace`, async () => {
      const { sessions, url } = await stage.startBrokerWithSessions('ann')
      const [ann] = sessions
      const lock = await ann!.lock('held')
      await expectRejection(ann!.lock('k', { ttl: ms }), 'INVALID_TTL')
      await expectRejection(lock.refresh(ms), 'INVALID_TTL')
      await expectRejection(connect(url, { lease: ms }), 'INVALID_OPTION')
      await expectRejection(ann!.lock('k', { timeout: ms }), 'INVALID_TIMEOUT')
      await expectRejection(connect(url, { grace: ms }), 'INVALID_OPTION')
    })
  }

  it('rejects invalid options with INVALID_OPTION, but a ttl of 0 with INVALID_TTL', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const invalidOptions: object[] = [
      { mode: 'exclusiv' },
      { steal: true, timeout: 5 },
      { steal: true, mode: 'shared' },
      { signal: {} },
      // With its two quotes, this text has 4,098 bytes of JSON. 4,096 bytes are allowed.
      { metadata: 'x'.repeat(4_096) },
      { metadata: 7n },
      { metadata: () => {} },
    ]
    for (const options of invalidOptions) {
      await expectRejection(sessions[0]!.lock('k', options as LockOptions), 'INVALID_OPTION')
    }
    await expectRejection(sessions[0]!.lock('k', { ttl: 0 }), 'INVALID_TTL')
    // A query shows at most 1,000 locks.
    await expectRejection(sessions[0]!.query({ limit: 1_001 }), 'INVALID_OPTION')
    await expectRejection(sessions[0]!.query({ key: 'a', prefix: 'a' }), 'INVALID_OPTION')
    const invalidQueries = [
      { kind: 'elections' },
      // Only a query for locks has pages, so `after` is invalid.
      { kind: 'barriers', after: '' },
      // The kind `sessions` and the option `session` need each other.
      { kind: 'sessions' },
      { session: 's' },
      { kind: 'sessions', session: '' },
      // The id of a session has at most 64 characters.
      { kind: 'sessions', session: 's'.repeat(65) },
    ]
    for (const options of invalidQueries) {
      await expectRejection(sessions[0]!.query(options as object), 'INVALID_OPTION')
    }
  })

  it('rejects invalid options of a retry strategy', () => {
    const invalidStrategies: (() => unknown)[] = [
      () => fixedInterval({ interval: -1 }),
      () => exponentialBackoff({ initial: Number.NaN }),
      () => exponentialBackoff({ initial: 1, multiplier: 0.5 }),
      () => linearBackoff({ initial: 1, increment: -5 }),
      () => fixedInterval({ interval: 1, maxRetries: 1.5 }),
    ]
    for (const make of invalidStrategies) expect(make).to.throw(HoldfastError)
  })
})

describe('e2e: errors of connecting: the client', () => {
  const stage = Stage.forEachTest()
  const servers: Server[] = []

  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close()
      server.closeAllConnections()
    }
  })

  /** Lets the server listen. Returns its URL. */
  async function listen(server: Server): Promise<string> {
    servers.push(server)
    server.listen({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** A URL of a port on which no server listens. */
  async function deadUrl(): Promise<string> {
    const server = createTcpServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return `ws://127.0.0.1:${port}`
  }

  it('rejects an unreachable URL with UNAVAILABLE; the error names the URL and says what to check', async () => {
    const url = await deadUrl()
    const error = await expectRejection(connect(url), 'UNAVAILABLE')
    expect(error.message).to.include(url).and.to.include('check')
    expect(error.cause).to.be.instanceOf(Error)
  })

  it('rejects a URL that is not a valid WebSocket URL with INVALID_OPTION', async () => {
    for (const url of ['localhost:7420', 'http://localhost:7420', '', 'ws://', 'ws://x#y', 7]) {
      await expectRejection(connect(url as string), 'INVALID_OPTION')
    }
    await expectRejection(connect([]), 'INVALID_OPTION')
  })

  it('rejects with UNAVAILABLE if a server does not speak WebSocket', async () => {
    const url = await listen(createServer((_request, response) => response.end('hello')))
    await expectRejection(connect(url), 'UNAVAILABLE')
  })

  it('rejects with UNAVAILABLE if a server has another WebSocket subprotocol', async () => {
    const server = createServer()
    const sockets = new WebSocketServer({ server, handleProtocols: () => 'chat.v1' })
    stage.onCleanUp(() => sockets.close())
    await expectRejection(connect(await listen(server)), 'UNAVAILABLE')
  })

  const answers: [string, string][] = [
    ['does not answer hello with welcome', '{"type":"stats","id":1,"stats":{}}'],
    ['does not speak JSON', 'hello yourself'],
    ['answers with an incomplete welcome', '{"type":"welcome","session":7}'],
  ]
  for (const [title, answer] of answers) {
    it(`rejects with UNAVAILABLE if a server has Holdfast's subprotocol, but ${title}`, async () => {
      const server = createServer()
      const sockets = new WebSocketServer({ server, handleProtocols: () => 'holdfast.v1' })
      sockets.on('connection', (socket) => socket.on('message', () => socket.send(answer)))
      stage.onCleanUp(() => sockets.close())
      await expectRejection(connect(await listen(server)), 'UNAVAILABLE')
    })
  }

  it('tries a list of URLs in order, each once, and uses the first that answers', async () => {
    const { url: live } = await stage.startBroker()
    const dead = await deadUrl()
    const session = await stage.openSession([dead, dead, live])
    expect(session.state).to.equal('connected')
  })

  it('rejects a list of URLs with UNAVAILABLE if no server answers', async () => {
    const dead = await deadUrl()
    const error = await expectRejection(connect([dead, dead]), 'UNAVAILABLE')
    expect(error.message).to.match(/none of the 2/)
  })

  it('says whether a client sent no token, or a token that the broker refused', async () => {
    const { url } = await stage.startBroker({
      authenticate: ({ token }) => (token === 'right' ? 'ann' : undefined),
    })
    const refusals = [
      [{}, 'no token was sent'],
      [{ token: 'wrong' }, 'the token was not accepted'],
    ] as const
    for (const [options, cause] of refusals) {
      const { message, reason } = await expectRejection(connect(url, options), 'UNAUTHORIZED')
      expect(reason).to.equal(`unauthorized: ${cause}`)
      expect(message).to.equal(
        'the broker requires a valid token; set the option `token` ' +
          `(closed with 4401 unauthorized: ${cause})`,
      )
    }
  })

  it('rejects a refused token with UNAUTHORIZED, and does not try again', async () => {
    let authentications = 0
    const { url } = await stage.startBroker({
      authenticate: ({ token }) => {
        authentications++
        return token === 'right' ? 'ann' : undefined
      },
    })
    await expectRejection(connect(url, { token: 'wrong' }), 'UNAUTHORIZED')
    await expectRejection(connect(url), 'UNAUTHORIZED')
    // The broker authenticated once for each of the two calls of `connect`.
    expect(authentications).to.equal(2)
    const session = await stage.openSession(url, { token: 'right' })
    expect(session.state).to.equal('connected')
  })

  it('rejects with ABORTED when a signal aborts before or during connecting', async () => {
    const { url } = await stage.startBroker()
    await expectRejection(connect(url, { signal: AbortSignal.abort() }), 'ABORTED')
    const silent = createTcpServer(() => {}).listen(0, '127.0.0.1')
    stage.onCleanUp(() => silent.close())
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const controller = new AbortController()
    const connecting = connect(`ws://127.0.0.1:${port}`, { signal: controller.signal })
    const [socket] = await once(silent, 'connection')
    controller.abort('enough')
    expect((await expectRejection(connecting, 'ABORTED')).cause).to.equal('enough')
    // The client closes its connection. The server sees the close only if it reads the socket.
    await once(socket.resume(), 'close')
  })
})

describe('e2e: errors of a closed session: the client', () => {
  const stage = Stage.forEachTest()

  it('rejects every call after close with SESSION_CLOSED, and close may be called again', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann')
    const [ann] = sessions
    const lock = await ann!.lock('held')
    const closing = ann!.close()
    expect(lock.held).to.equal(false)
    await Promise.all([closing, ann!.close()])
    expect(ann!.state).to.equal('closed')
    await expectRejection(ann!.lock('k'), 'SESSION_CLOSED')
    await expectRejection(ann!.tryLock('k'), 'SESSION_CLOSED')
    await expectRejection(ann!.singleflightLock('k'), 'SESSION_CLOSED')
    await expectRejection(
      ann!.withLock('k', () => {}),
      'SESSION_CLOSED',
    )
    await expectRejection(ann!.query(), 'SESSION_CLOSED')
    await expectRejection(ann!.stats(), 'SESSION_CLOSED')
    await expectRejection(lock.refresh(), 'LOCK_NOT_HELD')
    expect(() => ann!.watch('k', () => {})).to.throw(HoldfastError, /closed/)
    await ann!.close()
  })

  it('rejects waiting requests with SESSION_CLOSED when the session is closed', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    await ann!.lock('k')
    const waiting = expectRejection(ben!.lock('k'), 'SESSION_CLOSED')
    await ben!.close()
    await waiting
  })

  it('resolves a call of close even if the broker is gone, and fires the event "closed"', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('ann')
    const closed = nextEvent(sessions[0]!, 'closed')
    await broker.close()
    await sessions[0]!.close()
    // The event has no error as its argument, because the caller closed the session.
    expect(await closed).to.equal(undefined)
  })
})

describe('e2e: errors of listening: the broker', () => {
  const stage = Stage.forEachTest()

  it('rejects a call of listen after close', async () => {
    const broker = createBroker()
    await broker.close()
    await broker.close()
    await expectRejection(broker.listen({ port: 0 }), 'UNAVAILABLE')
  })

  it('rejects with UNAVAILABLE if the port is in use, and names the port', async () => {
    const { port } = await stage.startBroker()
    const second = createBroker()
    stage.onCleanUp(() => second.close())
    const error = await expectRejection(second.listen({ port }), 'UNAVAILABLE')
    expect(error.message).to.include(String(port))
    expect(error.cause).to.include({ code: 'EADDRINUSE' })
  })
})

describe('e2e: fields of errors', () => {
  const stage = Stage.forEachTest()

  it('LOCK_TIMEOUT names the holders, without their metadata', async () => {
    const { sessions } = await stage.startBrokerWithSessions('ann', 'ben')
    const [ann, ben] = sessions
    const { fence } = await ann!.lock('k', { metadata: { job: 7 } })
    const error = await expectRejection(ben!.lock('k', { timeout: 1 }), 'LOCK_TIMEOUT')
    const [{ since, ...holder }] = error.holders as [Holder]
    expect(holder).to.deep.equal({ session: ann!.id, name: 'ann', fence })
    expect(since).to.be.a('number')
    expect(error).to.include({ key: 'k', heldByThisSession: false, retryable: true })
  })
})
