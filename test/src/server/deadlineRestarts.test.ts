/**
 * Tests the start of a broker from a stored lock table, on a fake clock. The broker then gives each
 * lock its full time again, and must not set a million deadlines in one turn of the event loop. The
 * tests count the deadlines that each turn sets, and measure no time. The ttl of a lock is how long
 * the lock lasts without a refresh, and its maxHold is how long it lasts at most. The lease of a
 * session is how long the session lasts without a message of its client.
 */
import { dump, Lock, type LockTable, type SnapshotItem } from '@holdfast/server/core'
import { type Log, MemoryLog } from '@holdfast/server/internal'
import { DeadlineHeap, type HeldInfo } from '@holdfast/shared'
import { expect } from 'chai'
import { quickOrFull } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

/** Each lock has an answer, and a session may have 1,024 answers without an `ack` of its client. */
const locksPerSession = 500
const sessionCount = quickOrFull(4, 40)
/** Many times the number of deadlines that one turn may set. */
const lockCount = sessionCount * locksPerSession
/**
 * The most deadlines that one turn may set. A slice of 250 units of work sets at most 125, at 2
 * units each. The rest is a margin.
 */
const maxPerTurn = 150
const lease = 60_000
const ttl = 30_000

/** A log that restores a stored table when it starts, as a journal does. */
class StoredLog extends MemoryLog {
  readonly #items: readonly SnapshotItem[]

  constructor(table: Pick<LockTable, 'keys'>) {
    super()
    this.#items = JSON.parse(JSON.stringify([...dump(table as LockTable)]))
  }

