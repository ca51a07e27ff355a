/**
 * `holdfast serve --log`: brokers that share a log on etcd, from the command line; and everything
 * about it that cannot be, which is one sentence and an exit code that says whether to try again.
 */
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { full } from '../support/counts.js'
import { Holdfast } from './command.js'
import { scratch } from './scratch.js'

const nowhere = 'etcd://127.0.0.1:1/p'

describe('holdfast serve --log: settings', () => {
  const stage = Stage.forEachTest()
  const wrong: [string, string[], RegExp][] = [
    ['no address', ['--log', '127.0.0.1:2379'], /address of a log must be etcd:\/\/host:port/],
    ['no prefix', ['--log', 'etcd://127.0.0.1:2379'], /must have a prefix/],
    ['a password for all to see', ['--log', 'etcd://a:b@127.0.0.1/p'], /must not contain a user/],
    ['a journal as well', ['--log', nowhere, '--journal', '/j'], /journal and log are two ways/],
    ['a quiet start', ['--log', nowhere, '--quiet-start', '5s'], /quietStart is for a broker that/],
    ['a dead time of nothing', ['--dead-time', '3s'], /^holdfast: deadTime is about a shared log/],
    [
      'a dead time too short',
      ['--log', nowhere, '--dead-time', '999'],
      /deadMs must be an integer from/,
    ],
    ['TLS without TLS', ['--log', nowhere, '--log-ca', 'x'], /logCa is for etcd with TLS: etcds/],
    ['half a certificate', ['--log', nowhere, '--log-cert', 'x'], /logCert and logKey go together/],
    ['half a user', ['--log', nowhere, '--log-user', 'x'], /logUser and logPasswordFile go/],
    [
      'a file that is not there',
      ['--log', nowhere, '--log-user', 'x', '--log-password-file', '/nonexistent'],
      /The file \/nonexistent cannot be read \(ENOENT\)/,
    ],
  ]
  for (const [what, args, sentence] of wrong) {
    it(`${what} is one sentence and exit code 78`, async () => {
      const { code, err, out } = await Holdfast.run(stage, ['serve', '--check', ...args])
      expect(err).to.have.length(1)
      expect(err[0])
        .to.match(/^holdfast: /)
        .and.to.match(sentence)
      expect([code, out]).to.deep.equal([78, []])
    })
  }

  it('are taken from variables and the config file, and are told', async () => {
    const file = scratch(stage).write('c.json', '{"deadTime":"3s"}')
    const env = { HOLDFAST_LOG: nowhere }
    const { code, out } = await Holdfast.run(stage, ['serve', '--check', '-c', file], { env })
    expect(code).to.equal(0)
    expect(out).to.include(`holdfast uses log ${nowhere} from HOLDFAST_LOG`)
    expect(out).to.include(`holdfast uses deadTime 3000 from ${file}`)
  })
})

describe('holdfast serve --log: on etcd', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite()
  const stage = Stage.forEachTest()

  const serveArgs = (...more: string[]): string[] => {
    return ['serve', '--port', '0', '--log', etcd.cluster.address(etcd.prefix), ...more]
  }

  async function start(...more: string[]): Promise<string> {
    const serve = Holdfast.start(stage, serveArgs(...more))
    const [line] = await serve.out.count(1)
    return /ws:\S+/.exec(line!)![0]
  }

  async function refused(args: readonly string[]) {
    const { code, err, out } = await Holdfast.run(stage, args)
    expect(out).to.deep.equal([])
    expect(err).to.have.length(1)
    return { code, sentence: err[0] }
  }

  it('two brokers have the same locks', async () => {
    const sessions = await Promise.all(
      [await start(), await start()].map((url) => connect(url, { grace: 'lease' })),
    )
    for (const session of sessions) stage.onClear(() => session.close())
    const [alice, bob] = sessions
    const lock = await alice!.lock('orders:42')
    const waiting = bob!.lock('orders:42')
    const { held } = await bob!.query({ key: 'orders:42' })
    expect(held.map(({ session }) => session)).to.deep.equal([alice!.id])
    await lock.unlock()
    const next = await waiting
    expect(next.fence).to.be.greaterThan(lock.fence)
  })

  it('a second one with another dead time is refused', async () => {
    await start('--dead-time', '2s')
    const { code, sentence } = await refused(serveArgs('--dead-time', '3s'))
    expect(code).to.equal(78)
    expect(sentence).to.equal(
      `holdfast: The prefix ${etcd.prefix} on etcd has a log with a dead time of 2000 ms, ` +
        'not 3000 ms: use the same',
    )
  })

  it('a port in use is exit code 78', async () => {
    const { port } = new URL(await start())
    const taken = await refused([...serveArgs(), '--port', port])
    expect(taken.code).to.equal(78)
    expect(taken.sentence).to.match(/^holdfast: Cannot listen on/)
  })

  it('a prefix of somebody else is refused', async () => {
    const member = await etcd.cluster.leader()
    const key = Buffer.from(`${etcd.prefix}/registry`).toString('base64')
    await member.ask('/v3/kv/put', { key, value: '' })
    const { code, sentence } = await refused(serveArgs())
    expect(code).to.equal(78)
    expect(sentence).to.match(
      /has keys of another program \("test\d+\/registry"\): choose an unused prefix$/,
    )
  })

  // As long as a start may take: eight seconds, too many for a look at a desk.
  if (full) {
    it('an etcd that is not there is waited for, and then exit code 69', async () => {
      const away = await refused(['serve', '--port', '0', '--log', nowhere])
      expect(away).to.deep.equal({
        code: 69,
        sentence: 'holdfast: etcd at http://127.0.0.1:1 cannot be reached (ECONNREFUSED)',
      })
    })
  }
})
