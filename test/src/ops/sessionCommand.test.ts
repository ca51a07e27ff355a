/**
 * Tests `holdfast session`, which shows one session of a real broker: its client, its lease, its
 * grace, its locks and its waiting requests. The lease is how long the broker keeps a silent
 * session. The grace is how long the session outlives its connection.
 */
import { connect } from '@holdfast/client'
import { type Operation, tokenLine } from '@holdfast/server'
import { nodeEnvironment } from '@holdfast/server/internal'
import { expect } from 'chai'
import { Stage, untilMessagesHandled } from '../e2e/stage.js'
import { Holdfast } from './command.js'
import { makeScratchFolder } from './scratch.js'

describe('holdfast session', () => {
  const stage = Stage.forEachTest()
  const run = (url: string, ...args: string[]) =>
    Holdfast.run(stage, ['session', '--url', url, ...args])

  /** Runs the command with `--json`, and returns the parsed output. */
  async function jsonOf(url: string, id: string) {
    const { code, out, err } = await run(url, '--json', id)
    expect([code, err]).to.deep.equal([0, []])
    return JSON.parse(out.join(''))
  }

  it('prints the client, the locks and the waiting requests of a session', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    const cleo = await stage.openSession(url, { name: 'cleo', lease: 20_000, grace: 5_000 })
    const lock = await cleo.lock('orders:2', { ttl: 600_000 })
    await cleo.lock('orders:1', { mode: 'shared' })
    await ann!.lock('busy')
    for (const session of [bob!, cleo]) {
      session.lock('busy').catch(() => {})
      await untilMessagesHandled(session)
    }
    const { code, out, err } = await run(url, cleo.id)
    expect([code, err]).to.deep.equal([0, []])
    expect(out.slice(0, 8)).to.deep.equal([
      ...[`session: ${cleo.id}`, 'name: cleo', 'principal: anyone', 'address: 127.0.0.1'],
      ...['connection: connected', 'lease: 20s', 'grace: 5s', 'locks: 2'],
    ])
    expect(out[8]).to.match(/^KEY +MODE +HELD FOR +TIME LEFT +FENCE$/)
    expect(out[9]).to.match(/^orders:1 +shared +\S+ +- +\d+$/)
    expect(out[10]).to.match(
      new RegExp(`^orders:2 +exclusive +\\S+ +(10m|9m \\d+s) +${lock.fence}$`),
    )
    expect(out[11]).to.equal('waiting requests: 1')
    expect(out[12]).to.match(/^KEY +POSITION +MODE +WAITING FOR$/)
    expect(out[13]).to.match(/^busy +2 +exclusive +\S+$/)
    expect(out).to.have.length(14)
  })

  it('prints the session as JSON, also a waiting upgrade to the mode exclusive', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    const lock = await ann!.lock('k', { mode: 'shared' })
    await bob!.lock('k', { mode: 'shared' })
    lock.upgrade().catch(() => {})
    await untilMessagesHandled(ann!)
    const { out } = await run(url, '--json', ann!.id)
    const info = JSON.parse(out.join(''))
    expect(info).to.include({ session: ann!.id, name: 'ann', principal: 'anyone', grace: 0 })
    expect(info.held).to.have.length(1)
    expect(info.held[0]).to.include({ key: 'k', fence: lock.fence })
    expect(info.waiting).to.have.length(1)
    // An upgrade waits ahead of the queue, so JSON has no position, and the text has `first`.
    expect(info.waiting[0])
      .to.include({ key: 'k', upgrade: true })
      .and.not.have.property('position')
    expect((await run(url, ann!.id)).out.at(-1)).to.match(/^k +first +upgrade +\S+$/)
  })

  it('accepts the id of every session, because no id looks like a flag', () => {
    // A random character is "-" in one of 64 cases.
    const ids = Array.from({ length: 2_000 }, () => nodeEnvironment.newId())
    expect(ids.filter((id) => id.startsWith('-'))).to.deep.equal([])
    expect(new Set(ids)).to.have.property('size', 2_000)
  })

  it('finds locks and requests on every page of a long listing', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    // A page of a listing has 1,000 locks.
    const keys = Array.from({ length: 1_500 }, (_, i) => `key:${String(i).padStart(4, '0')}`)
    await Promise.all(keys.map((key) => ann!.lock(key)))
    await bob!.lock('aaa')
    await bob!.lock('zzz')
    bob!.lock('key:1400').catch(() => {})
    await untilMessagesHandled(bob!)
    const info = await jsonOf(url, bob!.id)
    expect(info.held.map(({ key }: { key: string }) => key)).to.deep.equal(['aaa', 'zzz'])
    expect(info.waiting).to.have.length(1)
    expect(info.waiting[0]).to.include({ key: 'key:1400', position: 1 })
    const infoOfAnn = await jsonOf(url, ann!.id)
    expect(infoOfAnn.held.map(({ key }: { key: string }) => key)).to.deep.equal(keys)
  })

  it('says that requests may be missing if a queue has more requests than the broker lists, and exits 1', async () => {
    const { url, sessions } = await stage.startBrokerWithSessions('ann', 'bob')
    const [ann, bob] = sessions
    await ann!.lock('k')
    for (let i = 0; i < 1_001; i++) bob!.lock('k').catch(() => {})
    await untilMessagesHandled(bob!)
    const { code, err } = await run(url, '--json', bob!.id)
    expect([code, err]).to.deep.equal([
      1,
      [
        'holdfast: Waiting requests of the session may be missing: ' +
          'a broker lists at most the first 1000 requests of a queue',
      ],
    ])
  })

  it('hides the principal and the address without the permission inspect', async () => {
    const withoutInspect: Operation[] = ['lock', 'query']
    const files = makeScratchFolder(stage)
    const tokens = files.write(
      'tokens',
      tokenLine('t-ann', 'ann', withoutInspect) + tokenLine('t-ops', 'ops', ['query', 'inspect']),
    )
    const serve = Holdfast.start(stage, ['serve', '--port', '0', '--tokens', tokens])
    const url = (await serve.out.waitForCount(1))[0]!.split(' ').at(-1)!
    const session = await connect(url, { token: 't-ann' })
    stage.onCleanUp(() => session.close())
    const linesFor = async (token: string) => {
      const { code, out } = await run(url, '--token-file', files.write(token, token), session.id)
      expect(code).to.equal(0)
      return out
    }
    const hidden = 'principal and address: not shown, because they need the permission inspect'
    expect((await linesFor('t-ann'))[1]).to.equal(hidden)
    const [, principal, address] = await linesFor('t-ops')
    expect([principal, address]).to.deep.equal(['principal: ann', 'address: 127.0.0.1'])
  })

  it('exits 1 for a session that does not exist, and 64 for an invalid id', async () => {
    const { url } = await stage.startBroker()
    const missing = await run(url, 'nonesuch')
    const message = 'holdfast: The broker has no session nonesuch: it has ended, or the id is wrong'
    expect([missing.code, missing.out, missing.err]).to.deep.equal([1, [], [message]])
    expect((await run(url, '--', '-nonesuch')).code).to.equal(1)
    for (const id of ['', 'x'.repeat(65)]) {
      const { code, err } = await run(url, id)
      expect(code).to.equal(64)
      expect(err.join('\n')).to.include('It must have 1 to 64 characters.')
    }
  })
})
