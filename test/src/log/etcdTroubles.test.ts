/**
 * What an operator can get wrong about etcd, each with a sentence that says so: it is not there,
 * not whole, not etcd, full, or does not know us.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { type EngineOptions, EtcdEngine, nodeEnvironment } from '@holdfast/server/internal'
import { expect } from 'chai'
import { rejection, Stage } from '../e2e/stage.js'
import { certificate } from '../ops/certificate.js'
import { scratch } from '../ops/scratch.js'
import { EtcdCluster } from '../support/etcd.js'
import { needs } from '../support/needs.js'
import { charter, Reader } from './etcdStage.js'

const base64 = (text: string): string => Buffer.from(text).toString('base64')

describe('log: an etcd that cannot be used', function () {
  this.timeout(60_000)
  needs('etcd', 'openssl')
  const stage = Stage.forEachTest()

  function engine(endpoints: readonly string[], options: Partial<EngineOptions> = {}): EtcdEngine {
    const made = new EtcdEngine(
      { endpoints, prefix: 'p', patienceMs: 600, ...options },
      nodeEnvironment,
    )
    stage.onClear(() => made.close())
    return made
  }

  async function cluster(options: Parameters<typeof EtcdCluster.start>[0]): Promise<EtcdCluster> {
    const made = await EtcdCluster.start(options)
    stage.onClear(() => made.stop())
    return made
  }

  async function standIn(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1')
    await once(server, 'listening')
    stage.onClear(() => server.close())
    stage.onClear(() => server.closeAllConnections())
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async function refusal(opening: EtcdEngine, code: 'UNAVAILABLE' | 'INVALID_OPTION') {
    return (await rejection(opening.open(charter), code)).message
  }

  it('is not there', async () => {
    const [one, two] = ['http://127.0.0.1:1', 'http://127.0.0.1:2']
    expect(await refusal(engine([one!]), 'UNAVAILABLE')).to.equal(
      'etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED).',
    )
    expect(await refusal(engine([one!, two!]), 'UNAVAILABLE')).to.equal(
      'etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED), and neither does another of the 2 answer.',
    )
  })

  it('does not answer', async () => {
    const url = await standIn(() => {})
    expect(await refusal(engine([url]), 'UNAVAILABLE')).to.match(
      / does not answer within \d+ ms\.$/,
    )
  })

  it('is something else', async () => {
    const page = await standIn((_, response) => response.writeHead(404).end('<h1>no</h1>'))
    expect(await refusal(engine([page]), 'INVALID_OPTION')).to.equal(
      `etcd at ${page} answers 404 where etcd 3.4 or newer has its JSON gateway.`,
    )
    const text = await standIn((_, response) => response.end('hello'))
    expect(await refusal(engine([text]), 'INVALID_OPTION')).to.include('does not answer in JSON')
    const other = await standIn((_, response) => response.end('{"status":"ok"}'))
    expect(await refusal(engine([other]), 'INVALID_OPTION')).to.include('is not etcd 3.4 or newer')
  })

  it('is there later, and is waited for', async () => {
    const { members, endpoints } = await cluster({ members: 1 })
    await members[0]!.kill()
    const opening = engine(endpoints, { patienceMs: 20_000 }).open(charter)
    await members[0]!.start()
    await opening
  })

  it('has no leader, since most of its members are down', async () => {
    const { members, endpoints } = await cluster({})
    await Promise.all([members[0]!.kill(), members[2]!.kill()])
    // The last one still believes in the leader for a while, if that was another.
    const opening = engine(endpoints, { patienceMs: 3_000 })
    expect(await refusal(opening, 'UNAVAILABLE')).to.equal(
      `etcd at ${endpoints[1]} has no leader: most of its members have to be up.`,
    )
  })

  it('is two clusters', async () => {
    const [one, two] = [await cluster({ members: 1 }), await cluster({ members: 1 })]
    const endpoints = [...one.endpoints, ...two.endpoints]
    expect(await refusal(engine(endpoints), 'INVALID_OPTION')).to.equal(
      `${endpoints[0]} and ${endpoints[1]} are members of different etcd clusters.`,
    )
  })

  it('is full', async () => {
    const { members, endpoints } = await cluster({
      members: 1,
      flags: ['--quota-backend-bytes', String(4 * 1024 * 1024)],
    })
    const writer = engine(endpoints)
    await writer.open(charter)
    const append = () => writer.append('b', randomBytes(20_000).toString('hex'))
    const write = async (): Promise<never> => {
      for (;;) await append()
    }
    expect(writer.warning).to.equal(undefined)
    let { warning } = writer
    while (warning === undefined) {
      await append()
      // The first look is at the start, the next ones a minute apart.
      const late = engine(endpoints)
      await late.open(charter)
      warning = late.warning
    }
    expect(warning).to.match(/^etcd at http\S+ has used (8|9|10)\d % of its quota$/)
    const sentence =
      `etcd at ${endpoints[0]} has used up its quota: ` +
      'compact, defragment or raise it, then disarm its alarm.'
    expect((await rejection(write(), 'UNAVAILABLE')).message).to.equal(sentence)
    expect(await refusal(engine(endpoints), 'UNAVAILABLE')).to.equal(sentence)
    // As an operator does it.
    const { header } = (await members[0]!.status())!
    await members[0]!.ask('/v3/kv/compaction', { revision: header.revision })
    await members[0]!.ask('/v3/maintenance/defragment', {})
    await members[0]!.ask('/v3/maintenance/alarm', {
      action: 'DEACTIVATE',
      memberID: header.member_id,
      alarm: 'NOSPACE',
    })
    await writer.append('b', 'y')
  })

  it('speaks TLS, or does not, or is not trusted', async () => {
    const files = scratch(stage)
    const { certPath, keyPath, cert } = certificate(files)
    const flags = ['--cert-file', certPath, '--key-file', keyPath]
    const [safe, plain] = [
      await cluster({ members: 1, tls: true, flags }),
      await cluster({ members: 1 }),
    ]
    const [secure] = safe.endpoints
    await engine([secure!], { tls: { ca: cert } }).open(charter)
    expect(await refusal(engine([secure!]), 'INVALID_OPTION')).to.match(
      /has a certificate that is not trusted, or .* \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    )
    const asPlain = secure!.replace('https', 'http')
    expect(await refusal(engine([asPlain]), 'UNAVAILABLE')).to.match(
      /cannot be reached \(ECONNRESET\); if it speaks TLS, use etcds:\/\/ and https:\/\/\.$/,
    )
    const asSecure = plain.endpoints[0]!.replace('http', 'https')
    expect(await refusal(engine([asSecure]), 'UNAVAILABLE')).to.match(
      /cannot be reached \(ECONNRESET\); if it does not speak TLS, use etcd:\/\/ and http:\/\/\.$/,
    )
  })

  it('asks for another certificate than ours', async () => {
    const { certPath, keyPath, cert, key } = certificate(scratch(stage))
    const { certPath: other, cert: otherCert, key: otherKey } = certificate(scratch(stage))
    expect(other).not.to.equal(certPath)
    const flags = ['--cert-file', certPath, '--key-file', keyPath]
    const trust = ['--client-cert-auth', '--trusted-ca-file', certPath]
    const { endpoints } = await cluster({ members: 1, tls: true, flags: [...flags, ...trust] })
    await engine(endpoints, { tls: { ca: cert, cert, key } }).open(charter)
    for (const tls of [{ ca: cert }, { ca: cert, cert: otherCert, key: otherKey }]) {
      expect(await refusal(engine(endpoints, { tls }), 'INVALID_OPTION')).to.match(
        /is not trusted, or does not trust ours/,
      )
    }
  })

  it('knows its users', async () => {
    const { members, endpoints } = await cluster({ members: 3 })
    const ask = (path: string, body: object) => members[0]!.ask(`/v3/auth/${path}`, body)
    for (const name of ['root', 'broker', 'other']) {
      await ask('user/add', { name, password: `${name}'s` })
      await ask('role/add', { name })
      await ask('user/grant', { user: name, role: name })
    }
    const [key, range_end] = [base64('p/'), base64('p0')]
    await ask('role/grant', { name: 'broker', perm: { permType: 2, key, range_end } })
    await ask('enable', {})
    const as = (user: string, password = `${user}'s`) =>
      engine(endpoints, { auth: { user, password } })
    expect(await refusal(engine(endpoints), 'INVALID_OPTION')).to.include(
      'wants to know a user and a password',
    )
    expect(await refusal(as('broker', 'wrong'), 'INVALID_OPTION')).to.match(
      /says "authentication failed, invalid user ID or password"\.$/,
    )
    expect(await refusal(as('other'), 'INVALID_OPTION')).to.match(/says "permission denied"\.$/)
    const broker = as('broker')
    await broker.open(charter)
    const reader = new Reader()
    broker.follow(0, reader)
    await broker.append('b', 'one')
    // Members that were restarted have forgotten the tokens that they gave.
    for (const member of members) {
      await member.kill()
      await member.start()
    }
    await broker.append('b', 'two').catch(() => broker.append('b', 'two'))
    await reader.entries.until((entries) => entries.some(([, text]) => text === 'two'))
    await broker.saveSnapshot(1, ['s'])
    await broker.compact(1, ['b'])
  })

  it('does not ask for users, and is given one', async () => {
    const { endpoints } = await cluster({ members: 1 })
    const auth = { user: 'broker', password: 'secret' }
    const said = await refusal(engine(endpoints, { auth }), 'INVALID_OPTION')
    expect(said).to.match(/says "authentication is not enabled"\.$/)
  })

  it('is not the one it was: its revisions begin again', async () => {
    const [one, two] = [await cluster({ members: 1 }), await cluster({ members: 1 })]
    let target = one.endpoints[0]!
    const proxy = await standIn((request, response) => {
      const body: Buffer[] = []
      request.on('data', (piece: Buffer) => body.push(piece))
      request.on('end', async () => {
        const { url = '' } = request
        const whole = { method: 'POST', body: Buffer.concat(body) }
        const answer = await fetch(`${target}${url}`, whole)
        response.writeHead(answer.status)
        // A watch ends with the member, or with the test.
        await pipeline(answer.body!, response).catch(() => {})
      })
    })
    const broker = engine([proxy])
    await broker.open(charter)
    const reader = new Reader()
    broker.follow(0, reader)
    for (const entry of ['a', 'b', 'c']) await broker.append('b', entry)
    await reader.entries.count(3)
    target = two.endpoints[0]!
    const { message } = await rejection(broker.append('b', 'd'), 'UNAVAILABLE')
    const sentence = /^The log on etcd is not the one it was \(after revision 5 came 2, as/
    expect(message).to.match(sentence)
    expect((await reader.ends.count(1))[0]).to.match(sentence)
  })
})
