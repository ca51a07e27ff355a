/**
 * Tests the upgrade policy, which decides whether the broker accepts a WebSocket upgrade. The
 * attackers are web pages, unknown clients and clients behind proxies. Most tests send real HTTP
 * headers over sockets. The HTTP status of an accepted upgrade is 101.
 */
import type { IncomingMessage } from 'node:http'
import { type BrokerOptions, type Credentials, createBroker, HoldfastError } from '@holdfast/server'
import {
  isProxyHeader,
  ordinaryHeaders,
  settingsFrom,
  UpgradePolicy,
} from '@holdfast/server/internal'
import { brokerMetrics } from '@holdfast/server/metrics'
import { subprotocol } from '@holdfast/shared'
import { expect } from 'chai'
import { openTcp, RawClient, sendAndReadHead, sendAndReadStatus, upgradeHead } from '../e2e/raw.js'
import { Stage } from '../e2e/stage.js'
import { FakeEnvironment } from '../server/fakeEnvironment.js'
import { RefusalRecorder } from './refusalRecorder.js'

describe('the upgrade policy', () => {
  const stage = Stage.forEachTest()

  /** Starts a broker, and records its refusals. */
  async function startBroker(options: BrokerOptions = {}) {
    const refusals = new RefusalRecorder()
    const broker = createBroker({ observer: refusals, ...options })
    stage.onCleanUp(() => broker.close())
    return { ...(await broker.listen({ port: 0 })), refusals }
  }

  /** Starts a broker that records the credentials of each client, and accepts any token. */
  async function startRecordingBroker(options: BrokerOptions = {}) {
    const credentialsSeen: Credentials[] = []
    const authenticate = (credentials: Credentials) => {
      credentialsSeen.push(credentials)
      return credentials.token
    }
    return { ...(await startBroker({ authenticate, ...options })), credentialsSeen }
  }

  /** Connects with these headers and sends a hello. */
  async function sendHello(
    url: string,
    headers: Record<string, string> = {},
    protocols?: string[],
  ) {
    const client = new RawClient(url, { headers, ...(protocols && { protocols }) })
    await client.opened()
    client.send({ type: 'hello' })
    stage.onCleanUp(() => client.drop())
    return client
  }

  it('refuses a page of another origin before the upgrade', async () => {
    const { port, refusals } = await startBroker({ origins: ['https://app.example'] })
    for (const origin of ['https://evil.example', 'null', 'http://app.example']) {
      expect(await sendAndReadStatus(port, upgradeHead('/', { origin }))).to.match(/ 403 /)
    }
    expect(
      await sendAndReadStatus(port, upgradeHead('/', { origin: 'https://app.example' })),
    ).to.match(/ 101 /)
    expect(refusals.causes).to.deep.equal(['origin', 'origin', 'origin'])
  })

  it('refuses a host name that is not allowed (DNS rebinding)', async () => {
    const { port, refusals } = await startBroker()
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '10.0.0.1',
      'localhost.evil.example',
    ]) {
      expect(await sendAndReadStatus(port, upgradeHead('/', { host })), host).to.match(/ 403 /)
    }
    for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]:7420', 'LOCALHOST']) {
      expect(await sendAndReadStatus(port, upgradeHead('/', { host })), host).to.match(/ 101 /)
    }
    expect(new Set(refusals.causes)).to.deep.equal(new Set(['host']))
  })

  it('accepts the host names of the option hosts', async () => {
    const { port } = await startBroker({ hosts: ['Locks.example'] })
    expect(await sendAndReadStatus(port, upgradeHead('/', { host: 'locks.example' }))).to.match(
      / 101 /,
    )
    expect(await sendAndReadStatus(port, upgradeHead('/', { host: 'other.example' }))).to.match(
      / 403 /,
    )
  })

  it('refuses clients behind a proxy if the broker has no authenticate', async () => {
    const { port, refusals } = await startBroker({ metrics: brokerMetrics() })
    const statusCodes = async (headers: Record<string, string>) => {
      // These two headers turn the upgrade into an ordinary request.
      const get = (path: string) =>
        sendAndReadStatus(port, upgradeHead(path, { connection: 'close', upgrade: '', ...headers }))
      const upgrade = await sendAndReadStatus(port, upgradeHead('/', headers))
      const answers = ['/metrics', '/status', '/dashboard/'].map(get)
      const statusLines = [upgrade, ...(await Promise.all(answers))]
      return statusLines.map((line) => line.split(' ')[1])
    }
    expect(await statusCodes({})).to.deep.equal(['101', '200', '200', '200'])
    for (const header of proxyHeaders) {
      const [name, value] = header.split(': ') as [string, string]
      // 426 is the answer to each ordinary request that the broker does not serve.
      const refused = ['403', '426', '426', '426']
      expect(await statusCodes({ [name]: value }), header).to.deep.equal(refused)
    }
    expect(new Set(refusals.causes)).to.deep.equal(new Set(['not_local']))
  })

  it('accepts programs on this machine with headers that no proxy adds', async () => {
    const { port } = await startBroker()
    const headerSets: Record<string, string>[] = [
      { 'user-agent': 'Mozilla/5.0', 'accept-language': 'de', 'sec-fetch-site': 'same-origin' },
      { 'x-request-id': '1', traceparent: '00-0-0-01', cookie: 'a=b', 'x-transport': 'ws' },
      { pragma: 'no-cache', 'sec-ch-ua': '"Chromium"', dnt: '1', priority: 'u=1', te: 'trailers' },
    ]
    for (const headers of headerSets)
      expect(await sendAndReadStatus(port, upgradeHead('/', headers))).to.match(/ 101 /)
  })

  it('lists the ordinary headers in lower case, and no header of a proxy among them', () => {
    expect([...ordinaryHeaders].filter(isProxyHeader)).to.deep.equal([])
    expect([...ordinaryHeaders].filter((name) => name !== name.toLowerCase())).to.deep.equal([])
  })

  it('treats only a connection from loopback to loopback as local', () => {
    const policy = new UpgradePolicy(settingsFrom({}), new FakeEnvironment().clock)
    const causeOf = (localAddress: string, remoteAddress: string) => {
      const socket = { localAddress, remoteAddress }
      const decision = policy.admit({ headers: { host: 'localhost' }, socket } as IncomingMessage)
      return 'status' in decision ? decision.cause : 'accepted'
    }
    expect(causeOf('127.0.0.1', '127.0.0.1')).to.equal('accepted')
    expect(causeOf('::1', '::1')).to.equal('accepted')
    expect(causeOf('::ffff:127.0.0.1', '::ffff:127.0.0.2')).to.equal('accepted')
    expect(causeOf('127.0.0.1', '10.0.0.9')).to.equal('not_local')
    expect(causeOf('::1', '2001:db8::1')).to.equal('not_local')
    expect(causeOf('127.0.0.1', '')).to.equal('not_local')
  })

  it('accepts a token in the Authorization header', async () => {
    const { url, credentialsSeen } = await startRecordingBroker()
    await (await sendHello(url, { authorization: 'Bearer s3cret' })).receive('welcome')
    expect(credentialsSeen[0]?.token).to.equal('s3cret')
  })

  it('accepts a token in a subprotocol, and does not send it back', async () => {
    const { url, port, credentialsSeen } = await startRecordingBroker()
    const encoded = `bearer.${Buffer.from('s3cret ✓').toString('base64url')}`
    const client = await sendHello(url, {}, [encoded, subprotocol])
    await client.receive('welcome')
    expect(client.socket.protocol).to.equal(subprotocol)
    expect(credentialsSeen[0]?.token).to.equal('s3cret ✓')
    const socket = await openTcp(port)
    const offered = { 'sec-websocket-protocol': `${encoded}, ${subprotocol}` }
    expect(await sendAndReadHead(socket, upgradeHead('/', offered))).to.not.include(encoded)
    socket.destroy()
  })

  it('prefers the token of the hello message to the token of the header', async () => {
    const { url, credentialsSeen } = await startRecordingBroker()
    const client = new RawClient(url, { headers: { authorization: 'Bearer old' } })
    await client.opened()
    client.send({ type: 'hello', token: 'new' })
    await client.receive('welcome')
    expect(credentialsSeen[0]?.token).to.equal('new')
    client.drop()
  })

  it('ignores a token in the URL', async () => {
    const { url, credentialsSeen, refusals } = await startRecordingBroker()
    const client = await sendHello(`${url}/?token=s3cret&access_token=s3cret`)
    expect(await client.closed()).to.include({ code: 4401 })
    expect(credentialsSeen[0]?.token).to.equal(undefined)
    expect(refusals.causes).to.deep.equal(['unauthorized'])
  })

  it('refuses a malformed token before the upgrade', async () => {
    const { port, refusals } = await startRecordingBroker()
    // A token has at most 3,072 characters.
    const malformedHeaders: Record<string, string>[] = [
      { authorization: `Bearer ${'x'.repeat(3_073)}` },
      { 'sec-websocket-protocol': `${subprotocol}, bearer.a+b` },
      { 'sec-websocket-protocol': `${subprotocol}, bearer.` },
    ]
    for (const headers of malformedHeaders) {
      expect(await sendAndReadStatus(port, upgradeHead('/', headers))).to.match(/ 400 /)
    }
    expect(refusals.causes).to.deep.equal(['token', 'token', 'token'])
  })

  it('refuses a token if a trusted proxy received it without TLS', async () => {
    const { url, credentialsSeen, refusals } = await startRecordingBroker({
      trustedProxies: ['127.0.0.1'],
    })
    const headersWithoutTls = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'http' }
    const headersWithTls = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' }
    const refused = await sendHello(url, { ...headersWithoutTls, authorization: 'Bearer t' })
    expect(await refused.closed()).to.include({ code: 4403 })
    expect(credentialsSeen).to.deep.equal([])
    await (await sendHello(url, { ...headersWithTls, authorization: 'Bearer t' })).receive(
      'welcome',
    )
    expect(credentialsSeen[0]).to.include({ remoteAddress: '203.0.113.9' })
    expect(refusals.causes).to.deep.equal(['insecure'])
  })

  it('accepts a token without TLS if allowInsecure is set', async () => {
    const { url } = await startRecordingBroker({
      trustedProxies: ['127.0.0.1'],
      allowInsecure: true,
    })
    await (
      await sendHello(url, { authorization: 'Bearer t', 'x-forwarded-for': '10.1.1.1' })
    ).receive('welcome')
  })

  it('uses the last forwarded address that is not of a trusted proxy, and none if it trusts no proxy', async () => {
    const chain = '198.51.100.7, 203.0.113.9, 10.2.2.2'
    const trustingBroker = await startRecordingBroker({
      trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'],
      allowInsecure: true,
    })
    const headers = { authorization: 'Bearer t', 'x-forwarded-for': chain }
    await (await sendHello(trustingBroker.url, headers)).receive('welcome')
    expect(trustingBroker.credentialsSeen[0]?.remoteAddress).to.equal('203.0.113.9')
    const distrustingBroker = await startRecordingBroker()
    await (await sendHello(distrustingBroker.url, headers)).receive('welcome')
    expect(distrustingBroker.credentialsSeen[0]?.remoteAddress).to.equal('127.0.0.1')
  })

  it('reports the address of the refused client, and not of its proxy', async () => {
    const { port, refusals } = await startBroker({ trustedProxies: ['127.0.0.1'] })
    const forwarded = { origin: 'https://evil.example', 'x-forwarded-for': '203.0.113.9' }
    expect(await sendAndReadStatus(port, upgradeHead('/', forwarded))).to.match(/ 403 /)
    const { origin } = forwarded
    expect(refusals.all).to.deep.equal([{ cause: 'origin', remoteAddress: '203.0.113.9', origin }])
  })

  it('limits the upgrades per second for each address and in total', () => {
    const { clock, pass } = pausedClock()
    const settings = settingsFrom({
      limits: { connectionsPerSecond: 3, connectionsPerSecondPerAddress: 1 },
      trustedProxies: ['127.0.0.1'],
      allowUnauthenticated: true,
    })
    const policy = new UpgradePolicy(settings, clock)
    const reasons = new Set<string>()
    const upgradeFrom = (address: string) => {
      const decision = policy.admit(requestFrom(address))
      if (!('status' in decision)) return 'accepted'
      const { status, cause, reason, mayRetry } = decision
      reasons.add(reason)
      return `${status.slice(0, 3)} ${cause}, ${mayRetry ? 'may retry' : 'must not retry'}`
    }
    expect(upgradeFrom('203.0.113.1')).to.equal('accepted')
    expect(upgradeFrom('203.0.113.1')).to.equal('429 connections_per_second_per_address, may retry')
    expect(upgradeFrom('203.0.113.2')).to.equal('accepted')
    expect(upgradeFrom('203.0.113.3')).to.equal('accepted')
    expect(upgradeFrom('203.0.113.4')).to.equal('503 connections_per_second, may retry')
    expect([...reasons]).to.deep.equal([
      'Too many connections from this address in a second: the limit of 1 is reached ' +
        '(connectionsPerSecondPerAddress)',
      'Too many connections in a second: the limit of 3 is reached (connectionsPerSecond)',
    ])
    pass(1_000)
    expect(upgradeFrom('203.0.113.1')).to.equal('accepted')
  })

  it('counts all spellings of an IPv4 client as one address, and two clients as two', () => {
    const settings = settingsFrom({
      limits: { connectionsPerSecondPerAddress: 1 },
      trustedProxies: ['127.0.0.1'],
      allowUnauthenticated: true,
    })
    // In hexadecimal, 203.0.113.1 is cb00:7101.
    const spellingsOf = (lastPart: number) => [
      ...[`203.0.113.${lastPart}`, `::ffff:203.0.113.${lastPart}`, `::FFFF:203.0.113.${lastPart}`],
      ...[`::ffff:cb00:710${lastPart}`, `0:0:0:0:0:ffff:203.0.113.${lastPart}`],
    ]
    for (const spelling of spellingsOf(1)) {
      const policy = new UpgradePolicy(settings, pausedClock().clock)
      const isAccepted = (address: string) => !('status' in policy.admit(requestFrom(address)))
      expect(isAccepted(spelling), spelling).to.equal(true)
      expect(spellingsOf(1).filter(isAccepted), spelling).to.deep.equal([])
      expect(isAccepted('203.0.113.2'), spelling).to.equal(true)
      expect(spellingsOf(2).filter(isAccepted), spelling).to.deep.equal([])
    }
  })

  it('shares the upgrades per second fairly between addresses', () => {
    const { clock, pass } = pausedClock()
    const settings = settingsFrom({
      limits: { connectionsPerSecond: 50, connectionsPerSecondPerAddress: 10 },
      trustedProxies: ['127.0.0.1'],
      allowUnauthenticated: true,
    })
    const policy = new UpgradePolicy(settings, clock)
    const isAccepted = (address: string) => !('status' in policy.admit(requestFrom(address)))
    const crowd = Array.from({ length: 10 }, (_, i) => `10.0.0.${i}`)
    let acceptedCount = 0
    for (let round = 0; round < 10; round++) acceptedCount += crowd.filter(isAccepted).length
    expect(acceptedCount, 'the upgrades of one second').to.equal(50)
    const newAddresses = Array.from({ length: 60 }, (_, i) => `203.0.113.${i}`)
    const acceptedAddresses = newAddresses.filter(isAccepted)
    // An upgrade is a repeat if its address had an earlier upgrade in this second. Ten addresses
    // made the 50 upgrades, so 40 were repeats. Each repeat lets one new address exceed the total.
    // These 40 upgrades are taken from the total of the next second.
    expect(acceptedAddresses).to.deep.equal(newAddresses.slice(0, 40))
    pass(500)
    expect(crowd.filter(isAccepted), 'the total has no upgrades left').to.deep.equal([])
    let crowdUpgrades = 0
    let newAddressUpgrades = 0
    for (let second = 0; second < 20; second++) {
      for (let tenth = 0; tenth < 10; tenth++) {
        for (const address of crowd) if (isAccepted(address)) crowdUpgrades++
        if (isAccepted(`198.51.${second}.${tenth}`)) newAddressUpgrades++
        pass(100)
      }
    }
    // At most 10 of the 200 new addresses are refused. The crowd gets the upgrades that the new
    // addresses do not need: about 800 of the 1,000 upgrades in 20 s.
    expect(newAddressUpgrades).to.be.at.least(190)
    expect(crowdUpgrades).to.be.within(700, 810)
  })

  it('leaves large frames to the broker, which closes with 1009 after a frame beyond frameBytes', async () => {
    const { url } = await startBroker({ limits: { frameBytes: 1_024 } })
    const client = await RawClient.open(url)
    client.send({ type: 'unlock', id: 1, fence: 1, padding: 'x'.repeat(1_024) })
    expect(await client.closed()).to.include({ code: 1009 })
  })

  it('leaves tokens to the broker, which closes with 1013 while authenticate is unavailable', async () => {
    const { url } = await startBroker({
      authenticate: () => {
        throw new HoldfastError('UNAVAILABLE', 'the directory is away')
      },
    })
    expect(await (await sendHello(url)).closed()).to.include({ code: 1013 })
  })
})

/** The headers that proxies, tunnels and CDNs add to a request. */
const proxyHeaders = `\
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
Proxy-Connection: keep-alive
X-Proxied-By: front
X-HAProxy: 1
X-Served-By: cache-fra-1
X-CDN: Imperva
CDN-RequestId: 1
X-Akamai: 1
Ngrok-Trace-Id: 1
X-Ngrok: 1
X-MS-Client-Principal: abc
X-MS-DevTunnel: 1
X-Authenticated-User: ann
X-Consumer-Id: 1
X-Gateway: front
X-Caddy: 1`.split('\n')

/** A clock that only the test moves. */
function pausedClock() {
  const environment = new FakeEnvironment()
  return { clock: environment.clock, pass: (ms: number) => environment.advance(ms) }
}

/** An upgrade request that a trusted proxy forwards from this address. */
function requestFrom(address: string): IncomingMessage {
  return {
    headers: { host: '127.0.0.1', 'x-forwarded-for': address },
    socket: { localAddress: '127.0.0.1', remoteAddress: '127.0.0.1' },
  } as unknown as IncomingMessage
}
