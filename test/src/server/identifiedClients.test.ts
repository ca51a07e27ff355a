/**
 * Tests many identified clients: an asynchronous `authenticate` has checked their tokens in the
 * same turn of the event loop. In each turn, the broker opens or resumes only a few of their
 * sessions, fairly between addresses. In each turn, the broker also answers other clients.
 */

import { costs, turnBudget } from '@holdfast/server/internal'
import { closeCodes } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'
import type { FakeSocket } from './socket.js'

/**
 * About how many sessions the budget of a turn allows. The tests accept up to twice as many, as a
 * margin: the last handshake of a turn may exceed the budget.
 */
const sessionsPerTurn = Math.ceil(turnBudget.identified / costs.hello)
/** The number of clients whose tokens are checked together. */
const newClientCount = 1_000

/**
 * A broker whose `authenticate` answers when the test calls `answerAll`, and a client (the
 * bystander) that has a session already. `sayHello` sends the hello of a new client.
 */
async function setUp() {
  const answers: (() => void)[] = []
  const harness = new BrokerHarness({
    authenticate: ({ token }) => {
      if (token === 'bystander') return 'bystander'
      return new Promise((resolve) => {
        answers.push(() => resolve(token === 'wrong' ? undefined : 'ann'))
      })
    },
  })
  const socket = harness.connectWithHello({ lease: 60_000, token: 'bystander' })
  await harness.settle()
  const bystander = harness.clientOn(socket)
  const sayHello = (remoteAddress: string, hello: object = {}): FakeSocket => {
    const newSocket = harness.connect({ remoteAddress })
    harness.sayAndEndTurn(newSocket, { type: 'hello', lease: 60_000, token: 'right', ...hello })
    return newSocket
  }
  const answerAll = async (): Promise<void> => {
    for (const answer of answers.splice(0)) answer()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { harness, bystander, sayHello, answerAll }
}

/**
 * Runs turns until each socket has got its `welcome` or is closed. Checks that the bystander has an
 * answer in each turn. Returns how many handshakes ended in each turn.
 */
function runTurns(
  { environment }: BrokerHarness,
  bystander: Client,
  sockets: readonly FakeSocket[],
): number[] {
  const perTurn: number[] = []
  let endedBefore = 0
  for (let id = 1; endedBefore < sockets.length; id++) {
    bystander.socket.say({ type: 'stats', id })
    expect(environment.endOneTurn()).to.equal(true)
    expect(bystander.takeMessages().filter(({ type }) => type === 'stats')).to.have.length(1)
    const endedCount = sockets.filter((socket) => hasEnded(socket)).length
    perTurn.push(endedCount - endedBefore)
    endedBefore = endedCount
  }
  return perTurn
}

/** Whether the handshake on this socket has ended, by a `welcome` or a close. */
function hasEnded(socket: FakeSocket): boolean {
  return socket.closedWith !== undefined || socket.frames.length > 0
}

describe('handshakes whose tokens are checked in the same turn', function () {
  this.timeout(60_000)

  it('are continued in many turns, in order of arrival', async () => {
    const { harness, bystander, sayHello, answerAll } = await setUp()
    const sockets = Array.from({ length: newClientCount }, () => sayHello('192.0.2.1'))
    await answerAll()
    const perTurn = runTurns(harness, bystander, sockets)
    expect(Math.max(...perTurn)).to.be.at.most(2 * sessionsPerTurn)
    // A turn may exceed its budget by a part of a handshake. These parts may save one of the 50
    // turns, so the handshakes take at least 49.
    expect(perTurn.length).to.be.above(newClientCount / sessionsPerTurn - 2)
    expect(harness.broker.table.sessions.size).to.equal(newClientCount + 1)
    // The first session is that of the bystander.
    const [, ...openedSessions] = harness.broker.table.sessions.keys()
    const welcomed = sockets.map((socket) => socket.takeMessagesOfType('welcome')[0]!.session)
    expect(welcomed).to.deep.equal(openedSessions)
  })

  it('are continued alternately between addresses, so that a crowd at one address does not delay other addresses', async () => {
    const { harness, bystander, sayHello, answerAll } = await setUp()
    const crowd = Array.from({ length: 200 }, () => sayHello('192.0.2.1'))
    const lateSocket = sayHello('192.0.2.2')
    await answerAll()
    runTurns(harness, bystander, [lateSocket])
    // The late client has its `welcome` already, but most of the crowd still waits.
    expect(crowd.filter((socket) => hasEnded(socket)).length).to.be.below(3 * sessionsPerTurn)
    // Unlike `endOneTurn`, `endTurn` also runs all later turns until no work is left.
    harness.environment.endTurn()
    expect(crowd.every((socket) => socket.takeMessagesOfType('welcome').length === 1)).to.equal(
      true,
    )
  })

  it('are refused in many turns, if their tokens are wrong', async () => {
    const { harness, bystander, sayHello, answerAll } = await setUp()
    const sockets = Array.from({ length: 200 }, () => sayHello('192.0.2.1', { token: 'wrong' }))
    await answerAll()
    const perTurn = runTurns(harness, bystander, sockets)
    const refusalsPerTurn = Math.ceil(turnBudget.identified / costs.disconnect)
    expect(Math.max(...perTurn)).to.be.at.most(2 * refusalsPerTurn)
    const codes = new Set(sockets.map(({ closedWith }) => closedWith?.code))
    expect([...codes]).to.deep.equal([closeCodes.unauthorized.code])
  })

  it('are spread over more turns if they resume sessions with many locks', async () => {
    const { harness, bystander, sayHello, answerAll } = await setUp()
    const resumingHellos: object[] = []
    for (let n = 0; n < 10; n++) {
      const socket = sayHello('192.0.2.1', { grace: 60_000 })
      await answerAll()
      harness.environment.endTurn()
      const client = harness.clientOn(socket)
      const locks = Array.from({ length: 500 }, (_, i) => ({
        type: 'lock',
        id: i + 1,
        key: `${n}/${i}`,
      }))
      client.say(...locks)
      resumingHellos.push(client.resumeHello())
      socket.drop()
    }
    harness.environment.endTurn()
    const sockets = resumingHellos.map((hello) => {
      return sayHello('192.0.2.1', { grace: 60_000, ...hello })
    })
    await answerAll()
    const perTurn = runTurns(harness, bystander, sockets)
    // Each resume costs 300 units of work: 50 for its `hello`, and 250 to gather 500 locks and 500
    // answers. So the fourth resume of a turn exceeds its budget of 1,000 units. As in the other
    // tests, twice as many are accepted.
    expect(Math.max(...perTurn)).to.be.at.most(8)
  })

  it('end without a session if the connection closes while the handshake waits', async () => {
    const { harness, sayHello, answerAll } = await setUp()
    const sockets = Array.from({ length: 100 }, () => sayHello('192.0.2.1'))
    await answerAll()
    for (const socket of sockets.slice(50)) socket.drop()
    harness.environment.endTurn()
    // The 50 clients that stayed, and the bystander.
    expect(harness.broker.table.sessions.size).to.equal(51)
  })
})
