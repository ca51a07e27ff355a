/**
 * Tests the HTTP upgrades and the other HTTP requests that a broker serves or refuses. The tests
 * write the requests as bytes. Invalid input must harm only the connection that sent it.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createBroker, type HoldfastBroker, HoldfastError } from '@holdfast/server'
import { expect } from 'chai'
import { openTcp, RawClient, sendAndReadHead, sendAndReadStatus, upgradeHead } from './raw.js'

/** The connection stays open on the side of the client when the broker has ended its side. */
const allowHalfOpen = true

/** Sends bytes, and returns the status line and the body of the answer. */
async function answerTo(port: number, bytes: string): Promise<string[]> {
  const socket = await openTcp(port)
  socket.write(bytes)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  return [head.split('\r\n')[0]!, body.trimEnd()]
}

describe('upgrade: a broker with its own port', () => {
  let broker: HoldfastBroker
  let port: number

  before(async () => {
    broker = createBroker({ origins: ['https://app.example'] })
    ;({ port } = await broker.listen({ port: 0 }))
  })
  after(() => broker.close())

  it('answers 101 and names the subprotocol', async () => {
    const socket = await openTcp(port)
    const head = await sendAndReadHead(socket, upgradeHead('/'))
    socket.destroy()
    expect(head).to.match(/^HTTP\/1\.1 101 /)
    expect(head).to.match(/^sec-websocket-protocol: holdfast\.v1\r$/im)
    expect(head, 'no compression').not.to.match(/sec-websocket-extensions/i)
  })

  it('answers a plain request with 426 and a message', async () => {
    const response = await fetch(`http://127.0.0.1:${port}/any/path`)
    expect(response.status).to.equal(426)
    expect(response.headers.get('upgrade')).to.equal('websocket')
    expect(await response.text()).to.match(/^This is a Holdfast broker/)
  })

  it('refuses a foreign origin with 403, and admits a listed origin', async () => {
    const from = (origin: string) => sendAndReadStatus(port, upgradeHead('/', { origin }))
    expect(await from('https://evil.example')).to.match(/^HTTP\/1\.1 403 /)
    expect(await from('http://localhost')).to.match(/^HTTP\/1\.1 403 /)
    expect(await from('https://app.example')).to.match(/^HTTP\/1\.1 101 /)
  })

  it('closes the connection with 4406 if the client offers no known subprotocol', async () => {
    const client = new RawClient(`ws://127.0.0.1:${port}`, { protocols: [] })
    expect(await client.closed()).to.deep.equal({
      code: 4406,
      reason: 'subprotocol holdfast.v1 required',
    })
  })

  it('can be closed even if refused clients keep their connections open', async () => {
    const other = createBroker()
    const { port } = await other.listen({ port: 0 })
    const refused = await openTcp(port, allowHalfOpen)
    const origin = 'https://evil.example'
    expect(await sendAndReadHead(refused, upgradeHead('/', { origin }))).to.match(
      /^HTTP\/1\.1 403 /,
    )
    // The broker accepts this upgrade, and sends the close code 4406. The client does not reply.
    const otherProtocol = await openTcp(port, allowHalfOpen)
    const offer = { 'sec-websocket-protocol': 'another' }
    expect(await sendAndReadHead(otherProtocol, upgradeHead('/', offer))).to.match(
      /^HTTP\/1\.1 101 /,
    )
    try {
      await other.close()
    } finally {
      refused.destroy()
      otherProtocol.destroy()
    }
  })

  it('refuses an invalid upgrade', async () => {
    const invalidHeaders: Record<string, string>[] = [
      { 'sec-websocket-version': '7' },
      { 'sec-websocket-key': 'short' },
      { upgrade: 'h2c' },
    ]
    for (const headers of invalidHeaders) {
      expect(await sendAndReadStatus(port, upgradeHead('/', headers))).to.match(
        /^HTTP\/1\.1 4\d\d /,
      )
    }
  })

  it('accepts headers up to the limit of Node, and answers larger headers with 431 and the reason', async () => {
    const withCookie = (bytes: number) => upgradeHead('/', { cookie: 'x'.repeat(bytes) })
    expect(await sendAndReadStatus(port, withCookie(15_000))).to.match(/^HTTP\/1\.1 101 /)
    expect(await answerTo(port, withCookie(17_000))).to.deep.equal([
      'HTTP/1.1 431 Request Header Fields Too Large',
      'The headers have more than 16384 bytes: send fewer cookies, or a shorter token',
    ])
  })

  it('gives a reason for each upgrade that it refuses', async () => {
    // A second upgrade from one address exceeds only the limit of the address.
    const limits = { connectionsPerSecondPerAddress: 1, connectionsPerSecond: 2 }
    const options = { allowUnauthenticated: true, trustedProxies: ['127.0.0.1'], limits }
    const rateLimited = createBroker(options)
    const defaultBroker = createBroker()
    const [{ port: limitedPort }, { port: defaultPort }] = [
      await rateLimited.listen({ port: 0 }),
      await defaultBroker.listen({ port: 0 }),
    ]
    const from = (address: string) => upgradeHead('/', { 'x-forwarded-for': address })
    // This upgrade uses up the limit of its address.
    expect(await sendAndReadStatus(limitedPort, from('203.0.113.1'))).to.match(/^HTTP\/1\.1 101 /)
    const refusals: [port: number, request: string, status: string, reason: RegExp][] = [
      [
        defaultPort,
        upgradeHead('/', { host: 'evil.example' }),
        '403',
        /^Host header not allowed: .*`hosts`/,
      ],
      [
        defaultPort,
        upgradeHead('/', { origin: 'https://evil.example' }),
        '403',
        /^Origin not allowed: .*`origins`/,
      ],
      // Without authentication, a broker refuses clients behind a proxy: they may be remote.
      [defaultPort, from('203.0.113.1'), '403', /does not authenticate clients.*`authenticate`/],
      // A token has at most 3,072 characters.
      [
        defaultPort,
        upgradeHead('/', { authorization: `Bearer ${'x'.repeat(3_073)}` }),
        '400',
        /^A token must have 1 to/,
      ],
      [defaultPort, 'GET / HTTP/9.9 nonsense\r\n\r\n', '400', /^The request is not proper HTTP$/],
      [
        limitedPort,
        from('203.0.113.1'),
        '429',
        /from this address .* limit of 1 is reached \(connectionsPerSecondPerAddress\)$/,
      ],
    ]
    try {
      for (const [toPort, bytes, status, reason] of refusals) {
        const [line, body] = await answerTo(toPort, bytes)
        expect(line, bytes).to.include(` ${status} `)
        expect(body).to.match(reason)
      }
    } finally {
      await Promise.all([rateLimited.close(), defaultBroker.close()])
    }
  })

  it('serves clients after unusual and invalid input of another client', async () => {
    const inputs = [
      upgradeHead('//'),
      upgradeHead('http://['),
      upgradeHead('*'),
      upgradeHead(`/${'x'.repeat(10_000)}`),
      '\r\n\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      '\u0000\u0001\u0002',
      `${upgradeHead('/')}\u0000\u0000\u0000\u0000`,
    ]
    for (const bytes of inputs) {
      const socket = await openTcp(port)
      socket.on('error', () => {})
      socket.write(bytes)
      socket.resetAndDestroy()
      await once(socket, 'close')
    }
    expect(await sendAndReadStatus(port, upgradeHead('/'))).to.match(/^HTTP\/1\.1 101 /)
  })
})

