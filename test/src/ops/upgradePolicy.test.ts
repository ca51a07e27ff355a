/**
 * The upgrade policy, by attack: what a web page, an unknown client or a proxy can try before and
 * during the handshake. The tests use real sockets, because most of the attacks are about headers.
 */
import type { IncomingMessage } from 'node:http'
import { type BrokerOptions, type Credentials, createBroker } from '@holdfast/server'
import { settingsFrom, UpgradePolicy } from '@holdfast/server/internal'
import { brokerMetrics } from '@holdfast/server/metrics'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { dial, headOf, RawClient, statusOf, upgradeHead } from '../e2e/raw.js'
import { Stage } from '../e2e/stage.js'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { RefusalRecorder } from './refusalRecorder.js'

describe('the upgrade policy', () => {
  const stage = Stage.forEachTest()

  async function broker(options: BrokerOptions = {}) {
    const notices = new RefusalRecorder()
    const made = createBroker({ observer: notices, ...options })
    stage.onClear(() => made.close())
    return { ...(await made.listen({ port: 0 })), notices }
  }

  /** A broker that takes notes of who shows it what. */
  async function curious(options: BrokerOptions = {}) {
    const seen: Credentials[] = []
    const authenticate = (credentials: Credentials) => {
      seen.push(credentials)
      return credentials.token
    }
    return { ...(await broker({ authenticate, ...options })), seen }
  }

  async function hello(url: string, headers: Record<string, string> = {}, protocols?: string[]) {
    const client = new RawClient(url, { headers, ...(protocols && { protocols }) })
    await client.opened()
    client.send({ type: 'hello' })
    stage.onClear(() => client.drop())
    return client
  }

  it('refuses a page of another origin before the upgrade', async () => {
    const { port, notices } = await broker({ origins: ['https://app.example'] })
    for (const origin of ['https://evil.example', 'null', 'http://app.example']) {
      expect(await statusOf(port, upgradeHead('/', { origin }))).to.match(/ 403 /)
    }
    expect(await statusOf(port, upgradeHead('/', { origin: 'https://app.example' }))).to.match(
      / 101 /,
    )
    expect(notices.causes).to.deep.equal(['origin', 'origin', 'origin'])
  })

  it('refuses a host name that is not allowed (DNS rebinding)', async () => {
    const { port, notices } = await broker()
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '10.0.0.1',
      'localhost.evil.example',
    ]) {
      expect(await statusOf(port, upgradeHead('/', { host })), host).to.match(/ 403 /)
    }
    for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]:7420', 'LOCALHOST']) {
      expect(await statusOf(port, upgradeHead('/', { host })), host).to.match(/ 101 /)
    }
    expect(new Set(notices.causes)).to.deep.equal(new Set(['host']))
  })

  it('accepts the host names of the option hosts', async () => {
    const { port } = await broker({ hosts: ['Locks.example'] })
    expect(await statusOf(port, upgradeHead('/', { host: 'locks.example' }))).to.match(/ 101 /)
    expect(await statusOf(port, upgradeHead('/', { host: 'other.example' }))).to.match(/ 403 /)
  })

  it('refuses forwarded clients without authenticate', async () => {
    const { port, notices } = await broker({ metrics: brokerMetrics() })
    const outcomes = async (headers: Record<string, string>) => {
      const get = (path: string) =>
        statusOf(port, upgradeHead(path, { connection: 'close', upgrade: '', ...headers }))
      const upgrade = await statusOf(port, upgradeHead('/', headers))
      const pages = ['/metrics', '/status', '/dashboard/'].map(get)
      return [upgrade, ...(await Promise.all(pages))].map((line) => line.split(' ')[1])
    }
    expect(await outcomes({})).to.deep.equal(['101', '200', '200', '200'])
    for (const line of signsOfProxies) {
      const [name, value] = line.split(': ') as [string, string]
      const refused = ['403', '426', '426', '426']
      expect(await outcomes({ [name]: value }), line).to.deep.equal(refused)
    }
    expect(new Set(notices.causes)).to.deep.equal(new Set(['not_local']))
  })

  it('accepts programs on this machine, whatever other headers they send', async () => {
    const { port } = await broker()
    const headerSets: Record<string, string>[] = [
      { 'user-agent': 'Mozilla/5.0', 'accept-language': 'de', 'sec-fetch-site': 'same-origin' },
      { 'x-request-id': '1', traceparent: '00-0-0-01', cookie: 'a=b', 'x-transport': 'ws' },
      { pragma: 'no-cache', 'sec-ch-ua': '"Chromium"', dnt: '1', priority: 'u=1', te: 'trailers' },
    ]
    for (const headers of headerSets)
      expect(await statusOf(port, upgradeHead('/', headers))).to.match(/ 101 /)
  })

  it('treats only a connection from loopback to loopback as local', () => {
    const keeper = new UpgradePolicy(settingsFrom({}), new FakeEnvironment().clock)
    const causeOf = (localAddress: string, remoteAddress: string) => {
      const socket = { localAddress, remoteAddress }
      const answer = keeper.admit({ headers: { host: 'localhost' }, socket } as IncomingMessage)
      return 'status' in answer ? answer.cause : 'in'
    }
    expect(causeOf('127.0.0.1', '127.0.0.1')).to.equal('in')
    expect(causeOf('::1', '::1')).to.equal('in')
    expect(causeOf('::ffff:127.0.0.1', '::ffff:127.0.0.2')).to.equal('in')
    expect(causeOf('127.0.0.1', '10.0.0.9')).to.equal('not_local')
    expect(causeOf('::1', '2001:db8::1')).to.equal('not_local')
    expect(causeOf('127.0.0.1', '')).to.equal('not_local')
  })

  it('accepts a token in the Authorization header', async () => {
    const { url, seen } = await curious()
    await (await hello(url, { authorization: 'Bearer s3cret' })).receive('welcome')
    expect(seen[0]?.token).to.equal('s3cret')
  })

  it('accepts a token in a subprotocol, and does not send it back', async () => {
    const { url, port, seen } = await curious()
    const encoded = `bearer.${Buffer.from('s3cret ✓').toString('base64url')}`
    const client = await hello(url, {}, [encoded, subprotocol])
    await client.receive('welcome')
    expect(client.socket.protocol).to.equal(subprotocol)
    expect(seen[0]?.token).to.equal('s3cret ✓')
    const socket = await dial(port)
    const offered = { 'sec-websocket-protocol': `${encoded}, ${subprotocol}` }
    expect(await headOf(socket, upgradeHead('/', offered))).to.not.include(encoded)
    socket.destroy()
  })

  it('prefers the token of the hello message', async () => {
    const { url, seen } = await curious()
    const client = new RawClient(url, { headers: { authorization: 'Bearer old' } })
    await client.opened()
    client.send({ type: 'hello', token: 'new' })
    await client.receive('welcome')
    expect(seen[0]?.token).to.equal('new')
    client.drop()
  })

  it('ignores a token in the URL', async () => {
    const { url, seen, notices } = await curious()
    const client = await hello(`${url}/?token=s3cret&access_token=s3cret`)
    expect(await client.closed()).to.include({ code: 4401 })
    expect(seen[0]?.token).to.equal(undefined)
    expect(notices.causes).to.deep.equal(['unauthorized'])
  })

  it('refuses a malformed token before the upgrade', async () => {
    const { port, notices } = await curious()
    const malformed: Record<string, string>[] = [
      { authorization: `Bearer ${'x'.repeat(3_073)}` },
      { 'sec-websocket-protocol': `${subprotocol}, bearer.a+b` },
      { 'sec-websocket-protocol': `${subprotocol}, bearer.` },
    ]
    for (const headers of malformed) {
      expect(await statusOf(port, upgradeHead('/', headers))).to.match(/ 400 /)
    }
    expect(notices.causes).to.deep.equal(['token', 'token', 'token'])
  })

  it('refuses a token without TLS, by the header of a trusted proxy', async () => {
    const { url, seen, notices } = await curious({ trustedProxies: ['127.0.0.1'] })
    const open = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http' }
    const closed = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' }
    const refused = await hello(url, { ...open, authorization: 'Bearer t' })
    expect(await refused.closed()).to.include({ code: 4403 })
    expect(seen).to.deep.equal([])
    await (await hello(url, { ...closed, authorization: 'Bearer t' })).receive('welcome')
    expect(seen[0]).to.include({ remoteAddress: '203.0.113.9' })
    expect(notices.causes).to.deep.equal(['insecure'])
  })

  it('accepts a token without TLS if allowInsecure is set', async () => {
    const { url } = await curious({ trustedProxies: ['127.0.0.1'], allowInsecure: true })
    await (await hello(url, { authorization: 'Bearer t', 'x-forwarded-for': '10.1.1.1' })).receive(
      'welcome',
    )
  })

  it('trusts forwarded addresses of trusted proxies only, and only their part of a chain', async () => {
    const chain = '198.51.100.7, 203.0.113.9, 10.2.2.2'
    const trusting = await curious({
      trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'],
      allowInsecure: true,
    })
    const headers = { authorization: 'Bearer t', 'x-forwarded-for': chain }
    await (await hello(trusting.url, headers)).receive('welcome')
    expect(trusting.seen[0]?.remoteAddress).to.equal('203.0.113.9')
    const careful = await curious()
    await (await hello(careful.url, headers)).receive('welcome')
    expect(careful.seen[0]?.remoteAddress).to.equal('127.0.0.1')
  })

  it('reports the address of the refused client, and not of its proxy', async () => {
    const { port, notices } = await broker({ trustedProxies: ['127.0.0.1'] })
    const forwarded = { origin: 'https://evil.example', 'x-forwarded-for': '203.0.113.9' }
    expect(await statusOf(port, upgradeHead('/', forwarded))).to.match(/ 403 /)
    const { origin } = forwarded
    expect(notices.all).to.deep.equal([{ cause: 'origin', remoteAddress: '203.0.113.9', origin }])
  })

  it('limits the upgrades per second, for each address and in total', () => {
    const { clock, pass } = pausedClock()
    const settings = settingsFrom({
      limits: { connectionsPerSecond: 3, connectionsPerSecondPerAddress: 1 },
      trustedProxies: ['127.0.0.1'],
      allowUnauthenticated: true,
    })
    const keeper = new UpgradePolicy(settings, clock)
    const reasons = new Set<string>()
    const from = (address: string) => {
      const answer = keeper.admit(requestFrom(address))
      if (!('status' in answer)) return 'in'
      reasons.add(answer.reason)
      return `${answer.status.slice(0, 3)} ${answer.cause}, for ${answer.mayRetry ? 'now' : 'good'}`
    }
    expect(from('203.0.113.1')).to.equal('in')
    expect(from('203.0.113.1')).to.equal('429 connections_per_second_per_address, for now')
    expect(from('203.0.113.2')).to.equal('in')
    expect(from('203.0.113.3')).to.equal('in')
    expect(from('203.0.113.4')).to.equal('503 connections_per_second, for now')
    expect([...reasons]).to.deep.equal([
      'Too many connections from this address in a second: the limit of 1 is reached ' +
        '(connectionsPerSecondPerAddress)',
      'Too many connections in a second: the limit of 3 is reached (connectionsPerSecond)',
    ])
    pass(1_000)
    expect(from('203.0.113.1')).to.equal('in')
  })

  it('shares the upgrades per second between addresses', () => {
    const { clock, pass } = pausedClock()
    const settings = settingsFrom({
      limits: { connectionsPerSecond: 50, connectionsPerSecondPerAddress: 10 },
      trustedProxies: ['127.0.0.1'],
      allowUnauthenticated: true,
    })
    const keeper = new UpgradePolicy(settings, clock)
    const isIn = (address: string) => !('status' in keeper.admit(requestFrom(address)))
    const crowd = Array.from({ length: 10 }, (_, i) => `10.0.0.${i}`)
    let many = 0
    for (let round = 0; round < 10; round++) many += crowd.filter(isIn).length
    expect(many, 'as many as may come at once').to.equal(50)
    const clients = Array.from({ length: 60 }, (_, i) => `203.0.113.${i}`)
    const first = clients.filter(isIn)
    expect(first, 'in the place of all that came again').to.deep.equal(clients.slice(0, 40))
    pass(500)
    expect(crowd.filter(isIn), 'who came again pay for it').to.deep.equal([])
    let served = 0
    for (let second = 0; second < 20; second++) {
      for (let tenth = 0; tenth < 10; tenth++) {
        for (const address of crowd) if (isIn(address)) served++
        if (isIn(`198.51.${second}.${tenth}`)) served += 1_000
        pass(100)
      }
    }
    expect(Math.floor(served / 1_000), 'clients, all but those of the first debts').to.be.at.least(
      190,
    )
    expect(served % 1_000, 'the crowd gets the rest').to.be.within(700, 810)
  })

  it('closes with 1009 after a frame beyond frameBytes', async () => {
    const { url } = await broker({ limits: { frameBytes: 1_024 } })
    const client = await RawClient.open(url)
    client.send({ type: 'unlock', id: 1, fence: 1, padding: 'x'.repeat(1_024) })
    expect(await client.closed()).to.include({ code: 1009 })
  })

  it('answers "unavailable" instead of "unauthorized" when tokens cannot be checked', async () => {
    const { HoldfastError } = await import('@holdfast/server')
    const { url } = await broker({
      authenticate: () => {
        throw new HoldfastError('UNAVAILABLE', 'the directory is away')
      },
    })
    expect(await (await hello(url)).closed()).to.include({ code: 1013 })
  })
})

