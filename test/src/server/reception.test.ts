/**
 * What lies between a hello and its welcome: who is it, which session, and what if the answer takes
 * its time.
 */
import type { Authenticate } from '@holdfast/server'
import { closeCodes, type Hello } from '@holdfast/shared'
import { expect } from 'chai'
import { Bench, Client } from './bench.js'
import { slowLog } from './logs.js'
import type { FakeSocket } from './socket.js'

/** Lets in whoever has a token, as whoever the token says. */
const byToken: Authenticate = ({ token }) => token

function resume(client: Client, hello: Partial<Hello> = {}): Partial<Hello> {
  return { ...hello, resume: { session: client.session, secret: client.secret! } }
}

/** Comes back on a new connection; what it is told is still to be heard. */
async function comeBack(bench: Bench, hello: Partial<Hello>): Promise<FakeSocket> {
  const socket = bench.greet(hello)
  await bench.settle()
  return socket
}

describe('reception: who is it', () => {
  it('asks with all that the connection tells', async () => {
    const asked: unknown[] = []
    const bench = new Bench({
      authenticate: (credentials) => {
        asked.push(credentials)
        return 'somebody'
      },
    })
    const socket = bench.connect({ origin: 'https://app.example', remoteAddress: '10.0.0.7' })
    bench.say(socket, { type: 'hello', token: 'let me in' })
    await bench.settle()
    expect(asked).to.deep.equal([
      { token: 'let me in', origin: 'https://app.example', remoteAddress: '10.0.0.7' },
    ])
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  const refusals: [string, Authenticate][] = [
    ['says no', () => undefined],
    ['says no later', async () => undefined],
    [
      'throws',
      () => {
        throw new Error('the directory is down')
      },
    ],
    ['rejects', () => Promise.reject(new Error('the directory is down'))],
    ['names nobody', () => ''],
    ['answers what it must not', () => ({}) as string],
  ]
  for (const [what, authenticate] of refusals) {
    it(`is 4401 when the answer ${what}`, async () => {
      const bench = new Bench({ authenticate })
      const socket = bench.greet({ token: 'x' })
      await bench.settle()
      expect(socket.closedWith?.code).to.equal(closeCodes.unauthorized.code)
      expect(bench.broker.table.sessions.size).to.equal(0)
    })
  }

  it('is welcome when the answer comes later', async () => {
    let letIn: (principal: string) => void = () => {}
    const bench = new Bench({
      authenticate: () => new Promise<string>((resolve) => (letIn = resolve)),
    })
    const socket = bench.greet()
    await bench.settle()
    expect(socket.frames).to.deep.equal([])
    letIn('somebody')
    await bench.settle()
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('is 4408 when no answer comes within the time for a hello', async () => {
    const bench = new Bench({ authenticate: () => new Promise<string>(() => {}) })
    const socket = bench.greet()
    await bench.settle()
    bench.machine.pass(5_000)
    expect(socket.closedWith?.code).to.equal(closeCodes.noHello.code)
  })

  it('is nobody when it has gone before the answer came', async () => {
    let letIn: (principal: string) => void = () => {}
    const bench = new Bench({
      authenticate: () => new Promise<string>((resolve) => (letIn = resolve)),
    })
    const socket = bench.greet()
    await bench.settle()
    socket.drop()
    letIn('somebody')
    await bench.settle()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('is 4400 for whoever does not wait for the welcome', async () => {
    const bench = new Bench({ authenticate: async () => 'somebody' })
    const socket = bench.greet()
    bench.say(socket, { type: 'lock', id: 1, key: 'k' })
    expect(socket.closedWith?.code).to.equal(closeCodes.badMessage.code)
    await bench.settle()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })
})

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
    bench.machine.pass(500)
    const socket = bench.greet(resume(client))
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
    const socket = bench.greet(resume(client))
    expect(socket.heardOf('granted')).to.deep.equal([{ type: 'granted', id, fence: 2 }])
  })

  it('forgets the answers that were acknowledged, and no others', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    const first = client.lock('a')
    const second = client.lock('b')
    client.say({ type: 'ack', ids: [first] })
    client.socket.drop()
    const socket = bench.greet(resume(client))
    expect(socket.heardOf('granted').map(({ id }) => id)).to.deep.equal([second])
  })

  it('gives a new secret each time, and the former is good until the new one was read', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.socket.drop()
    const lost = bench.greet(resume(client))
    const [first] = lost.heardOf('welcome')
    expect(first?.secret).to.be.a('string').that.does.not.equal(client.secret)
    lost.drop()
    // The welcome got lost on the way: the client knows only its former secret.
    const again = bench.greet(resume(client))
    const [second] = again.heardOf('welcome')
    expect(second?.resumed).to.equal(true)
    bench.say(again, { type: 'ack', ids: [] })
    again.drop()
    expect(bench.greet(resume(client)).heardOf('welcome')[0]?.resumed).to.equal(false)
    const { session } = client
    const proper = bench.greet({ resume: { session, secret: second!.secret! } })
    expect(proper.heardOf('welcome')[0]?.resumed).to.equal(true)
  })

  it('replaces the connection that the session was on: that is 4409 and no longer counts', () => {
    const bench = new Bench()
    const client = bench.join({ grace: 'lease' })
    client.take('k')
    const socket = bench.greet(resume(client))
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
    ['another principal asks', (client) => resume(client, { token: 'mallory' })],
  ]
  for (const [why, hello] of refusals) {
    it(`opens a new session in the same step when ${why}, and touches nothing`, async () => {
      const bench = new Bench({ authenticate: byToken })
      const first = await comeBack(bench, { token: 'alice', grace: 'lease' })
      const client = clientOn(bench, first)
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
    const socket = bench.greet(resume(client))
    socket.heard()
    bench.say(socket, { type: 'lock', id: 1, key: 'k' }, { type: 'unlock', id: 2, fence })
    expect(socket.heard()).to.deep.equal([
      { type: 'granted', id: 1, fence },
      { type: 'unlocked', id: 2 },
    ])
    expect(bench.broker.stats()).to.include({ totalLocks: 1, unlockCount: 1, activeLocks: 0 })
  })
})

describe('reception: when the log takes its time', () => {
  it('welcomes when the session is open, and not before', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet()
    expect(socket.frames).to.deep.equal([])
    deliver()
    bench.machine.endTurn()
    expect(socket.heardOf('welcome')).to.have.length(1)
  })

  it('lets go at once of a session that was opened for a connection that is gone', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet()
    socket.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('gives a session its grace that was taken up for a connection that is gone', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const first = bench.greet({ grace: 3_000 })
    deliver()
    bench.machine.endTurn()
    const client = clientOn(bench, first)
    client.socket.drop()
    const second = bench.greet(resume(client))
    second.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(1)
    bench.machine.pass(2_900)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(1)
    bench.machine.pass(200)
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('opens no session for a connection that is gone when its resume is refused', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const socket = bench.greet({ resume: { session: 'x', secret: 'y' } })
    socket.drop()
    deliver()
    expect(bench.broker.table.sessions.size).to.equal(0)
  })

  it('seats the later of two that resume one session at once', () => {
    const { log, deliver } = slowLog()
    const bench = new Bench({}, log)
    const first = bench.greet({ grace: 'lease' })
    deliver()
    bench.machine.endTurn()
    const client = clientOn(bench, first)
    client.socket.drop()
    const earlier = bench.greet(resume(client))
    const later = bench.greet(resume(client))
    deliver()
    bench.machine.endTurn()
    expect(earlier.closedWith?.code).to.equal(closeCodes.replaced.code)
    expect(later.heardOf('welcome')[0]?.resumed).to.equal(true)
  })
})

/** The client behind a socket that was just welcomed. */
function clientOn(bench: Bench, socket: FakeSocket): Client {
  const [welcome] = socket.heardOf('welcome')
  return new Client(bench, socket, welcome!)
}
