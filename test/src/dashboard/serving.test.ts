/**
 * Tests which clients get the files of the dashboard from the broker. The broker answers other
 * clients with 426, which means that it accepts only WebSockets. Also tests that no page except the
 * page of the dashboard may open a WebSocket.
 */
import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type BrokerOptions, createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Stage } from '../e2e/stage.js'

const browserHeaders = { accept: 'text/html,*/*' }

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

/** Sends a request with any headers. (`fetch` does not allow headers such as `host`.) */
async function request(port: number, path: string, headers = {}, method = 'GET'): Promise<Answer> {
  const sent = get({ host: '127.0.0.1', port, path, headers, method })
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return { status: response.statusCode ?? 0, headers: response.headers, text }
}

/**
 * Tries to open a WebSocket with these headers. Returns `open`, or the HTTP status of a refusal.
 */
async function upgrade(port: number, headers: Record<string, string>): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, 'holdfast.v1', { headers })
  return new Promise((resolve) => {
    // Node throws an `error` event that has no listener.
    socket.on('error', () => {})
    socket.once('unexpected-response', (upgradeRequest, { statusCode }) => {
      upgradeRequest.destroy()
      resolve(String(statusCode))
    })
    socket.once('open', () => {
      socket.terminate()
      resolve('open')
    })
  })
}