/** What proxies, tunnels and CDNs add to a request, one of each kind. */
const signsOfProxies = `\
Via: 1.1 proxy
Forwarded: for=203.0.113.9
X-Forwarded-For: 203.0.113.9
X-Forwarded-Proto: https
X-Forwarded-Host: locks.example
X-Forwarded-Port: 443
X-Forwarded-Server: front
X-Forwarded: 203.0.113.9
Forwarded-For: 203.0.113.9
X-Original-Forwarded-For: 203.0.113.9
X-Original-URL: /
X-Real-IP: 203.0.113.9
X-Client-IP: 203.0.113.9
Client-IP: 203.0.113.9
True-Client-IP: 203.0.113.9
X-Cluster-Client-IP: 203.0.113.9
X-Remote-Addr: 203.0.113.9
X-Originating-IP: 203.0.113.9
X-ProxyUser-Ip: 203.0.113.9
WL-Proxy-Client-IP: 203.0.113.9
CF-Connecting-IP: 203.0.113.9
CF-Connecting-IPv6: 2001:db8::1
CF-Ray: 230b030023ae2822-SJC
CDN-Loop: cloudflare
Fly-Client-IP: 203.0.113.9
Fastly-Client-IP: 203.0.113.9
X-Azure-ClientIP: 203.0.113.9
X-Appengine-User-IP: 203.0.113.9
X-Nf-Client-Connection-Ip: 203.0.113.9
DO-Connecting-IP: 203.0.113.9
X-Envoy-External-Address: 203.0.113.9
X-Amzn-Trace-Id: Root=1-67891233
X-Amz-Cf-Id: abc
X-Cloud-Trace-Context: 1/1
X-Vercel-Id: fra1
Tailscale-User-Login: ann@example.com
X-ARR-LOG-ID: 1
X-Scheme: https
X-SSL-Client-Verify: SUCCESS
Front-End-Https: on
Max-Forwards: 9
Proxy-Connection: keep-alive`.split('\n')

function pausedClock() {
  const machine = new FakeEnvironment()
  return { clock: machine.clock, pass: (ms: number) => machine.pass(ms) }
}

/** An upgrade that a trusted proxy brings from this address. */
function requestFrom(address: string): IncomingMessage {
  return {
    headers: { host: '127.0.0.1', 'x-forwarded-for': address },
    socket: { localAddress: '127.0.0.1', remoteAddress: '127.0.0.1' },
  } as unknown as IncomingMessage
}
