/**
 * Tests a client that resumes its session on a new connection within the grace, the time that a
 * session outlives its connection. The tests check which state the client gets back, and which
 * secret the client must send. The tests also check how the broker closes the former connection of
 * the session. The fence is the number of a grant, and the ttl is the time after which a lock
 * expires. The lease is the time that the broker keeps a session without a message of its client. A
 * grace of `lease` is as long as the lease.
 */
import type { Authenticate } from '@holdfast/server'
import { MemoryLog } from '@holdfast/server/internal'
import { closeCodes, type Hello } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'
import type { FakeSocket } from './socket.js'

/** Uses the token as the principal. */
const tokenAsPrincipal: Authenticate = ({ token }) => token

/** Connects with a hello and waits for the answer, which the test then reads. */
async function connectAndSettle(
  harness: BrokerHarness,
  hello: Partial<Hello>,
): Promise<FakeSocket> {
  const socket = harness.connectWithHello(hello)
  await harness.settle()
  return socket
}

describe('resuming a session', () => {
  it('gives the client its locks, its waiting requests and its unacknowledged answers', () => {
    const harness = new BrokerHarness()
    const other = harness.openSession()
    other.acquire('taken')
    const client = harness.openSession({ grace: 'lease' })
    const fence = client.acquire('k', { ttl: 60_000, mode: 'shared' })
    const waitingId = client.lock('taken')
    const failedId = client.lock('taken', { timeout: 0 })
    client.socket.drop()
    harness.environment.advance(500)
    const socket = harness.connectWithHello(client.resumeHello())
    const [welcome, ...answers] = socket.takeMessages()
    expect(welcome).to.deep.include({ type: 'welcome', session: client.session, resumed: true })
    const snapshot = answers.pop()
    expect(answers).to.have.length(2)
    // The fake clock begins at 1,000, and `at` is the time at which the ttl began.
    expect(answers[0]).to.deep.equal({ type: 'granted', id: 1, fence, at: 1_000 })
    expect(answers[1]).to.deep.include({ type: 'failed', id: failedId, code: 'LOCK_HELD' })
    expect(snapshot).to.deep.equal({
      type: 'snapshot',
      held: [{ id: 1, key: 'k', mode: 'shared', fence, ttl: 60_000, at: 1_000 }],
      waiting: [waitingId],
      more: false,
    })
  })

  it('gives the client a grant that happened while it was disconnected', () => {
    const harness = new BrokerHarness()
    const other = harness.openSession()
    const fenceOfOther = other.acquire('k')
    const client = harness.openSession({ grace: 'lease' })
    const id = client.lock('k')
    client.socket.drop()
    other.unlock(fenceOfOther)
    const socket = harness.connectWithHello(client.resumeHello())
    expect(socket.takeMessagesOfType('granted')).to.deep.equal([{ type: 'granted', id, fence: 2 }])
  })

  it('repeats all answers that the client has not acknowledged', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    const acknowledgedId = client.lock('a')
    const unacknowledgedId = client.lock('b')
    client.say({ type: 'ack', ids: [acknowledgedId] })
    client.socket.drop()
    const socket = harness.connectWithHello(client.resumeHello())
    expect(socket.takeMessagesOfType('granted').map(({ id }) => id)).to.deep.equal([
      unacknowledgedId,
    ])
  })

  it('gives a new secret, and accepts the former secret until the client sends a message', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    client.socket.drop()
    const socket = harness.connectWithHello(client.resumeHello())
    const [welcome] = socket.takeMessagesOfType('welcome')
    expect(welcome?.secret).to.be.a('string').that.does.not.equal(client.secret)
    socket.drop()
    // As if the client had not received the welcome: the client still sends the former secret.
    const secondSocket = harness.connectWithHello(client.resumeHello())
    const [secondWelcome] = secondSocket.takeMessagesOfType('welcome')
    expect(secondWelcome?.resumed).to.equal(true)
    harness.sayAndEndTurn(secondSocket, { type: 'ack', ids: [] })
    secondSocket.drop()
    expect(
      harness.connectWithHello(client.resumeHello()).takeMessagesOfType('welcome')[0]?.resumed,
    ).to.equal(false)
    const { session } = client
    const resume = { session, secret: secondWelcome!.secret! }
    expect(harness.connectWithHello({ resume }).takeMessagesOfType('welcome')[0]?.resumed).to.equal(
      true,
    )
  })

  it('makes the former secret invalid after the first message, with one command to the log', () => {
    for (const message of [
      { type: 'pong', n: 1 },
      { type: 'query', id: 1 },
    ] as const) {
      const log = new MemoryLog()
      const harness = new BrokerHarness({}, { log })
      const client = harness.openSession({ grace: 'lease' })
      client.socket.drop()
      const socket = harness.connectWithHello(client.resumeHello())
      const commands: string[] = []
      const submit = log.submit.bind(log)
      log.submit = (command) => {
        commands.push(command.type)
        submit(command)
      }
      // The broker submits a command for the first message, and none for the second.
      harness.sayAndEndTurn(socket, message, message)
      expect(commands).to.deep.equal(['confirm'])
      expect(
        harness.connectWithHello(client.resumeHello()).takeMessagesOfType('welcome')[0]?.resumed,
      ).to.equal(false)
    }
  })

  it('keeps the former secret valid after an invalid message', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    client.socket.drop()
    const socket = harness.connectWithHello(client.resumeHello())
    harness.sayAndEndTurn(socket, { type: 'lock', id: 1, key: '' })
    expect(socket.takeMessagesOfType('failed')[0]?.code).to.equal('INVALID_KEY')
    expect(
      harness.connectWithHello(client.resumeHello()).takeMessagesOfType('welcome')[0]?.resumed,
    ).to.equal(true)
  })

  it('closes the former connection with 4409, and ignores its later messages', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    client.acquire('k')
    const socket = harness.connectWithHello(client.resumeHello())
    expect(socket.takeMessagesOfType('welcome')[0]?.resumed).to.equal(true)
    expect(client.socket.closedWith?.code).to.equal(closeCodes.replaced.code)
    client.say({ type: 'bye' })
    client.socket.drop()
    expect(harness.broker.table.sessions.size).to.equal(1)
    expect(harness.broker.table.heldCount).to.equal(1)
  })

  const refusals: [string, (client: Client) => Partial<Hello>][] = [
    ['the secret is wrong', ({ session }) => ({ resume: { session, secret: 'guessed' } })],
    ['the session is unknown', ({ secret }) => ({ resume: { session: 'x', secret: secret! } })],
    ['the client has another principal', (client) => client.resumeHello({ token: 'mallory' })],
  ]
  for (const [why, helloOf] of refusals) {
    it(`opens a new session when ${why}, and does not change the old session`, async () => {
      const harness = new BrokerHarness({ authenticate: tokenAsPrincipal })
      const first = await connectAndSettle(harness, { token: 'alice', grace: 'lease' })
      const client = harness.clientOn(first)
      client.acquire('k')
      const socket = await connectAndSettle(harness, {
        token: 'alice',
        grace: 'lease',
        ...helloOf(client),
      })
      const messages = socket.takeMessages()
      expect(messages.map(({ type }) => type)).to.deep.equal(['welcome'])
      // The new grace is the default lease, 15 s.
      expect(messages[0]).to.include({ resumed: false, grace: 15_000 })
      expect(messages[0]).not.to.include({ session: client.session })
      expect(client.socket.closedWith).to.equal(undefined)
      expect(harness.broker.table.heldCount).to.equal(1)
    })
  }

  it('opens a new session when the old session has no grace', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession()
    const socket = harness.connectWithHello({ resume: { session: client.session, secret: 'any' } })
    expect(socket.takeMessagesOfType('welcome')[0]?.resumed).to.equal(false)
  })

  it('repeats the answer to a repeated request, and handles the request only once', () => {
    const harness = new BrokerHarness()
    const client = harness.openSession({ grace: 'lease' })
    const fence = client.acquire('k')
    client.say({ type: 'unlock', id: 2, fence })
    client.socket.drop()
    const socket = harness.connectWithHello(client.resumeHello())
    socket.takeMessages()
    harness.sayAndEndTurn(
      socket,
      { type: 'lock', id: 1, key: 'k' },
      { type: 'unlock', id: 2, fence },
    )
    expect(socket.takeMessages()).to.deep.equal([
      { type: 'granted', id: 1, fence },
      { type: 'unlocked', id: 2 },
    ])
    expect(harness.broker.stats()).to.include({ totalLocks: 1, unlockCount: 1, activeLocks: 0 })
  })
})
