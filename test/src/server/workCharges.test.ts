/**
 * Tests that the broker charges the sender of a message for all work that the message causes. The
 * length of a message does not show all of this work. Without the charge, the sender would exceed
 * its share of a turn of the event loop, in which the broker also serves other clients. Most tests
 * have a hundred hostile clients, and the first turn may handle only a few of their messages. A
 * fence is the number of a grant.
 */
import { expect } from 'chai'
import { BrokerHarness, lockRequests } from './harness.js'

describe('charges for work', function () {
  this.timeout(60_000)

  it('charges the sender of a forbidden request for the report that the metrics and the logs get', () => {
    const harness = new BrokerHarness({ authorize: () => false })
    const client = harness.openSession({ lease: 60_000 })
    client.socket.say(...lockRequests(400, () => ({ key: 'k' })))
    harness.environment.endOneTurn()
    // Without reports, a client gets about 250 answers in one turn.
    expect(client.takeMessages().length).to.be.within(20, 100)
    harness.environment.endTurn()
    expect(client.takeMessages().at(-1)).to.include({ id: 400, code: 'FORBIDDEN' })
  })

  it('charges the sender for a frame with an invalid message', () => {
    const harness = new BrokerHarness()
    const hostile = harness.openSessions(100, { lease: 60_000 })
    // An ack may have 1,024 ids. The last of them is invalid, so the check reads all ids. The first
    // ack closes the connection. The others only make the frame expensive to parse.
    const ids = Array.from({ length: 1_023 }, (_, i) => i + 1)
    const invalid = Array.from({ length: 12 }, () => ({ type: 'ack', ids: [...ids, 'x'] }))
    for (const { socket } of hostile) socket.say(...invalid)
    const closed = hostile.filter(({ socket }) => socket.closedWith !== undefined)
    // `say` delivers a frame within the present turn. Parsing and checking some frames uses up this
    // turn, so most of the clients' frames wait.
    expect(closed.length).to.be.within(1, 20)
    harness.environment.endTurn()
    for (const { socket } of hostile) expect(socket.closedWith?.code).to.equal(4400)
  })

  it('charges the sender for each nested array of a frame', () => {
    const harness = new BrokerHarness()
    const hostile = harness.openSessions(100, { lease: 60_000 })
    const deep = '['.repeat(30_000) + ']'.repeat(30_000)
    for (const { socket } of hostile) {
      socket.say(`[{"type":"lock","id":1,"key":"a","metadata":${deep}}]`)
    }
    // Nearly all of the 100 clients have used up their share of the turn.
    expect(hostile.filter(({ socket }) => !socket.isPausedByBroker).length).to.be.below(5)
    harness.environment.endTurn()
    for (const { socket } of hostile) expect(socket.takeMessagesOfType('failed')).to.have.length(1)
  })

  it('charges the sender for metadata, which the broker must serialize again', () => {
    const harness = new BrokerHarness()
    const hostile = harness.openSessions(100, { lease: 60_000 })
    const metadata = Array.from({ length: 1_500 }, () => 1)
    const frame = lockRequests(20, () => ({ key: 'm', timeout: 0, metadata }))
    for (const { socket } of hostile) socket.say(...frame)
    const answeredCount = (): number =>
      hostile
        .flatMap(({ socket }) => socket.takeMessages())
        .filter(({ type }) => type === 'granted' || type === 'failed').length
    harness.environment.endOneTurn()
    // The first turn answers at most a tenth of the 2,000 requests.
    expect(answeredCount()).to.be.within(1, 200)
    harness.environment.endTurn()
    // Later turns answer the others.
    expect(answeredCount()).to.be.above(1_700)
  })

  it('charges the sender of a query for the holders that the requested page skips', () => {
    const harness = new BrokerHarness()
    // These locks have the fences 1 to 500, and the locks of `crowd` have 501 to 10,500.
    harness.openSession({ lease: 60_000 }).lockMany(500, (i) => ({ key: `${i}` }))
    const holder = harness.openSession({ lease: 60_000 })
    holder.lockMany(10_000, () => ({ key: 'crowd', mode: 'shared' }))
    const hostile = harness.openSessions(100, { lease: 60_000 })
    for (const { socket } of hostile) {
      socket.say({
        type: 'query',
        id: 1,
        key: 'crowd',
        after: 'crowd',
        afterFence: 5_000,
        limit: 1,
      })
    }
    harness.environment.endOneTurn()
    const answered = hostile.filter(({ socket }) => socket.takeMessagesOfType('found').length > 0)
    // Each query skips thousands of holders, so a turn answers only some of the 100 queries.
    expect(answered.length).to.be.within(1, 30)
    harness.environment.endTurn()
  })

  it('charges the sender of a request for each connection that gets an event of the request', () => {
    const harness = new BrokerHarness()
    const watching = harness.openSessions(100, { lease: 60_000 })
    for (const client of watching) client.say({ type: 'watch', id: 1, prefix: '' })
    const busy = harness.openSession({ lease: 60_000 })
    // The watches cost more than the budget of one turn. The excess reduces the budgets of the next
    // turns, so the test lets turns pass. Each pong causes a turn.
    for (let n = 1; n <= 3; n++) {
      busy.socket.say({ type: 'pong', n })
      harness.environment.endTurn()
    }
    busy.socket.say(...lockRequests(200, () => ({ key: 'churn', steal: true })))
    // Each steal has one grant, so the newest fence is the number of handled steals. The turn of
    // the frame handles only some of the 200 steals.
    expect(harness.broker.table.fence).to.be.within(10, 100)
    harness.environment.endTurn()
    expect(harness.broker.table.fence).to.equal(200)
  })
})
