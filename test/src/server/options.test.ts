/**
 * Tests the options of a broker, the errors for invalid options, and the upgrade policy. This
 * policy decides by host, origin and address whether the broker accepts a WebSocket upgrade. The
 * lease is the time that a broker keeps a session without a message of its client. During a quiet
 * start, a broker grants only requests with the option `steal`.
 */

import type { IncomingMessage } from 'node:http'
import { getHeapStatistics } from 'node:v8'
import { createBroker, HoldfastError } from '@holdfast/server'
import {
  type BrokerOptions,
  nodeEnvironment,
  settingsFrom,
  UpgradePolicy,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'

/** The code and the message of the error that `act` throws; `nothing` if `act` does not throw. */
function refusalOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof HoldfastError) return `${error.code} ${error.message}`
    throw error
  }
  return 'nothing'
}

describe('options', () => {
  it('have the documented defaults', () => {
    expect(settingsFrom({})).to.deep.equal({
      authenticate: undefined,
      authorize: undefined,
      allowUnauthenticated: false,
      allowInsecure: false,
      cell: undefined,
      hosts: new Set(),
      trustedProxies: undefined,
      tls: undefined,
      origins: new Set(),
      dev: false,
      dashboard: undefined,
      lease: { min: 2_000, max: 300_000, default: 15_000 },
      limits: {
        connections: 65_536,
        // A tenth of the connections.
        pendingConnections: 6_554,
        pendingConnectionsPerAddress: Number.POSITIVE_INFINITY,
        connectionsPerSecond: Number.POSITIVE_INFINITY,
        connectionsPerSecondPerAddress: Number.POSITIVE_INFINITY,
        helloMs: 5_000,
        sessionsPerPrincipal: Number.POSITIVE_INFINITY,
        sessionsPerAddress: Number.POSITIVE_INFINITY,
        messagesPerSecond: Number.POSITIVE_INFINITY,
        messageBurst: 200,
        workPerSecond: 1_000_000,
        frameBytes: 65_536,
        keyBytes: 512,
        keysPerSet: 64,
        metadataBytes: 4_096,
        locksPerSession: 10_000,
        waitersPerKey: 100_000,
        unacknowledged: 1_024,
        barriersPerSession: 1_000,
        maxHoldMs: Number.POSITIVE_INFINITY,
        keptResults: 1_000,
        keptResultBytes: 16 * 1024 * 1024,
        deadlockVisits: 10_000,
        stolenLocks: 10_000,
        watchesPerSession: 1_000,
        slowBytes: 262_144,
        slowMs: 5_000,
        backlogBytes: 1_048_576,
        memoryBytes: Math.floor(getHeapStatistics().heap_size_limit / 2),
      },
      quietStart: 0,
    })
  })

  it('have their defaults if they are set to undefined', () => {
    const { limits, lease } = settingsFrom({
      limits: { helloMs: undefined, slowMs: 7 } as object,
      lease: { max: undefined, default: 3_000 } as object,
    })
    expect(limits).to.include({ helloMs: 5_000, slowMs: 7 })
    expect(lease).to.deep.equal({ min: 2_000, max: 300_000, default: 3_000 })
  })

  it('accept a quiet start as a number of ms, or as `true`, which means the longest lease', () => {
    expect(settingsFrom({ quietStart: true }).quietStart).to.equal(300_000)
    expect(settingsFrom({ quietStart: 5 }).quietStart).to.equal(5)
    expect(settingsFrom({ quietStart: false }).quietStart).to.equal(0)
  })

  // By default, `lease.min` is 2,000, `lease.default` is 15,000, and `lease.max` is 300,000.
  const refused: [BrokerOptions, RegExp][] = [
    [
      { limits: { connections: 0 } },
      /^INVALID_OPTION limits\.connections must be a positive integer, not 0$/,
    ],
    [{ limits: { helloMs: 1.5 } }, /limits\.helloMs/],
    [{ limits: { slowBytes: Number.NaN } }, /limits\.slowBytes/],
    [{ limits: { locksPerSession: '10' as unknown as number } }, /limits\.locksPerSession/],
    [{ lease: { min: 0 } }, /lease\.min must be an integer from 1 to 2147483647 ms, not 0/],
    [{ lease: { max: 2 ** 31 } }, /lease\.max/],
    [{ lease: { min: 20_000 } }, /must be in rising order, not /],
    [
      { lease: { defualt: 20_000 } as object },
      /lease has no option "defualt": did you mean "default"\?/,
    ],
    [{ lease: { max: 10_000 } }, /must be in rising order, not /],
    [{ quietStart: -1 }, /quietStart must be true, or an integer from 0 to 2147483647 ms, not -1/],
    [{ quietStart: 2.5 }, /quietStart/],
  ]
  for (const [options, message] of refused) {
    it(`are refused if their value is ${JSON.stringify(options)}`, () => {
      expect(refusalOf(() => createBroker(options))).to.match(message)
    })
  }
})

