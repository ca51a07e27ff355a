/**
 * Tests the release of a key for which thousands of shared requests wait. The broker grants these
 * requests in parts, one part in each turn of the event loop, and serves other clients between the
 * parts. Until the last part, the key is unfinished. A fence is the number of a grant.
 */
import { expect } from 'chai'
import { BrokerHarness, type Client } from './harness.js'

/** A client with an exclusive lock, and two clients with 1,250 waiting shared requests each. */
function setUp(): { harness: BrokerHarness; holder: Client; crowd: Client[] } {
  const harness = new BrokerHarness()
  const holder = harness.openSession()
  holder.acquire('k')
  // With a grace, a client can resume its session. So the broker also stores each answer.
  const crowd = Array.from({ length: 2 }, () => harness.openSession({ grace: 'lease' }))
  for (const client of crowd) {
    for (let from = 0; from < 1_250; from += 250) {
      const ids = Array.from({ length: 250 }, (_, i) => from + i + 1)
      client.say(...ids.map((id) => ({ type: 'lock', id, key: 'k', mode: 'shared' })))
    }
  }
  return { harness, holder, crowd }
}

/** Releases the key. Unlike `holder.unlock`, does not end the turn. */
function release(holder: Client): void {
  holder.socket.say({ type: 'unlock', id: 2, fence: 1 })
}

/** How many grants these clients have received since the last call. */
const grantCount = (crowd: readonly Client[]): number =>
  crowd.reduce((sum, { socket }) => sum + socket.takeMessagesOfType('granted').length, 0)

describe('a release with thousands of shared requests', () => {
  it('grants all requests in parts, and the broker serves other clients between the parts', () => {
    const { harness, holder, crowd } = setUp()
    const { table } = harness.broker
    release(holder)
    // The first part has 1,000 of the 2,500 requests.
    expect(table.heldCount).to.equal(1_000)
    harness.environment.endOneTurn()
    const otherSocket = harness.connect()
    otherSocket.say({ type: 'hello' })
    // The holder, the crowd of two clients, and the other client have a session, although the
    // broker has not granted all requests.
    expect(table.sessions.size).to.equal(4)
    expect(table.heldCount).to.be.below(2_500)
    harness.environment.endTurn()
    expect(table.heldCount).to.equal(2_500)
    expect(grantCount(crowd)).to.equal(2_500)
  })

  it('grants all requests of one client although the other client ends its session between two parts', () => {
    const { harness, holder, crowd } = setUp()
    release(holder)
    crowd[0]!.say({ type: 'bye' })
    harness.environment.endTurn()
    expect(harness.broker.table.heldCount).to.equal(1_250)
    expect(harness.broker.table.waitingCount).to.equal(0)
    expect(grantCount([crowd[1]!])).to.equal(1_250)
  })
})
