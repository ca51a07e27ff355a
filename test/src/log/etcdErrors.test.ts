/**
 * Tests the errors of the engine that stores a shared command log on etcd. The log orders all
 * changes of the lock table. The engine must report wrong settings and broken states. For instance,
 * etcd is unreachable, has no leader, is full, or refuses the credentials.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { pipeline } from 'node:stream/promises'
import {
  type EngineOptions,
  EtcdEngine,
  nodeEnvironment,
  Transport,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { expectRejection, Stage } from '../e2e/stage.js'
import { makeCertificate } from '../ops/certificate.js'
import { makeScratchFolder } from '../ops/scratch.js'
import { EtcdCluster } from '../support/etcd.js'
import { needs } from '../support/needs.js'
import { logConfig, Reader } from './etcdStage.js'

const base64 = (text: string): string => Buffer.from(text).toString('base64')

/**
 * The range of all keys of the prefix `p`, as etcd expects it: from `p/` up to `p0`. The character
 * 0 is the next character after the slash.
 */
const allKeys = { key: base64('p/'), range_end: base64('p0') }

describe('log: a faulty etcd', function () {
  this.timeout(60_000)
  needs('etcd', 'openssl')
  const stage = Stage.forEachTest()

  /** Makes an engine, and closes the engine after the test. */
  function engine(endpoints: readonly string[], options: Partial<EngineOptions> = {}): EtcdEngine {
    const newEngine = new EtcdEngine(
      { endpoints, prefix: 'p', openTimeoutMs: 20_000, ...options },
      nodeEnvironment,
    )
    stage.onCleanUp(() => newEngine.close())
    return newEngine
  }

  /**
   * Makes an engine with a short timeout. After most faults the engine tries again until the
   * timeout, so a long timeout would delay the test. A server that runs must answer within the
   * timeout, also on a slow machine.
   */
  function impatientEngine(endpoints: readonly string[], openTimeoutMs = 3_000): EtcdEngine {
    return engine(endpoints, { openTimeoutMs })
  }

  /** Starts an etcd cluster, which is stopped after the test. */
  async function cluster(options: Parameters<typeof EtcdCluster.start>[0]): Promise<EtcdCluster> {
    const newCluster = await EtcdCluster.start(options)
    stage.onCleanUp(() => newCluster.stop())
    return newCluster
  }

  /** Starts an HTTP server in place of etcd. Returns its address. */
  async function standIn(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onCleanUp(() => server.close())
    stage.onCleanUp(() => server.closeAllConnections())
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** The message of the error with which the engine refuses to open. */
  async function refusal(
    refusedEngine: EtcdEngine,
    // Another try may help after UNAVAILABLE, but not after INVALID_OPTION.
    code: 'UNAVAILABLE' | 'INVALID_OPTION',
  ) {
    return (await expectRejection(refusedEngine.open(logConfig), code)).message
  }

  it('is reported by an error if it is unreachable', async () => {
    const [first, second] = ['http://127.0.0.1:1', 'http://127.0.0.1:2']
    expect(await refusal(impatientEngine([first!], 600), 'UNAVAILABLE')).to.equal(
      'etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED)',
    )
    expect(await refusal(impatientEngine([first!, second!], 600), 'UNAVAILABLE')).to.equal(
      'etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED), and no other of the 2 endpoints works',
    )
  })

  it('is reported if it does not answer', async () => {
    const url = await standIn(() => {})
    expect(await refusal(impatientEngine([url], 600), 'UNAVAILABLE')).to.match(
      / did not answer within \d+ ms$/,
    )
  })

  it('is reported if the server is another program', async () => {
    const pageUrl = await standIn((_, response) => response.writeHead(404).end('<h1>no</h1>'))
    expect(await refusal(engine([pageUrl]), 'INVALID_OPTION')).to.equal(
      `etcd at ${pageUrl} answered 404: it must be etcd 3.4 or newer with its JSON gateway`,
    )
    const textUrl = await standIn((_, response) => response.end('hello'))
    expect(await refusal(engine([textUrl]), 'INVALID_OPTION')).to.include(
      'sent an answer that is not JSON',
    )
    const otherUrl = await standIn((_, response) => response.end('{"status":"ok"}'))
    expect(await refusal(engine([otherUrl]), 'INVALID_OPTION')).to.include(
      'is not etcd 3.4 or newer',
    )
  })

  // etcd 3.6 and newer uses the field `code`, and older versions use `grpc_code`.
  for (const [status, body] of [
    [200, '{"error":{"code":16,"message":"invalid auth token","details":[]}}\n'],
    [200, '{"error":{"grpc_code":16,"http_code":401,"message":"invalid auth token"}}\n'],
    [401, '{"error":{"code":16,"message":"invalid auth token","details":[]}}\n'],
    [401, '{"code":16,"message":"invalid auth token","details":[]}'],
    [401, '{"error":"invalid auth token","code":16}'],
  ] as const) {
    it(`is reported as unauthenticated if it ends a stream with the status ${status} and ${body.trim()}`, async () => {
      const endpoint = await standIn((_, response) => response.writeHead(status).end(body))
      const transport = new Transport(nodeEnvironment.clock, /* isTls */ false, undefined)
      stage.onCleanUp(() => transport.close())
      const call = { endpoint, path: '/v3/watch', body: {}, token: undefined, deadlineMs: 20_000 }
      const error = await new Promise<Error>((resolve) => {
        transport.listen(call, { onData: () => {}, onLine: () => {}, onBroken: resolve })
      })
      expect(error).to.include({ kind: 'unauthenticated' })
      expect(error.message).to.include('answered "invalid auth token"')
    })
  }

  it('is reported if the server does not speak HTTP', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end('-ERR unknown command'))
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onCleanUp(() => server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect(await refusal(engine([url]), 'INVALID_OPTION')).to.match(
      /^etcd at \S+ does not answer like etcd \(HPE_\w+\): correct the address of the log$/,
    )
  })

  it('is waited for if it starts later', async () => {
    const { members, endpoints } = await cluster({ members: 1 })
    await members[0]!.kill()
    const opening = engine(endpoints).open(logConfig)
    await members[0]!.start()
    await opening
  })

  it('is reported if it has no leader, because most of its members are down', async () => {
    const { members, endpoints } = await cluster({})
    await Promise.all([members[0]!.kill(), members[2]!.kill()])
    const hasLeader = async (): Promise<boolean> => {
      const page = await (await fetch(`${endpoints[1]}/metrics`)).text()
      return /^etcd_server_has_leader 1$/m.test(page)
    }
    while (await hasLeader());
    expect(await refusal(impatientEngine(endpoints), 'UNAVAILABLE')).to.equal(
      `etcd at ${endpoints[1]} has no leader: start the majority of its members`,
    )
  })

  it('is reported if half of the endpoints belong to another cluster', async () => {
    const [first, second] = [await cluster({ members: 1 }), await cluster({ members: 1 })]
    const endpoints = [...first.endpoints, ...second.endpoints]
    expect(await refusal(engine(endpoints), 'INVALID_OPTION')).to.equal(
      `${endpoints[0]} and ${endpoints[1]} belong to different etcd clusters: use the endpoints of one cluster`,
    )
  })

  describe('with one unfit endpoint among others', () => {
    /** Opens an engine and appends an entry. Resolves with the warning of the engine. */
    async function warningOf(endpoints: readonly string[], options: Partial<EngineOptions> = {}) {
      const openedEngine = engine(endpoints, options)
      await openedEngine.open(logConfig)
      await openedEngine.append('b', 'entry')
      return openedEngine.warning
    }

    it('works through the others, without a warning if the unfit endpoint answers like a proxy', async () => {
      const { endpoints } = await cluster({ members: 2 })
      const proxy = await standIn((_, response) => response.writeHead(503).end('no upstream'))
      expect(await warningOf([proxy, ...endpoints])).to.equal(undefined)
      // Without the other endpoints, the engine does report the answer of the proxy.
      expect(await refusal(impatientEngine([proxy]), 'UNAVAILABLE')).to.equal(
        `etcd at ${proxy} answered 503, as a proxy does`,
      )
    })

    it('works through the others, with a warning if the unfit endpoint is another program', async () => {
      const { endpoints } = await cluster({ members: 1 })
      const pageUrl = await standIn((_, response) => response.writeHead(404).end('<h1>no</h1>'))
      const warning = `etcd at ${pageUrl} answered 404: it must be etcd 3.4 or newer with its JSON gateway`
      expect(await warningOf([pageUrl, ...endpoints])).to.equal(warning)
    })

    it('works through the others, with a warning if the certificate of the unfit endpoint is not trusted', async () => {
      const files = makeScratchFolder(stage)
      const { certPath, keyPath, cert } = makeCertificate(files)
      const untrusted = makeCertificate(makeScratchFolder(stage))
      const flags = ['--cert-file', certPath, '--key-file', keyPath]
      const { endpoints } = await cluster({ members: 1, tls: true, flags })
      const server = createTlsServer({ cert: untrusted.cert, key: untrusted.key }).listen(0)
      await once(server, 'listening')
      stage.onCleanUp(() => server.close())
      const untrustedUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
      expect(await warningOf([untrustedUrl, ...endpoints], { tls: { ca: cert } })).to.match(
        /has an untrusted certificate, or/,
      )
    })

    it('works through the others, with a warning and without writes to the unfit endpoint if this is of another cluster', async () => {
      const [ownCluster, otherCluster] = [
        await cluster({ members: 2 }),
        await cluster({ members: 1 }),
      ]
      const [foreign] = otherCluster.endpoints
      const warning =
        `etcd at ${foreign} belongs to another etcd cluster than the other endpoints: ` +
        'remove it from the log'
      const warnedEngine = engine([foreign!, ...ownCluster.endpoints])
      await warnedEngine.open(logConfig)
      expect(warnedEngine.warning).to.equal(warning)
      // The engine tries both members of its cluster in vain, but never the foreign member.
      for (const member of ownCluster.members) member.freeze()
      await expectRejection(warnedEngine.append('b', 'entry'), 'UNAVAILABLE')
      for (const member of ownCluster.members) member.thaw()
      const found = await otherCluster.members[0]!.ask<{ kvs?: unknown[] }>('/v3/kv/range', allKeys)
      expect(found.kvs).to.equal(undefined)
    })
  })

  it('is reported if it is full', async () => {
    const { members, endpoints } = await cluster({
      members: 1,
      // A small quota, which the test can use up.
      flags: ['--quota-backend-bytes', String(4 * 1024 * 1024)],
    })
    const writer = engine(endpoints)
    await writer.open(logConfig)
    // Later the test needs writes that a full etcd accepts, which are only removals.
    const spares = Array.from({ length: 200 }, (_, i) => base64(`spare ${i}`))
    for (const key of spares) await members[0]!.ask('/v3/kv/put', { key, value: '' })
    const append = () => writer.append('b', randomBytes(20_000).toString('hex'))
    const appendForever = async (): Promise<never> => {
      for (;;) await append()
    }
    expect(writer.warning).to.equal(undefined)
    let { warning } = writer
    while (warning === undefined) {
      await append()
      // An engine checks the quota when it opens, and then every minute. A new engine checks now.
      const newEngine = engine(endpoints)
      await newEngine.open(logConfig)
      warning = newEngine.warning
    }
    expect(warning).to.match(/^etcd at http\S+ has used (8|9|10)\d % of its quota$/)
    const problem = `etcd at ${endpoints[0]} has used up its quota: `
    const disarm = ', then run "etcdctl alarm disarm"'
    const raiseQuota = `${problem}restart each member with a larger --quota-backend-bytes${disarm}`
    expect((await expectRejection(appendForever(), 'UNAVAILABLE')).message).to.equal(raiseQuota)
    expect(await refusal(impatientEngine(endpoints), 'UNAVAILABLE')).to.equal(raiseQuota)
    // Repairs etcd as an operator does.
    const { header } = (await members[0]!.status())!
    await members[0]!.ask('/v3/kv/compaction', { revision: header.revision })
    const isFragmented = async (): Promise<boolean> => {
      const page = await (await fetch(`${endpoints[0]}/metrics`)).text()
      const sizes = ['db_total_size_in_use', 'db_total_size'].map((name) =>
        Number(new RegExp(`^etcd_mvcc_${name}_in_bytes (\\S+)$`, 'm').exec(page)?.[1]),
      )
      // The engine calls a database fragmented if less than 80 % of its file is in use.
      return sizes[0]! < 0.8 * sizes[1]!
    }
    // After a compaction, etcd does not count the freed space until etcd's next write.
    while (!(await isFragmented())) {
      await members[0]!.ask('/v3/kv/deleterange', { key: spares.pop() })
    }
    const defragment = `${problem}run "etcdctl defrag" for each member${disarm}`
    expect(await refusal(impatientEngine(endpoints), 'UNAVAILABLE')).to.equal(defragment)
    await members[0]!.ask('/v3/maintenance/defragment', {})
    await members[0]!.ask('/v3/maintenance/alarm', {
      action: 'DEACTIVATE',
      memberID: header.member_id,
      alarm: 'NOSPACE',
    })
    await writer.append('b', 'y')
  })

  it('is reported if only one side uses TLS, or if the certificate is not trusted', async () => {
    const files = makeScratchFolder(stage)
    const { certPath, keyPath, cert } = makeCertificate(files)
    const flags = ['--cert-file', certPath, '--key-file', keyPath]
    const [tlsCluster, plainCluster] = [
      await cluster({ members: 1, tls: true, flags }),
      await cluster({ members: 1 }),
    ]
    const [tlsUrl] = tlsCluster.endpoints
    await engine([tlsUrl!], { tls: { ca: cert } }).open(logConfig)
    expect(await refusal(engine([tlsUrl!]), 'INVALID_OPTION')).to.match(
      /has an untrusted certificate, or .* \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    )
    const asPlain = tlsUrl!.replace('https', 'http')
    expect(await refusal(impatientEngine([asPlain]), 'UNAVAILABLE')).to.match(
      /cannot be reached \(ECONNRESET\); if etcd uses TLS, use etcds:\/\/ and https:\/\/$/,
    )
    const asTls = plainCluster.endpoints[0]!.replace('http', 'https')
    expect(await refusal(impatientEngine([asTls]), 'UNAVAILABLE')).to.match(
      /cannot be reached \(ECONNRESET\); if etcd does not use TLS, use etcd:\/\/ and http:\/\/$/,
    )
  })

  it('is reported if it requires a client certificate that the engine does not have', async () => {
    const { certPath, keyPath, cert, key } = makeCertificate(makeScratchFolder(stage))
    const {
      certPath: otherPath,
      cert: otherCert,
      key: otherKey,
    } = makeCertificate(makeScratchFolder(stage))
    // Checks that the second certificate has not replaced the files of the first certificate.
    expect(otherPath).not.to.equal(certPath)
    const flags = ['--cert-file', certPath, '--key-file', keyPath]
    const trust = ['--client-cert-auth', '--trusted-ca-file', certPath]
    const { endpoints } = await cluster({ members: 1, tls: true, flags: [...flags, ...trust] })
    await engine(endpoints, { tls: { ca: cert, cert, key } }).open(logConfig)
    for (const tls of [{ ca: cert }, { ca: cert, cert: otherCert, key: otherKey }]) {
      expect(await refusal(engine(endpoints, { tls }), 'INVALID_OPTION')).to.match(
        /has an untrusted certificate, or distrusts this broker's/,
      )
    }
  })

  it('is reported if it refuses the user or the password', async () => {
    // etcd hashes each password with bcrypt. With the default cost, a hash takes longer than the
    // deadline of a call on a machine with a high load.
    const { members, endpoints } = await cluster({ members: 3, flags: ['--bcrypt-cost', '4'] })
    const ask = (path: string, body: object) => members[0]!.ask(`/v3/auth/${path}`, body)
    for (const name of ['root', 'broker', 'other']) {
      await ask('user/add', { name, password: `${name}'s` })
      await ask('role/add', { name })
      await ask('user/grant', { user: name, role: name })
    }
    const readAndWrite = 2
    const perm = { permType: readAndWrite, ...allKeys }
    await ask('role/grant', { name: 'broker', perm })
    await ask('enable', {})
    const engineAs = (user: string, password = `${user}'s`) =>
      engine(endpoints, { auth: { user, password } })
    expect(await refusal(engine(endpoints), 'INVALID_OPTION')).to.include(
      'requires a user and a password: set `auth`',
    )
    expect(await refusal(engineAs('broker', 'wrong'), 'INVALID_OPTION')).to.match(
      /answered "authentication failed, invalid user ID or password"$/,
    )
    expect(await refusal(engineAs('other'), 'INVALID_OPTION')).to.match(
      /answered "permission denied"$/,
    )
    const permittedEngine = engineAs('broker')
    await permittedEngine.open(logConfig)
    const reader = new Reader()
    permittedEngine.follow(0, reader)
    await permittedEngine.append('b', 'one')
    // A restarted member does not accept the tokens that it issued before.
    for (const member of members) {
      await member.kill()
      await member.start()
    }
    // An append may fail after the restarts. The test then appends again, as a broker does.
    await permittedEngine.append('b', 'two').catch(() => permittedEngine.append('b', 'two'))
    await reader.entries.waitUntil((entries) => entries.some(([, text]) => text === 'two'))
    // The user `broker` must also be able to save a snapshot and to compact the log.
    await permittedEngine.saveSnapshot(1, ['s'])
    await permittedEngine.compact(1, ['b'])
  })

  it('is reported if its authentication is off, but the options name a user', async () => {
    const { endpoints } = await cluster({ members: 1 })
    const auth = { user: 'broker', password: 'secret' }
    const message = await refusal(engine(endpoints, { auth }), 'INVALID_OPTION')
    expect(message).to.match(/answered "authentication is not enabled"$/)
  })

  it('is reported if it was replaced by an empty etcd', async () => {
    const [first, second] = [await cluster({ members: 1 }), await cluster({ members: 1 })]
    let target = first.endpoints[0]!
    const proxy = await standIn((request, response) => {
      const body: Buffer[] = []
      request.on('data', (piece: Buffer) => body.push(piece))
      request.on('end', async () => {
        const { url = '' } = request
        const init = { method: 'POST', body: Buffer.concat(body) }
        const answer = await fetch(`${target}${url}`, init)
        response.writeHead(answer.status)
        // The response to a watch request breaks when the etcd member or the test ends.
        await pipeline(answer.body!, response).catch(() => {})
      })
    })
    const proxiedEngine = engine([proxy])
    await proxiedEngine.open(logConfig)
    const reader = new Reader()
    proxiedEngine.follow(0, reader)
    for (const entry of ['a', 'b', 'c']) await proxiedEngine.append('b', entry)
    await reader.entries.waitForCount(3)
    target = second.endpoints[0]!
    const { message } = await expectRejection(proxiedEngine.append('b', 'd'), 'UNAVAILABLE')
    const pattern = /^The log on etcd was replaced \(revision 2 followed 5, as/
    expect(message).to.match(pattern)
    expect((await reader.ends.waitForCount(1))[0]).to.match(pattern)
  })
})