describe('options of the methods of a broker', () => {
  it('are refused if a query is invalid', async () => {
    const broker = createBroker()
    expect(refusalOf(() => broker.query({ key: '' }))).to.match(/^INVALID_KEY/)
    expect(refusalOf(() => broker.query({ prefix: '\n' }))).to.match(/^INVALID_KEY/)
    expect(refusalOf(() => broker.query({ key: 'a', prefix: 'a' }))).to.match(/^INVALID_OPTION/)
    expect(refusalOf(() => broker.query({ limit: 0 }))).to.match(/^INVALID_OPTION limit/)
    expect(refusalOf(() => broker.query({ limit: 1_001 }))).to.match(/^INVALID_OPTION limit/)
    const noLocks = { held: [], waiting: [], heldCount: 0, waitingCount: 0 }
    expect(broker.query({ prefix: '', limit: 1_000 })).to.deep.equal(noLocks)
    await broker.close()
  })

  it('are refused if a port or a drain time is invalid', async () => {
    const broker = createBroker()
    const codeOf = (promise: Promise<unknown>): Promise<string> =>
      promise.then(
        () => 'nothing',
        (error: HoldfastError) => error.code,
      )
    expect(await codeOf(broker.listen({ port: -1 }))).to.equal('INVALID_OPTION')
    expect(await codeOf(broker.listen({ port: 65_536 }))).to.equal('INVALID_OPTION')
    expect(await codeOf(broker.close({ drain: -1 }))).to.equal('INVALID_TIMEOUT')
    expect(await codeOf(broker.close({ drain: 2 ** 31 }))).to.equal('INVALID_TIMEOUT')
    await broker.close()
  })
})

describe('options: the error of listen', () => {
  const stage = Stage.forEachTest()

  it('says whether the port is in use or the machine does not have the address', async () => {
    const { port } = await stage.startBroker()
    // Without these options, the broker would refuse to listen beyond loopback.
    const options = { authenticate: () => 'ann', allowInsecure: true }
    const { broker } = await stage.startBroker(options)
    const usedPortError = await expectRejection(broker.listen({ port }), 'UNAVAILABLE')
    expect(usedPortError.message).to.equal(
      `Cannot listen on 127.0.0.1:${port}: another program is using the port, perhaps another Holdfast broker: stop that program, or set \`port\` to another port`,
    )
    // This address is reserved for documentation.
    const noAddressError = await expectRejection(
      broker.listen({ port: 0, host: '192.0.2.1' }),
      'UNAVAILABLE',
    )
    expect(noAddressError.message).to.equal(
      'Cannot listen on 192.0.2.1:0: this machine has no such address: set `host` to an address of this machine',
    )
  })
})

/** An upgrade request with this origin, which arrived at this local address. */
function request(origin: string | undefined, localAddress = '127.0.0.1'): IncomingMessage {
  const host = '127.0.0.1:7420'
  const headers = origin === undefined ? { host } : { host, origin }
  const socket = { localAddress, remoteAddress: '127.0.0.1' }
  return { headers, socket } as unknown as IncomingMessage
}

/** The upgrade policy of a broker with these options. */
function policyFor(options: BrokerOptions): UpgradePolicy {
  return new UpgradePolicy(settingsFrom(options), nodeEnvironment.clock)
}

