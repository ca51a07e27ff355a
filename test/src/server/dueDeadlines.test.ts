/**
 * Tests thousands of deadlines that pass in the same millisecond. The broker handles the deadlines
 * in many turns of the event loop, in the order of their times, and none before its time. The
 * messages of other clients are handled between these turns. The lease is the time that the broker
 * keeps a session without a message of its client. The grace is the time that a session outlives
 * its connection. The ttl of a lock is the time after which the lock expires. A fence is the number
 * of a grant.
 */
import {
  type BrokerOptions,
  costs,
  Timekeeper,
  turnBudget,
  unitsPerMs,
} from '@holdfast/server/internal'
import { expect } from 'chai'
import { WorkMeter } from '../protocol/workMeter.js'
import { quickOrFull } from '../support/counts.js'
import { FakeEnvironment } from './fakeEnvironment.js'
import { BrokerHarness, type Client } from './harness.js'

const deadlineCount = quickOrFull(5_000, 50_000)
/** The number of sessions with one deadline each. */
const sessionCount = quickOrFull(500, 5_000)
/** The number of deadlines of each session with many deadlines. */
const deadlinesPerSession = 5_000
/** When the deadlines pass, in ms. */
const dueMs = 3_000
/**
 * The most work of one turn, in units of work: the budget for deadlines, and some units for the
 * last deadline and for the bystander. The bystander is a client that sends a message in each turn.
 * The broker must answer in the same turn.
 */
const maxWork = turnBudget.deadlines + 500

interface DeadlineKind {
  /** Returns options for the broker, which may use the clock of the environment. */
  readonly options?: (environment: FakeEnvironment) => BrokerOptions
  /** Sets deadlines. Returns a function that counts how many of them the broker has handled. */
  readonly prepare: (harness: BrokerHarness) => Promise<() => number> | (() => number)
  /** How many deadlines `prepare` sets. */
  readonly total: number
}

/**
 * Lets clients send `total` messages, in frames of 500 messages. Each client sends `perClient`
 * messages, with the ids from 1 on.
 */
function sendMany(
  harness: BrokerHarness,
  total: number,
  perClient: number,
  messageFor: (id: number) => object,
): Client[] {
  const clients: Client[] = []
  for (let first = 0; first < total; first += perClient) {
    const client = harness.openSession({ lease: 300_000 })
    for (let i = 0; i < perClient; i += 500) {
      client.say(...Array.from({ length: 500 }, (_, j) => messageFor(i + j + 1)))
    }
    // Drops the answers.
    client.takeMessages()
    clients.push(client)
  }
  return clients
}

/** Returns a `prepare` that acquires locks with these fields, which set one deadline each. */
function prepareLocks(fields: object) {
  return (harness: BrokerHarness): (() => number) => {
    const { table } = harness.broker
    // The number of sessions so far tells the keys of different clients apart.
    const clients = sendMany(harness, deadlineCount, deadlinesPerSession, (id) => {
      return { type: 'lock', id, key: `${table.sessions.size}/${id}`, ...fields }
    })
    expect(table.heldCount).to.equal(clients.length * deadlinesPerSession)
    return () => deadlineCount - table.heldCount
  }
}