  override start(stateMachine: Parameters<Log['start']>[0]): undefined {
    for (const _ of stateMachine.restore(this.#items)) {
      // Each step restores a part of the table.
    }
    super.start(stateMachine)
  }
}

/** Returns a broker, and clients that hold `lockCount` locks in all and can resume. */
function holdLocks(fields: object = { ttl }): { harness: BrokerHarness; clients: Client[] } {
  const harness = new BrokerHarness()
  const locksPerFrame = 250
  const clients = Array.from({ length: sessionCount }, (_, n) => {
    const client = harness.openSession({ lease, grace: 'lease' })
    for (let from = 0; from < locksPerSession; from += locksPerFrame) {
      const ids = Array.from({ length: locksPerFrame }, (_, i) => from + i + 1)
      client.say(...ids.map((id) => ({ type: 'lock', id, key: `k${n}:${id}`, ...fields })))
    }
    expect(client.socket.takeMessagesOfType('granted')).to.have.length(locksPerSession)
    return client
  })
  return { harness, clients }
}

/** Stops a broker, and starts another broker from its table. No turn has ended yet. */
function startFrom({ broker, environment }: BrokerHarness): BrokerHarness {
  void broker.stop()
  return new BrokerHarness({}, { log: new StoredLog(broker.table as LockTable), environment })
}

/** Runs some work, and returns how many deadlines of locks the work sets. */
function deadlinesSetBy(work: () => void): number {
  let setCount = 0
  const { set } = DeadlineHeap.prototype
  DeadlineHeap.prototype.set = function (subject, at) {
    // The subject of a `maxHold` is an object with a field `lock`.
    if (subject instanceof Lock || (subject as { lock?: unknown }).lock instanceof Lock) setCount++
    set.call(this, subject, at)
  }
  try {
    work()
  } finally {
    DeadlineHeap.prototype.set = set
  }
  return setCount
}

/** The locks that a new client finds at a key. Ends only one turn. */
function query(harness: BrokerHarness, key: string): HeldInfo[] {
  const socket = harness.connect()
  socket.say({ type: 'hello' }, { type: 'query', id: 1, key })
  harness.environment.endOneTurn()
  return socket.takeMessagesOfType('found').flatMap(({ held }) => held)
}

describe('a broker that starts with many locks from its log', () => {
  for (const [name, fields] of [
    ['a ttl', { ttl }],
    ['a maxHold', { maxHold: ttl }],
  ] as const) {
    it(`starts the deadlines of locks with ${name} in many turns`, () => {
      const { harness: former } = holdLocks(fields)
      let harness = former
      const perTurn = [
        deadlinesSetBy(() => {
          harness = startFrom(former)
        }),
      ]
      for (let isBusy = true; isBusy; ) {
        const setCount = deadlinesSetBy(() => {
          isBusy = harness.environment.endOneTurn()
        })
        perTurn.push(setCount)
      }
      expect(perTurn.reduce((sum, setCount) => sum + setCount)).to.equal(lockCount)
      expect(Math.max(...perTurn)).to.be.at.most(maxPerTurn)
    })
  }

  it('ends each lock exactly one ttl after the start of the broker', () => {
    const { harness: former } = holdLocks()
    const harness = startFrom(former)
    const { table } = harness.broker
    // The turns that start the deadlines take 50 ms. This time does not prolong the locks.
    for (let i = 0; i < 5; i++) {
      harness.environment.clock.advance(10)
      harness.environment.endOneTurn()
    }
    harness.environment.advance(ttl - 51)
    expect(table.heldCount).to.equal(lockCount)
    harness.environment.advance(1)
    expect(table.heldCount).to.equal(0)
  })

  it('also ends a lock whose ttl is over before the broker has started the deadline', () => {
    const { harness: former } = holdLocks({ ttl: 100 })
    const harness = startFrom(former)
    harness.environment.clock.advance(99)
    // This turn starts the deadlines of the first locks.
    harness.environment.endOneTurn()
    expect(harness.broker.table.heldCount).to.equal(lockCount)
    harness.environment.clock.advance(1)
    harness.environment.endTurn()
    // The shortest timer takes a ms.
    harness.environment.advance(1)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('shows the remaining times of a lock before the broker has started its deadlines', () => {
    const { harness: former } = holdLocks({ ttl, maxHold: 2 * ttl })
    const harness = startFrom(former)
    harness.environment.clock.advance(40)
    const [lock] = query(harness, `k${sessionCount - 1}:${locksPerSession}`)
    expect(lock).to.include({ ttlRemaining: ttl - 40, maxHoldRemaining: 2 * ttl - 40 })
  })

  it('starts the deadlines of all locks of a session before its client resumes the session', () => {
    const { harness: former, clients } = holdLocks()
    const client = clients.at(-1)!
    const start = former.environment.clock.monotonic()
    const harness = startFrom(former)
    harness.environment.clock.advance(40)
    const socket = harness.connect()
    socket.say({ type: 'hello', ...client.resumeHello({ lease, grace: 'lease' }) })
    harness.environment.endOneTurn()
    const [lock] = harness.broker.table.sessions.get(client.session)!.held.values()
    // A refresh moves the deadline, and the later turns do not move it back.
    socket.say({ type: 'refresh', id: locksPerSession + 1, fence: lock!.fence })
    harness.environment.endTurn()
    const held = socket.takeMessagesOfType('snapshot').flatMap((snapshot) => snapshot.held)
    expect(held).to.have.length(locksPerSession)
    expect(held[0]).to.deep.include({ ttl, at: start })
    expect(held.at(-1)).to.deep.include({ ttl, at: start })
    harness.environment.advance(ttl - 1)
    expect(harness.broker.table.heldCount).to.equal(1)
    harness.environment.advance(1)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('starts the timeouts of waiting requests again in full', () => {
    const { harness: former, clients } = holdLocks({})
    clients[0]!.say({ type: 'lock', id: locksPerSession + 1, key: 'k1:1', timeout: 5_000 })
    former.environment.advance(3_000)
    expect(former.broker.table.waitingCount).to.equal(1)
    const harness = startFrom(former)
    harness.environment.advance(4_999)
    expect(harness.broker.table.waitingCount).to.equal(1)
    harness.environment.advance(1)
    expect(harness.broker.table.waitingCount).to.equal(0)
  })

  it('starts no deadline of a lock that ended before the broker reached the lock', () => {
    const { harness: former } = holdLocks()
    const harness = startFrom(former)
    const thief = harness.connect()
    const setCount = deadlinesSetBy(() => {
      thief.say({ type: 'hello' })
      // This turn starts the deadlines of the first locks of the first session.
      harness.environment.endOneTurn()
      const steal = { type: 'lock', steal: true }
      thief.say({ ...steal, id: 1, key: `k0:${locksPerSession}` })
      thief.say({ ...steal, id: 2, key: 'k1:1' })
      harness.environment.endTurn()
    })
    expect(thief.takeMessagesOfType('granted')).to.have.length(2)
    // The two stolen locks got no deadline, and the locks of the thief have no ttl.
    expect(setCount).to.equal(lockCount - 2)
  })
})
