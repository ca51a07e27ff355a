/**
 * Tests `holdfast rebalance` and `POST /rebalance`, which send the clients of a broker to their
 * preferred brokers. A client prefers the brokers in the order of its URLs. The tests check who may
 * use the command, what the command prints, and which message explains each refusal.
 * test/src/log/draining.test.ts tests how the broker closes the connections.
 */
import { connect } from '@holdfast/client'
import { expect } from 'chai'
import { Stage } from '../e2e/stage.js'
import { EtcdStage } from '../log/etcdStage.js'
import { freePort } from '../support/freePort.js'
import { Holdfast } from './command.js'

/** The URL of a broker that does not run. */
const unreachable = 'ws://127.0.0.1:1'

/**
 * Starts a broker, and returns the URL for clients and the URL for operators, which the broker
 * prints. Only a broker with `--admin-port` has a URL for operators.
 */
async function serve(stage: Stage, ...args: string[]) {
  // A broker with a dashboard would print one more URL.
  const command = Holdfast.start(stage, ['serve', '--port', '0', '--dashboard', 'none', ...args])
  const lines = await command.out.waitForCount(args.includes('--admin-port') ? 2 : 1)
  const [url, admin] = lines.map((line) => /\w+:\/\/\S+/.exec(line)![0])
  return { url: url!, admin: admin! }
}

describe('holdfast rebalance', () => {
  const stage = Stage.forEachTest()

  /** Runs the command, which must fail. Returns its exit code and its only message. */
  async function refused(...args: string[]) {
    const { code, out, err } = await Holdfast.run(stage, ['rebalance', ...args])
    expect(out).to.deep.equal([])
    expect(err).to.have.length(1)
    return { code, message: err[0] }
  }

  it('is refused by a broker without a shared log', async () => {
    const { url } = await serve(stage)
    const origin = url.replace('ws', 'http')
    expect(await refused('--url', url)).to.deep.equal({
      code: 1,
      message: `holdfast: The broker at ${origin} refused: this broker shares its log with no other broker, so its clients cannot move`,
    })
  })

  it('prints a single message for a wrong URL or for two URLs', async () => {
    const urlWithoutBroker = `http://127.0.0.1:${await freePort()}`
    expect(await refused('-u', urlWithoutBroker)).to.deep.equal({
      code: 69,
      message: `holdfast: The broker at ${urlWithoutBroker} cannot be reached (ECONNREFUSED)`,
    })
    const withoutScheme = await refused('-u', 'localhost:7420')
    expect(withoutScheme.code).to.equal(64)
    expect(withoutScheme.message).to.match(/"localhost:7420" is not the URL of a broker/)
    const withTwoUrls = await refused('-u', urlWithoutBroker, '-u', urlWithoutBroker)
    expect([withTwoUrls.code, withTwoUrls.message]).to.deep.equal([
      64,
      'holdfast: More than one URL is given: give --url with the URL of the broker to rebalance',
    ])
  })

  it('works only on the admin port if the broker has an admin port', async () => {
    const { url, admin } = await serve(stage, '--admin-port', '0')
    const onClientPort = await refused('--url', url)
    expect(onClientPort.code).to.equal(77)
    expect(onClientPort.message).to.match(/does not accept the command here: run it on the machine/)
    // The admin port is the right one, but no other broker shares the log.
    expect((await refused('--url', admin)).message).to.match(
      /refused: this broker shares its log with no/,
    )
  })

  it('is accepted only as a POST of a program on the machine of the broker', async () => {
    const { url, admin } = await serve(stage, '--admin-port', '0')
    const { url: urlWithoutAdminPort } = await serve(stage)
    const statusOf = async (base: string, method: string, headers = {}) => {
      const address = `${base.replace('ws', 'http')}/rebalance`
      return (await fetch(address, { method, headers })).status
    }
    const fromWebPage = { origin: 'http://evil.example' }
    const throughProxy = { 'x-forwarded-for': '192.0.2.1' }
    // 409 means that the broker has read the command, and refused it because the broker has no
    // shared log. 426 is the answer to each request that the broker does not serve.
    for (const base of [admin, urlWithoutAdminPort]) {
      expect(await statusOf(base, 'POST')).to.equal(409)
      expect(await statusOf(base, 'GET')).to.equal(426)
      expect(await statusOf(base, 'POST', fromWebPage)).to.equal(426)
      expect(await statusOf(base, 'POST', throughProxy)).to.equal(426)
    }
    expect(await statusOf(url, 'POST')).to.equal(426)
  })
})

describe('holdfast rebalance with a shared log', function () {
  this.timeout(60_000)
  const etcd = EtcdStage.forSuite({ members: 1 })
  const stage = Stage.forEachTest()

  it('makes the clients reconnect, and the clients keep their locks', async () => {
    const logFlags = ['--log', etcd.cluster.logUrl(etcd.prefix)]
    const { url: firstUrl } = await serve(stage, ...logFlags)
    const withoutOtherBroker = await Holdfast.run(stage, ['rebalance', '--url', firstUrl])
    expect(withoutOtherBroker.code).to.equal(1)
    expect(withoutOtherBroker.err[0]).to.match(/refused: no other broker shares the log/)
    const { url: secondUrl } = await serve(stage, ...logFlags)
    // No broker runs at the URL `unreachable`, so the session connects to `firstUrl`.
    const session = await connect([unreachable, firstUrl, secondUrl], { grace: 'lease' })
    stage.onCleanUp(() => session.close())
    const lock = await session.lock('kept')
    const resumed = new Promise<void>((resolve) => session.once('resumed', () => resolve()))
    const { code, out, err } = await Holdfast.run(stage, ['rebalance', '--json', '--url', firstUrl])
    expect([code, err]).to.deep.equal([0, []])
    expect(JSON.parse(out[0]!)).to.deep.equal({ url: firstUrl.replace('ws', 'http'), clients: 1 })
    await resumed
    expect(lock.held).to.equal(true)
  })
})