/** Each kind of deadline, and how a test makes many deadlines of this kind. */
const kinds: Record<string, DeadlineKind> = {
  'timeouts of requests': {
    total: deadlineCount,
    prepare: (harness) => {
      harness.openSession({ lease: 300_000 }).acquire('held')
      const fields = { type: 'lock', key: 'held', timeout: dueMs }
      sendMany(harness, deadlineCount, deadlinesPerSession, (id) => ({ ...fields, id }))
      return () => deadlineCount - harness.broker.table.waitingCount
    },
  },
  'ttls of locks': { total: deadlineCount, prepare: prepareLocks({ ttl: dueMs }) },
  'longest holds of locks': { total: deadlineCount, prepare: prepareLocks({ maxHold: dueMs }) },
  'timeouts at barriers': {
    total: deadlineCount,
    prepare: (harness) => {
      // Too few clients call at each barrier, and a session may have at most 1,000 such calls.
      const fields = { type: 'barrier', parties: 1_000, timeout: dueMs }
      sendMany(harness, deadlineCount, 1_000, (id) => ({ ...fields, id, key: `barrier ${id}` }))
      return () => deadlineCount - harness.broker.table.barriers.callCount
    },
  },
  'ends of kept results': {
    total: 1_000,
    prepare: (harness) => {
      const runner = harness.openSession({ lease: 300_000 })
      for (let i = 0; i < 1_000; i++) {
        const id = 2 * i + 1
        // `once` grants a run, and `complete` gives its value, which the broker keeps for a time.
        runner.say({ type: 'once', id, key: `result ${i}` })
        const [granted] = runner.takeMessages()
        const { fence } = granted as { fence: number }
        runner.say({ type: 'complete', id: id + 1, fence, value: i, keep: dueMs })
        runner.say({ type: 'ack', ids: [id, id + 1] })
        runner.takeMessages()
      }
      return () => 1_000 - harness.broker.table.keptResults.size
    },
  },
  'leases of silent sessions': {
    total: sessionCount,
    prepare: (harness) => {
      const { table } = harness.broker
      const sessionsBefore = table.sessions.size
      for (let i = 0; i < sessionCount; i++)
        harness.openSession({ lease: dueMs }).acquire(`lease ${i}`)
      return () => sessionCount - (table.sessions.size - sessionsBefore)
    },
  },
  'graces of sessions': {
    total: sessionCount,
    prepare: (harness) => {
      const { table } = harness.broker
      const sessionsBefore = table.sessions.size
      const clients = Array.from({ length: sessionCount }, (_, i) => {
        const client = harness.openSession({ lease: 60_000, grace: dueMs })
        client.acquire(`grace ${i}`)
        return client
      })
      for (const client of clients) client.socket.drop()
      harness.environment.endTurn()
      return () => sessionCount - (table.sessions.size - sessionsBefore)
    },
  },
  'expiries of tokens': {
    total: sessionCount,
    options: ({ clock }) => ({
      authenticate: ({ token }) => {
        const expiresAt = token === 'short' ? clock.wall() + dueMs : undefined
        return { principal: 'ann', ...(expiresAt === undefined ? {} : { expiresAt }) }
      },
    }),
    prepare: async (harness) => {
      const sockets = Array.from({ length: sessionCount }, () => {
        return harness.connectWithHello({ lease: 60_000, token: 'short' })
      })
      await harness.settle()
      // The tokens expire so soon that the broker warns the clients within 10 ms.
      harness.environment.advance(10)
      expect(
        sockets.filter((socket) => socket.takeMessagesOfType('expiring').length > 0),
      ).to.have.length(sessionCount)
      return () => sockets.filter((socket) => socket.closedWith !== undefined).length
    },
  },
}

describe('deadlines that pass together', function () {
  this.timeout(quickOrFull(60_000, 300_000))
  for (const [name, { options, prepare, total }] of Object.entries(kinds)) {
    it(`are spread over turns: ${name}`, async () => {
      const meter = new WorkMeter()
      const environment = new FakeEnvironment()
      const brokerOptions = { ...options?.(environment), observer: meter }
      // The second and the third argument are the defaults of the harness.
      const harness = new BrokerHarness(brokerOptions, { environment })
      const socket = harness.connectWithHello({ lease: 300_000, token: 'long' })
      await harness.settle()
      const bystander = harness.clientOn(socket)
      const startedAt = environment.clock.monotonic()
      const handled = await prepare(harness)
      // The clock moves to 100 ms before the deadlines, and then to all deadlines in one step.
      environment.advance(startedAt + dueMs - 100 - environment.clock.monotonic())
      expect(handled(), 'deadlines that were handled before their time').to.equal(0)
      bystander.takeMessages()
      environment.advanceWithoutTimers(100)
      meter.takeWork()
      environment.fireTimers()
      let turns = 0
      // Each step of the loop is one turn. One more turn follows after all deadlines are handled.
      for (let handledBefore = -1; handledBefore < total; turns++) {
        handledBefore = handled()
        bystander.socket.say({ type: 'stats', id: turns + 1 })
        if (!environment.endOneTurn()) break
        const workOfTurn = meter.takeWork()
        expect(workOfTurn, 'the work of one turn').to.be.below(maxWork)
        const answers = bystander.takeMessages().filter(({ type }) => type === 'stats')
        expect(answers, 'answers to the bystander in each turn').to.have.length(1)
      }
      // No deadline is left for later.
      environment.advance(250)
      expect(handled()).to.equal(total)
      // Each deadline costs at least one unit of the budget.
      expect(turns).to.be.above(total / turnBudget.deadlines)
    })
  }

  it('make the broker answer timed-out requests in the order of these requests', () => {
    const harness = new BrokerHarness()
    harness.openSession().acquire('held')
    const client = harness.openSession()
    const requests = Array.from({ length: 3_000 }, (_, i) => {
      return { type: 'lock', id: i + 1, key: 'held', timeout: 1_000 }
    })
    for (let i = 0; i < 3_000; i += 500) client.say(...requests.slice(i, i + 500))
    harness.environment.advance(1_000)
    const ids = client.socket.takeMessagesOfType('failed').map(({ id }) => id)
    expect(ids).to.deep.equal(requests.map(({ id }) => id))
  })
})