describe('upgrade: a broker attached to a server of the user', () => {
  let server: Server
  let broker: HoldfastBroker
  let port: number

  beforeEach(async () => {
    server = createServer((request, response) => response.end(`mine: ${request.url}`))
    broker = createBroker()
    broker.attach(server, { path: '/locks' })
    server.listen({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })

  afterEach(async () => {
    await broker.close()
    server.close()
    server.closeAllConnections()
  })

  it("serves the broker's path with any query, and keeps the user's routes working", async () => {
    expect(await sendAndReadStatus(port, upgradeHead('/locks'))).to.match(/^HTTP\/1\.1 101 /)
    expect(await sendAndReadStatus(port, upgradeHead('/locks?x=1'))).to.match(/^HTTP\/1\.1 101 /)
    const response = await fetch(`http://127.0.0.1:${port}/locks`)
    expect(await response.text()).to.equal('mine: /locks')
  })

  it('leaves upgrades of other paths to other handlers', async () => {
    server.on('upgrade', (request, socket) => {
      if (request.url === '/mine') socket.end('HTTP/1.1 418 I am a teapot\r\n\r\n')
    })
    expect(await sendAndReadStatus(port, upgradeHead('/mine'))).to.match(/^HTTP\/1\.1 418 /)
    expect(await sendAndReadStatus(port, upgradeHead('/locks'))).to.match(/^HTTP\/1\.1 101 /)
  })

  it('answers 404 to an upgrade of a path without a handler', async () => {
    expect(await sendAndReadStatus(port, upgradeHead('/other'))).to.match(/^HTTP\/1\.1 404 /)
    expect(await sendAndReadStatus(port, upgradeHead('/locks/'))).to.match(/^HTTP\/1\.1 404 /)
  })

  it('closes refused connections, even if the client keeps its end open', async () => {
    const socket = await openTcp(port, allowHalfOpen)
    expect(await sendAndReadHead(socket, upgradeHead('/other'))).to.match(/^HTTP\/1\.1 404 /)
    try {
      server.close()
      await once(server, 'close')
    } finally {
      socket.destroy()
    }
  })

  it('serves clients after unusual and invalid request targets', async () => {
    for (const target of ['//', 'http://[', '*', '/%', '//locks', 'http://other/locks']) {
      const socket = await openTcp(port)
      socket.on('error', () => {})
      socket.write(upgradeHead(target))
      socket.resetAndDestroy()
      await once(socket, 'close')
    }
    expect(await sendAndReadStatus(port, upgradeHead('/locks'))).to.match(/^HTTP\/1\.1 101 /)
  })

  it('shares a server with another broker on another path', async () => {
    const otherBroker = createBroker()
    otherBroker.attach(server, { path: '/other' })
    const client = await RawClient.open(`ws://127.0.0.1:${port}/locks`)
    const otherClient = await RawClient.open(`ws://127.0.0.1:${port}/other`)
    client.send({ type: 'lock', id: 1, key: 'k' })
    otherClient.send({ type: 'lock', id: 1, key: 'k' })
    await client.receive('granted')
    await otherClient.receive('granted')
    expect(broker.query().heldCount).to.equal(1)
    expect(otherBroker.query().heldCount).to.equal(1)
    expect(await sendAndReadStatus(port, upgradeHead('/unknown'))).to.match(/^HTTP\/1\.1 404 /)
    await otherBroker.close()
    expect(await sendAndReadStatus(port, upgradeHead('/other'))).to.match(/^HTTP\/1\.1 404 /)
    client.send({ type: 'stats', id: 2 })
    await client.receive('stats')
  })

  it('refuses an invalid path, and a path that already has a broker', () => {
    for (const path of ['locks', '', '/a?b', '/a b', '/locks']) {
      expect(() => createBroker().attach(server, { path }), path)
        .to.throw(HoldfastError)
        .that.includes({ code: 'INVALID_OPTION' })
    }
  })

  it("removes its listeners from the user's server when the broker closes", async () => {
    await broker.close()
    expect(server.listenerCount('upgrade')).to.equal(0)
    broker = createBroker()
    broker.attach(server, { path: '/locks' })
    expect(await sendAndReadStatus(port, upgradeHead('/locks'))).to.match(/^HTTP\/1\.1 101 /)
  })

  it("keeps the user's server open when the broker closes", async () => {
    const client = await RawClient.open(`ws://127.0.0.1:${port}/locks`)
    await broker.close()
    expect(await client.closed()).to.deep.equal({ code: 1012, reason: 'broker is going away' })
    const response = await fetch(`http://127.0.0.1:${port}/still/there`)
    expect(await response.text()).to.equal('mine: /still/there')
  })
})

describe('upgrade: frames that violate the WebSocket protocol or the limits of the broker', () => {
  let broker: HoldfastBroker
  let url: string

  before(async () => {
    broker = createBroker()
    ;({ url } = await broker.listen({ port: 0 }))
  })
  after(() => broker.close())

  const violations: [string, number, (client: RawClient) => void][] = [
    ['a frame of more than 64 KiB', 1009, ({ socket }) => socket.send('x'.repeat(65_537))],
    [
      'text that is not UTF-8',
      1007,
      ({ socket }) => socket.send(Buffer.from([0xff]), { binary: false }),
    ],
    [
      'a message in too many fragments',
      1008,
      ({ socket }) => {
        // The limit is 16 fragments.
        for (let i = 0; i < 100; i++) socket.send('{', { fin: false })
      },
    ],
  ]
  for (const [title, code, violate] of violations) {
    it(`${title} makes the broker close the connection, but keep the session and its lock`, async () => {
      const client = await RawClient.open(url)
      client.send({ type: 'lock', id: 1, key: title })
      await client.receive('granted')
      violate(client)
      expect((await client.closed()).code).to.equal(code)
      expect(broker.query({ key: title }).heldCount).to.equal(1)
    })
  }
})