/** The HTTP status by which the policy refuses an upgrade; undefined if accepted. */
function refusalStatus(policy: UpgradePolicy, upgrade: IncomingMessage): string | undefined {
  const decision = policy.admit(upgrade)
  return 'status' in decision ? decision.status : undefined
}

describe('the upgrade policy', () => {
  const authenticate = () => 'ann'

  it('accepts requests without an origin on loopback', () => {
    const policy = policyFor({})
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) {
      expect(refusalStatus(policy, request(undefined, address)), address).to.equal(undefined)
    }
  })

  it('refuses requests to an address beyond loopback, unless authenticate or allowUnauthenticated is set', () => {
    const toNetworkAddress = request(undefined, '192.168.1.7')
    const { headers } = toNetworkAddress
    // The policy treats an unknown local address as an address beyond loopback.
    const withoutAddress = { headers, socket: {} } as unknown as IncomingMessage
    for (const upgrade of [toNetworkAddress, withoutAddress]) {
      expect(refusalStatus(policyFor({}), upgrade)).to.equal('403 Forbidden')
      for (const options of [{ authenticate }, { allowUnauthenticated: true }]) {
        expect(refusalStatus(policyFor(options), upgrade)).to.equal(undefined)
      }
    }
  })

  it('refuses every origin that does not equal an origin in `origins`', () => {
    const origins = ['https://app.example']
    const policy = policyFor({ origins, authenticate })
    expect(refusalStatus(policy, request('https://app.example'))).to.equal(undefined)
    const refusedOrigins = [
      'https://app.example.evil.example',
      'http://app.example',
      'https://app.example:8443',
      'https://APP.example',
      'http://localhost',
      'null',
      '',
    ]
    for (const origin of refusedOrigins) {
      expect(refusalStatus(policy, request(origin)), origin).to.equal('403 Forbidden')
    }
  })

  it('accepts origins on loopback with `dev`, and no other origin', () => {
    const policy = policyFor({ dev: true })
    const local = ['http://localhost:5173', 'https://127.0.0.1', 'http://[::1]:8080']
    for (const origin of local) expect(refusalStatus(policy, request(origin))).to.equal(undefined)
    const refusedOrigins = [
      'https://app.example',
      'http://localhost.evil.example',
      'http://127.0.0.1.evil.example',
      'null',
      'file://',
      'not a url',
    ]
    for (const origin of refusedOrigins) {
      expect(refusalStatus(policy, request(origin)), origin).to.equal('403 Forbidden')
    }
  })

  it('forbids listening beyond loopback, unless authenticate or allowUnauthenticated is set', () => {
    const policy = policyFor({})
    const hasTls = false
    for (const host of ['0.0.0.0', '::', '192.168.1.7', 'example.org', '']) {
      expect(
        refusalOf(() => policy.checkHost(host, hasTls)),
        host,
      ).to.match(/^INVALID_OPTION.*authenti/)
    }
    for (const host of ['127.0.0.1', '127.0.0.2', '::1', 'localhost']) {
      expect(
        refusalOf(() => policy.checkHost(host, hasTls)),
        host,
      ).to.equal('nothing')
    }
    expect(
      refusalOf(() => policyFor({ allowUnauthenticated: true }).checkHost('0.0.0.0', hasTls)),
    ).to.equal('nothing')
  })

  it('forbids receiving tokens without TLS, unless allowInsecure or trustedProxies is set', () => {
    const check = (options: BrokerOptions, hasTls: boolean) =>
      refusalOf(() => policyFor({ authenticate, ...options }).checkHost('0.0.0.0', hasTls))
    const [withTls, withoutTls] = [true, false]
    expect(check({}, withoutTls)).to.match(/^INVALID_OPTION.*TLS/)
    expect(check({}, withTls)).to.equal('nothing')
    expect(check({ allowInsecure: true }, withoutTls)).to.equal('nothing')
    expect(check({ trustedProxies: ['10.0.0.0/8'] }, withoutTls)).to.equal('nothing')
  })
})