describe('the timekeeper with many passed deadlines', () => {
  /** What has the deadline. In the broker, for example a lock. */
  interface Subject {
    /** When the deadline is due. In some tests the number only tells the subjects apart. */
    readonly dueMs: number
  }

  /** A timekeeper whose handler reports this many units for each deadline. */
  function setUp(handlerUnits: number) {
    const environment = new FakeEnvironment()
    const handled: Subject[] = []
    let spent = 0
    const { clock, endOfTurn } = environment
    const timekeeper = new Timekeeper<Subject, Subject>({
      clock,
      endOfTurn,
      scheduler: {
        spend: (units) => {
          spent += units
        },
      },
    })
    const handle = (subject: Subject): number => {
      handled.push(subject)
      return handlerUnits
    }
    timekeeper.listen({ onClientDeadline: handle, onBrokerTimer: handle })
    return { environment, timekeeper, handled, spent: () => spent }
  }

  it('handles client deadlines and broker timers in one order', () => {
    const { environment, timekeeper, handled } = setUp(10)
    // The times are from 1 to 200 ms, in mixed order.
    const subjects = Array.from({ length: 2_000 }, (_, i) => ({ dueMs: 1 + ((i * 37) % 200) }))
    for (const [i, subject] of subjects.entries()) {
      if (i % 2 === 0) timekeeper.setTimer(subject, subject.dueMs)
      else timekeeper.setClientDeadline(subject, timekeeper.now() + subject.dueMs)
    }
    // The timekeeper would shift the client deadlines only after a stop of more than 100 ms.
    environment.advanceWithoutTimers(50)
    environment.fireTimers()
    environment.endTurn()
    expect(handled.every((subject) => subject.dueMs <= 50)).to.equal(true)
    environment.advance(150)
    const times = handled.map((subject) => subject.dueMs)
    expect(times).to.deep.equal([...times].sort((a, b) => a - b))
    expect(times).to.have.length(2_000)
  })

  it('handles as many deadlines in a turn as the budget allows, and tells the scheduler their costs', () => {
    const unitsPerDeadline = turnBudget.deadlines / 10
    // The timekeeper adds `costs.deadline` to the units of the handler.
    const { environment, timekeeper, handled, spent } = setUp(unitsPerDeadline - costs.deadline)
    for (let i = 0; i < 25; i++) timekeeper.setTimer({ dueMs: i }, 100)
    environment.advanceWithoutTimers(100)
    environment.fireTimers()
    for (const expected of [10, 20, 25]) {
      environment.endOneTurn()
      expect(handled).to.have.length(expected)
      expect(spent()).to.equal(expected * unitsPerDeadline)
    }
  })

  it('handles nothing in the turn after a deadline that costs the budget of two turns', () => {
    const { environment, timekeeper, handled } = setUp(2 * turnBudget.deadlines - costs.deadline)
    timekeeper.setTimer({ dueMs: 1 }, 100)
    timekeeper.setTimer({ dueMs: 2 }, 100)
    environment.advanceWithoutTimers(100)
    environment.fireTimers()
    for (const expected of [1, 1, 2]) {
      environment.endOneTurn()
      expect(handled).to.have.length(expected)
    }
  })

  it('ends a turn after the usual time of its budget, even if some of the budget is left', () => {
    const environment = new FakeEnvironment()
    const { clock, endOfTurn } = environment
    const timekeeper = new Timekeeper<Subject, Subject>({ clock, endOfTurn })
    let handled = 0
    const handle = (): number => {
      handled++
      // One deadline takes 0.6 of this time, so the second deadline is the last of the turn.
      environment.advanceWithoutTimers((0.6 * turnBudget.deadlines) / unitsPerMs)
      return 0
    }
    timekeeper.listen({ onClientDeadline: handle, onBrokerTimer: handle })
    for (let i = 0; i < 5; i++) timekeeper.setTimer({ dueMs: i }, 100)
    environment.advanceWithoutTimers(100)
    environment.fireTimers()
    for (const expected of [2, 4, 5]) {
      environment.endOneTurn()
      expect(handled).to.equal(expected)
    }
  })
})
