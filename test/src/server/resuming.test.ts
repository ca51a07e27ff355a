/**
 * Taking a session up again: what the client is given back, what it must show, and what becomes of
 * the connection that it was on.
 */
import type { Authenticate } from '@holdfast/server'
import { MemoryLog } from '@holdfast/server/internal'
import { closeCodes, type Hello } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench, type Client } from './bench.js'
import type { FakeSocket } from './socket.js'

/** Lets in whoever has a token, as whoever the token says. */
const byToken: Authenticate = ({ token }) => token

/** Comes back on a new connection; what it is told is still to be heard. */
async function comeBack(bench: Bench, hello: Partial<Hello>): Promise<FakeSocket> {
  const socket = bench.greet(hello)
  await bench.settle()
  return socket
}

describe('reception: resume', () => {
  it('takes the session up with its locks, its waits and its answers', () => {
    const bench = new Bench()
    const other = bench.join()
    other.take('taken')
    const client = bench.join({ grace: 'lease' })
    const fence = client.take('k', { ttl: 60_000, mode: 'shared' })
    const waiting = client.lock('taken')
    const failed = client.lock('taken', { timeout: 0 })
    client.socket.drop()
    bench.environment.pass(500)
    const socket = bench.greet(client.resume())
    const [welcome, ...answers] = socket.heard()
    expect(welcome).to.deep.include({ type: 'welcome', session: client.session, resumed: true })
    const snapshot = answers.pop()
    expect(answers).to.have.length(2)
    expect(answers[0]).to.deep.equal({ type: 'granted', id: 1, fence, at: 1_000 })
    expect(answers[1]).to.deep.include({ type: 'failed', id: failed, code: 'LOCK_HELD' })
    expect(snapshot).to.deep.equal({
      type: 'snapshot',
      held: [{ id: 1, key: 'k', mode: 'shared', fence, ttl: 60_000, at: 1_000 }],
      waiting: [waiting],
      more: false,
    })
  })

  it('keeps a grant that falls due while the client is away', () => {
    const bench = new Bench()
    const other = bench.join()
    const taken = other.take('k')
    const client = bench.join({ grace: 'lease' })
    const id = client.lock('k')
    client.socket.drop()
    other.unlock(taken)
    const socket = bench.greet(client.resume())
    expect(socket.heardOf('granted')).to.deep.equal([{ type: 'granted', id, fence: 2 }])
  })

  it('forgets the answers that were acknowledged, and no others', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    const first = client.lock('a')
    const second = client.lock('b')
    client.say({ type: 'ack', ids: [first] })
    client.socket.drop()
    const socket = bench.greet(client.resume())
    expect(socket.heardOf('granted').map(({ id }) => id)).to.deep.equal([second])
  })

  it('gives a new secret each time, and the former is good until the new one was read', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.socket.drop()
    const lost = bench.greet(client.resume())
    const [first] = lost.heardOf('welcome')
    expect(first?.secret).to.be.a('string').that.does.not.equal(client.secret)
    lost.drop()
    // The welcome got lost on the way: the client knows only its former secret.
    const again = bench.greet(client.resume())
    const [second] = again.heardOf('welcome')
    expect(second?.resumed).to.equal(true)
    bench.say(again, { type: 'ack', ids: [] })
    again.drop()
    expect(bench.greet(client.resume()).heardOf('welcome')[0]?.resumed).to.equal(false)
    const { session } = client
    const proper = bench.greet({ resume: { session, secret: second!.secret! } })
    expect(proper.heardOf('welcome')[0]?.resumed).to.equal(true)
  })

  it('ends the former secret with a pong or a query, by one command for the connection', () => {
    for (const message of [
      { type: 'pong', n: 1 },
      { type: 'query', id: 1 },
    ] as const) {
      const log = new MemoryLog()
      const bench = new Bench({}, log)
      const client = bench.join({ grace: 'lease' })
      client.socket.drop()
      const socket = bench.greet(client.resume())
      const commands: string[] = []
      const submit = log.submit.bind(log)
      log.submit = (command) => {
        commands.push(command.type)
        submit(command)
      }
      bench.say(socket, message, message)
      expect(commands).to.deep.equal(['confirm'])
      expect(bench.greet(client.resume()).heardOf('welcome')[0]?.resumed).to.equal(false)
    }
  })

  it('keeps the former secret after an invalid message', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.socket.drop()
    const socket = bench.greet(client.resume())
    bench.say(socket, { type: 'lock', id: 1, key: '' })
    expect(socket.heardOf('failed')[0]?.code).to.equal('INVALID_KEY')
    expect(bench.greet(client.resume()).heardOf('welcome')[0]?.resumed).to.equal(true)
  })

  it('replaces the connection that the session was on: that is 4409 and no longer counts', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.take('k')
    const socket = bench.greet(client.resume())
    expect(socket.heardOf('welcome')[0]?.resumed).to.equal(true)
    expect(client.socket.closedWith?.code).to.equal(closeCodes.replaced.code)
    client.say({ type: 'bye' })
    client.socket.drop()
    expect(bench.broker.table.sessions.size).to.equal(1)
    expect(bench.broker.table.heldCount).to.equal(1)
  })

  const refusals: [string, (client: Client) => Partial<Hello>][] = [
    ['the secret is wrong', ({ session }) => ({ resume: { session, secret: 'guessed' } })],
    ['the session is unknown', ({ secret }) => ({ resume: { session: 'x', secret: secret! } })],
    ['another principal asks', (client) => client.resume({ token: 'mallory' })],
  ]
  for (const [why, hello] of refusals) {
    it(`opens a new session in the same step when ${why}, and touches nothing`, async () => {
      const bench = new Bench({ authenticate: byToken })
      const first = await comeBack(bench, { token: 'alice', grace: 'lease' })
      const client = bench.clientOn(first)
      client.take('k')
      const socket = await comeBack(bench, { token: 'alice', grace: 'lease', ...hello(client) })
      const messages = socket.heard()
      expect(messages.map(({ type }) => type)).to.deep.equal(['welcome'])
      expect(messages[0]).to.include({ resumed: false, grace: 15_000 })
      expect(messages[0]).not.to.include({ session: client.session })
      expect(client.socket.closedWith).to.equal(undefined)
      expect(bench.broker.table.heldCount).to.equal(1)
    })
  }

  it('opens a new session when the old one had no grace', () => {
    const bench = new Bench()
    const client = bench.join()
    const socket = bench.greet({ resume: { session: client.session, secret: 'any' } })
    expect(socket.heardOf('welcome')[0]?.resumed).to.equal(false)
  })

  it('answers a request that comes again as it did, and runs it once', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    const fence = client.take('k')
    client.say({ type: 'unlock', id: 2, fence })
    client.socket.drop()
    const socket = bench.greet(client.resume())
    socket.heard()
    bench.say(socket, { type: 'lock', id: 1, key: 'k' }, { type: 'unlock', id: 2, fence })
    expect(socket.heard()).to.deep.equal([
      { type: 'granted', id: 1, fence },
      { type: 'unlocked', id: 2 },
    ])
    expect(bench.broker.stats()).to.include({ totalLocks: 1, unlockCount: 1, activeLocks: 0 })
  })
})
