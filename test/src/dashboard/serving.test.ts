/**
 * The files of the dashboard: to which clients the broker serves them, and that only the
 * dashboard's own page may open a WebSocket.
 */
import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type BrokerOptions, createBroker } from '@holdfast/server'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Stage } from '../e2e/stage.js'

const html = { accept: 'text/html,*/*' }

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

/** Sends a request with any headers; `fetch` refuses some headers. */
async function ask(port: number, path: string, headers = {}, method = 'GET'): Promise<Answer> {
  const request = get({ host: '127.0.0.1', port, path, headers, method })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return { status: response.statusCode ?? 0, headers: response.headers, text }
}

/** The outcome of an upgrade: `open`, or the HTTP status of the refusal. */
async function upgrade(port: number, headers: Record<string, string>): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, 'holdfast.v1', { headers })
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.once('unexpected-response', (request, { statusCode }) => {
      request.destroy()
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

  async function port(options: BrokerOptions = {}): Promise<number> {
    return (await stage.broker(options)).port
  }

  it('is a page with its files, and other paths are refused', async () => {
    const at = await port()
    for (const [name, type] of [
      ['', 'text/html; charset=utf-8'],
      ['app.js', 'text/javascript; charset=utf-8'],
      ['app.css', 'text/css; charset=utf-8'],
      ['icon.svg', 'image/svg+xml'],
      ['licences.txt', 'text/plain; charset=utf-8'],
    ]) {
      const { status, headers, text } = await ask(at, `/dashboard/${name}`)
      expect([status, headers['content-type']]).to.deep.equal([200, type])
      expect(text).to.not.equal('')
      expect((await ask(at, `/dashboard/${name}`, {}, 'HEAD')).text).to.equal('')
    }
    expect((await ask(at, '/dashboard/nothing')).status).to.equal(404)
    expect((await ask(at, '/dashboard/../package.json')).status).to.equal(404)
    expect((await ask(at, '/dashboard/', {}, 'POST')).status).to.equal(426)
  })

  it('loads nothing from other origins, and cannot be framed', async () => {
    const at = await port()
    const page = await ask(at, '/dashboard/')
    const policy = String(page.headers['content-security-policy'])
    expect(policy).to.include("default-src 'none'").and.include("frame-ancestors 'none'")
    expect(policy).to.not.match(/unsafe|https?:|\*/)
    expect(page.headers['x-content-type-options']).to.equal('nosniff')
    expect(page.headers).to.not.have.property('access-control-allow-origin')
    const addresses = [...page.text.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, found]) => found)
    expect(addresses).to.have.members(['icon.svg', 'app.css', 'app.js'])
    expect((await ask(at, '/dashboard/app.css')).text).to.not.match(/url\(|@import/)
  })

  it('is cached, and compressed for clients that accept gzip', async () => {
    const at = await port()
    const plain = await ask(at, '/dashboard/app.js')
    const packed = await ask(at, '/dashboard/app.js', { 'accept-encoding': 'gzip' })
    expect(packed.headers['content-encoding']).to.equal('gzip')
    expect(packed.text.length).to.be.below(plain.text.length)
    const again = { 'if-none-match': String(plain.headers.etag) }
    expect((await ask(at, '/dashboard/app.js', again)).status).to.equal(304)
  })

  it('is the target of a redirect for browsers only', async () => {
    const at = await port()
    const visit = await ask(at, '/', html)
    expect([visit.status, visit.headers.location]).to.deep.equal([302, 'dashboard/'])
    expect((await ask(at, '/dashboard')).headers.location).to.equal('dashboard/')
    expect((await ask(at, '/')).status).to.equal(426)
  })

  it('is served to this machine only, unless the option dashboard is set', async () => {
    const forwarded = { 'x-forwarded-for': '192.0.2.1' }
    const at = await port()
    expect((await ask(at, '/dashboard/')).status).to.equal(200)
    expect((await ask(at, '/dashboard/', forwarded)).status).to.equal(426)
    const open = await port({ dashboard: true })
    expect((await ask(open, '/dashboard/', forwarded)).status).to.equal(200)
    const shut = await port({ dashboard: false })
    expect((await ask(shut, '/dashboard/')).status).to.equal(426)
    expect((await ask(shut, '/', html)).status).to.equal(426)
  })

  it('is not served under a host name that is not allowed', async () => {
    const at = await port({ dashboard: true, hosts: ['locks.example'] })
    for (const [host, status] of [
      [`127.0.0.1:${at}`, 200],
      [`localhost:${at}`, 200],
      ['locks.example', 200],
      ['evil.example', 426],
    ] as const) {
      expect((await ask(at, '/dashboard/', { host })).status, host).to.equal(status)
    }
  })

  it('is not served beyond loopback by any name until the broker has one', async () => {
    const broker = createBroker({ dashboard: true, allowUnauthenticated: true })
    stage.onClear(() => broker.close())
    const { port: at } = await broker.listen({ port: 0, host: '0.0.0.0' })
    // Whether an address of this machine is loopback is all that matters to the broker.
    expect((await ask(at, '/dashboard/', { host: `evil.example:${at}` })).status).to.equal(426)
    const own = { host: `evil.example:${at}`, origin: `http://evil.example:${at}` }
    expect(await upgrade(at, own)).to.equal('403')
  })
})