describe('the dashboard over HTTP', () => {
  const stage = Stage.forEachTest()

  /** Starts a broker, and returns its port. */
  async function start(options: BrokerOptions = {}): Promise<number> {
    return (await stage.startBroker(options)).port
  }

  it('consists of a page and its files, and other paths and methods are refused', async () => {
    const port = await start()
    for (const [name, type] of [
      ['', 'text/html; charset=utf-8'],
      ['app.js', 'text/javascript; charset=utf-8'],
      ['app.css', 'text/css; charset=utf-8'],
      ['icon.svg', 'image/svg+xml'],
      ['licences.txt', 'text/plain; charset=utf-8'],
    ]) {
      const { status, headers, text } = await request(port, `/dashboard/${name}`)
      expect([status, headers['content-type']]).to.deep.equal([200, type])
      expect(text).to.not.equal('')
      expect((await request(port, `/dashboard/${name}`, {}, 'HEAD')).text).to.equal('')
    }
    expect((await request(port, '/dashboard/nothing')).status).to.equal(404)
    expect((await request(port, '/dashboard/../package.json')).status).to.equal(404)
    expect((await request(port, '/dashboard/', {}, 'POST')).status).to.equal(426)
  })

  it('loads nothing from other origins, and cannot be framed', async () => {
    const port = await start()
    const page = await request(port, '/dashboard/')
    const policy = String(page.headers['content-security-policy'])
    expect(policy).to.include("default-src 'none'").and.include("frame-ancestors 'none'")
    expect(policy).to.not.match(/unsafe|https?:|\*/)
    expect(page.headers['x-content-type-options']).to.equal('nosniff')
    expect(page.headers).to.not.have.property('access-control-allow-origin')
    const addresses = [...page.text.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, found]) => found)
    expect(addresses).to.have.members(['icon.svg', 'app.css', 'app.js'])
    expect((await request(port, '/dashboard/app.css')).text).to.not.match(/url\(|@import/)
  })

  it('may be cached, and is compressed for clients that accept gzip', async () => {
    const port = await start()
    const plain = await request(port, '/dashboard/app.js')
    const compressed = await request(port, '/dashboard/app.js', { 'accept-encoding': 'gzip' })
    expect(compressed.headers['content-encoding']).to.equal('gzip')
    expect(compressed.text.length).to.be.below(plain.text.length)
    const ifChanged = { 'if-none-match': String(plain.headers.etag) }
    expect((await request(port, '/dashboard/app.js', ifChanged)).status).to.equal(304)
  })

  it('is the target of redirects from /dashboard, and for browsers also from /', async () => {
    const port = await start()
    const visit = await request(port, '/', browserHeaders)
    expect([visit.status, visit.headers.location]).to.deep.equal([302, 'dashboard/'])
    expect((await request(port, '/dashboard')).headers.location).to.equal('dashboard/')
    expect((await request(port, '/')).status).to.equal(426)
  })

  it('is served to clients on the same machine by default, to all with dashboard: true, and to none with false', async () => {
    // A proxy adds this header, and the client of the proxy may be on another machine.
    const forwarded = { 'x-forwarded-for': '192.0.2.1' }
    const port = await start()
    expect((await request(port, '/dashboard/')).status).to.equal(200)
    expect((await request(port, '/dashboard/', forwarded)).status).to.equal(426)
    const openPort = await start({ dashboard: true })
    expect((await request(openPort, '/dashboard/', forwarded)).status).to.equal(200)
    const closedPort = await start({ dashboard: false })
    expect((await request(closedPort, '/dashboard/')).status).to.equal(426)
    expect((await request(closedPort, '/', browserHeaders)).status).to.equal(426)
  })

  it('is not served under a host name that is not allowed', async () => {
    const port = await start({ dashboard: true, hosts: ['locks.example'] })
    for (const [host, status] of [
      [`127.0.0.1:${port}`, 200],
      [`localhost:${port}`, 200],
      ['locks.example', 200],
      ['evil.example', 426],
    ] as const) {
      expect((await request(port, '/dashboard/', { host })).status, host).to.equal(status)
    }
  })

  it('is not served under an unknown host name, even if the broker listens on all addresses', async () => {
    const broker = createBroker({ dashboard: true, allowUnauthenticated: true })
    stage.onCleanUp(() => broker.close())
    const { port } = await broker.listen({ port: 0, host: '0.0.0.0' })
    // This client connects over loopback, where only loopback names are allowed without `hosts`.
    expect((await request(port, '/dashboard/', { host: `evil.example:${port}` })).status).to.equal(
      426,
    )
    const sameOrigin = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` }
    expect(await upgrade(port, sameOrigin)).to.equal('403')
  })
})

describe('the WebSocket of the dashboard', () => {
  const stage = Stage.forEachTest()

  it('may be opened by the page that the broker serves, and by no other page', async () => {
    const { port } = await stage.startBroker({ hosts: ['locks.example'] })
    const attempts: readonly (readonly [string, string, string])[] = [
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`, 'open'],
      [`localhost:${port}`, `http://localhost:${port}`, 'open'],
      ['locks.example', 'http://locks.example', 'open'],
      // A page of the same machine has another origin if its host name, scheme or port differs.
      [`127.0.0.1:${port}`, `http://localhost:${port}`, '403'],
      [`127.0.0.1:${port}`, `https://127.0.0.1:${port}`, '403'],
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`, '403'],
      [`127.0.0.1:${port}`, 'http://127.0.0.1', '403'],
      // A page without an origin, and a page of another machine.
      [`127.0.0.1:${port}`, 'null', '403'],
      [`127.0.0.1:${port}`, 'http://evil.example', '403'],
      // A page of an attacker may use a host name that the attacker's DNS maps to this machine.
      [`evil.example:${port}`, `http://evil.example:${port}`, '403'],
      ['evil.example', 'http://evil.example', '403'],
    ]
    for (const [host, origin, outcome] of attempts) {
      expect(await upgrade(port, { host, origin }), `${origin} at ${host}`).to.equal(outcome)
    }
  })

  it('is refused if the broker serves no dashboard', async () => {
    const { port } = await stage.startBroker({ dashboard: false })
    const sameOrigin = { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }
    expect(await upgrade(port, sameOrigin)).to.equal('403')
  })

  it('is refused through a proxy, unless the broker serves the dashboard through the proxy too', async () => {
    const headers = {
      host: 'locks.example',
      origin: 'https://locks.example',
      'x-forwarded-for': '192.0.2.1',
    }
    const overHttps = { ...headers, 'x-forwarded-proto': 'https' }
    const overHttp = { ...headers, 'x-forwarded-proto': 'http' }
    const commonOptions = { authenticate: () => 'ann', hosts: ['locks.example'] }
    const trustingOptions = { ...commonOptions, trustedProxies: ['127.0.0.1'] }
    const { port: closedPort } = await stage.startBroker(trustingOptions)
    expect(await upgrade(closedPort, overHttps)).to.equal('403')
    const { port: openPort } = await stage.startBroker({ ...trustingOptions, dashboard: true })
    expect(await upgrade(openPort, overHttps)).to.equal('open')
    // The scheme of the page differs from the scheme of this request.
    expect(await upgrade(openPort, overHttp)).to.equal('403')
    // The broker ignores the headers of a proxy that is not in `trustedProxies`.
    const { port: untrustingPort } = await stage.startBroker({ ...commonOptions, dashboard: true })
    expect(await upgrade(untrustingPort, overHttps)).to.equal('403')
  })

  it('is refused to a page of the HTTP server to which the broker is attached', async () => {
    const server = createServer((_, response) => response.end('a page'))
    const broker = createBroker({ dashboard: true })
    broker.attach(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onCleanUp(() => server.close())
    stage.onCleanUp(() => broker.close())
    const { port } = server.address() as AddressInfo
    // An attached broker serves no dashboard.
    expect((await request(port, '/dashboard/')).text).to.equal('a page')
    const sameOrigin = { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }
    expect(await upgrade(port, sameOrigin)).to.equal('403')
  })
})