describe('the WebSocket of the dashboard', () => {
  const stage = Stage.forEachTest()

  it('may be opened by the page that the broker serves, and by no other', async () => {
    const { port } = await stage.broker({ hosts: ['locks.example'] })
    const attempts: readonly (readonly [string, string, string])[] = [
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`, 'open'],
      [`localhost:${port}`, `http://localhost:${port}`, 'open'],
      ['locks.example', 'http://locks.example', 'open'],
      // The same machine is not the same origin: not by another name, scheme or port.
      [`127.0.0.1:${port}`, `http://localhost:${port}`, '403'],
      [`127.0.0.1:${port}`, `https://127.0.0.1:${port}`, '403'],
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`, '403'],
      [`127.0.0.1:${port}`, 'http://127.0.0.1', '403'],
      [`127.0.0.1:${port}`, 'null', '403'],
      [`127.0.0.1:${port}`, 'http://evil.example', '403'],
      // A page whose name was made to lead here is of its own origin, and a stranger.
      [`evil.example:${port}`, `http://evil.example:${port}`, '403'],
      ['evil.example', 'http://evil.example', '403'],
    ]
    for (const [host, origin, outcome] of attempts) {
      expect(await upgrade(port, { host, origin }), `${origin} at ${host}`).to.equal(outcome)
    }
  })

  it("is nobody's where no dashboard is served", async () => {
    const { port } = await stage.broker({ dashboard: false })
    const own = { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }
    expect(await upgrade(port, own)).to.equal('403')
  })

  it('is refused through a proxy, unless the dashboard is served there too', async () => {
    const headers = { host: 'locks.example', 'x-forwarded-for': '192.0.2.1' }
    const secure = { ...headers, 'x-forwarded-proto': 'https', origin: 'https://locks.example' }
    const plain = { ...headers, 'x-forwarded-proto': 'http', origin: 'https://locks.example' }
    const known = { authenticate: () => 'ann', hosts: ['locks.example'] }
    const trusting = { ...known, trustedProxies: ['127.0.0.1'] }
    const { port: shut } = await stage.broker(trusting)
    expect(await upgrade(shut, secure)).to.equal('403')
    const { port: open } = await stage.broker({ ...trusting, dashboard: true })
    expect(await upgrade(open, secure)).to.equal('open')
    expect(await upgrade(open, plain)).to.equal('403')
    // What a proxy says that nobody trusts is nothing.
    const { port: wary } = await stage.broker({ ...known, dashboard: true })
    expect(await upgrade(wary, secure)).to.equal('403')
  })

  it("is not that of a page of somebody else's server", async () => {
    const server = createServer((_, response) => response.end('a page'))
    const broker = createBroker({ dashboard: true })
    broker.attach(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onClear(() => server.close())
    stage.onClear(() => broker.close())
    const { port } = server.address() as AddressInfo
    expect((await ask(port, '/dashboard/')).text).to.equal('a page')
    const own = { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` }
    expect(await upgrade(port, own)).to.equal('403')
  })
})
