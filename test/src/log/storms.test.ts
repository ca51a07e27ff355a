/**
 * Tests brokers that share a command log, which orders all changes of the lock table. In a storm, a
 * series of random failures happens between brokers and log. The failures are cuts, delays, lost
 * answers, duplicates and pauses; the log makes snapshots and removes old entries meanwhile. Two
 * brokers that have applied the same entries must have equal tables. After the failures, every
 * broker must serve. Each session must have an owner broker (which keeps the timers of the session)
 * that is a live member. All probabilities and random durations (in ms) are arbitrary.
 */
import { Digest } from '@holdfast/server/internal'
import { expect } from 'chai'
import type { Client } from '../server/harness.js'
import { quickOrFull, type Random, runRandomTest } from '../support/counts.js'
import { plainState } from '../table/tableToPlain.js'
import { Cluster, type Member } from './cluster.js'

const keys = ['k', 'l', 'm']
/** The fake clock advances in steps of this time. */
const clockStepMs = 100

/** A client that resumes its session at a random broker after each lost connection. */
class Wanderer {
  readonly #brokers: readonly Member[]
  readonly #random: Random
  client: Client | undefined
  /** Whether the wanderer itself has dropped the connection of `client`. */
  #hasDropped = false
  #id = 0

  constructor(brokers: readonly Member[], random: Random) {
    this.#brokers = brokers
    this.#random = random
  }

  /**
   * Answers pings, unlocks most granted locks, and sometimes requests a lock or drops the
   * connection. Without a connection, connects to a random broker.
   */
  async act(cluster: Cluster): Promise<void> {
    const { client } = this
    if (client === undefined || this.#hasDropped || client.socket.closedWith !== undefined) {
      await this.#connect(cluster)
      return
    }
    const random = this.#random
    for (const message of client.takeMessages()) {
      if (message.type === 'ping') client.say({ type: 'pong', n: message.n })
      if (message.type === 'granted' && random.chance(0.7)) {
        client.say({ type: 'unlock', id: ++this.#id, fence: message.fence })
      }
    }
    if (client.socket.closedWith !== undefined) return
    const ttl = random.chance(0.3) ? { ttl: 2_000 + random.below(8_000) } : {}
    const timeout = random.chance(0.5) ? { timeout: random.below(3_000) } : {}
    if (random.chance(0.3)) {
      client.say({ type: 'lock', id: ++this.#id, key: random.pick(keys), ...ttl, ...timeout })
    }
    if (random.chance(0.02)) {
      client.socket.drop()
      this.#hasDropped = true
    }
  }

  async #connect(cluster: Cluster): Promise<void> {
    const broker = this.#random.pick(this.#brokers)
    const formerClient = this.client
    // Completes a close that the broker has begun.
    if (formerClient?.socket.closedWith !== undefined) formerClient.socket.drop()
    const options = { grace: 'lease', lease: 5_000 } as const
    const socket = broker.connectWithHello(
      formerClient === undefined ? options : formerClient.resumeHello(options),
    )
    await cluster.settle()
    // A broker that has sent nothing waits for the log. The next `act` tries again.
    if (socket.closedWith !== undefined || socket.frames.length === 0) {
      socket.drop()
      return
    }
    this.client = broker.clientOn(socket)
    this.#hasDropped = false
    // In a new session, the request ids begin again. After a resume, any message proves that the
    // client has received `welcome`, with the secret for the next resume.
    if (!this.client.welcome.resumed) this.#id = 0
    else this.client.say({ type: 'ack', ids: [] })
  }
}

/** Causes a random failure. Returns a function that repairs the failure. */
function causeFailure(cluster: Cluster, { source }: Member, random: Random): () => void {
  const { faults } = source
  const failures: (() => () => void)[] = [
    () => {
      source.cut()
      return () => source.mend()
    },
    () => {
      faults.delayMs = random.below(1_500)
      return () => {
        faults.delayMs = 0
      }
    },
    () => {
      faults.losesAnswers = true
      return () => {
        faults.losesAnswers = false
      }
    },
    () => {
      faults.appendsTwice = true
      return () => {
        faults.appendsTwice = false
      }
    },
    () => {
      cluster.environment.advanceWithoutTimers(random.below(4_000))
      return () => {}
    },
  ]
  return random.pick(failures)()
}

/** The state of a table without undefined fields, which a stored answer loses in a snapshot. */
function jsonState(table: Parameters<typeof plainState>[0]): object {
  return JSON.parse(JSON.stringify(plainState(table))) as object
}

/** Checks that brokers at the same position have equal tables. */
function expectAgreement(brokers: readonly Member[]): void {
  const digests = new Map<number, string>()
  for (const { broker } of brokers) {
    const { position } = broker.logStatus!
    const { value } = new Digest(broker.table as never)
    expect(value).to.equal(digests.get(position) ?? value)
    digests.set(position, value)
  }
}

/**
 * Runs one storm. Returns the number of opened sessions and the number of takeovers. A takeover is
 * an entry that replaces a former member or declares a member dead.
 */
async function runStorm(random: Random): Promise<{ takeovers: number; opened: number }> {
  const cluster = new Cluster()
  const brokers: Member[] = []
  for (let i = 0; i < 3; i++) brokers.push(await cluster.startBroker({}, { snapshotEntries: 40 }))
  const wanderers = Array.from({ length: 4 }, () => new Wanderer(brokers, random))
  const repairs: (() => void)[] = []
  for (let step = 0; step < 300; step++) {
    if (random.chance(0.06)) repairs.push(causeFailure(cluster, random.pick(brokers), random))
    if (repairs.length > 0 && random.chance(0.05))
      repairs.splice(random.below(repairs.length), 1)[0]!()
    for (const wanderer of wanderers) if (random.chance(0.6)) await wanderer.act(cluster)
    await cluster.passTime(random.below(400), clockStepMs)
    expectAgreement(brokers)
  }
  for (const repair of repairs) repair()
  for (const { source } of brokers) source.mend()
  // The wanderers go on, so that the brokers have sessions after the storm.
  for (let step = 0; step < 100; step++) {
    for (const wanderer of wanderers) await wanderer.act(cluster)
    await cluster.passTime(200, clockStepMs)
  }
  await cluster.passTime(1_000, clockStepMs)
  const entriesOfStorm = cluster.store.allTexts.join('')
  const [first, ...others] = brokers.map(({ broker }) => broker)
  const { members } = first!.logStatus!
  for (const { failures } of brokers) expect(failures).to.deep.equal([])
  expect(members).to.have.members(brokers.map(({ broker }) => broker.logStatus!.name))
  for (const other of others) expect(jsonState(other.table)).to.deep.equal(jsonState(first!.table))
  expect(first!.table.sessions.size).to.be.above(0)
  for (const { ownerBroker } of first!.table.sessions.values())
    expect(members).to.include(ownerBroker)
  for (const { client } of wanderers) client?.socket.drop()
  // Each session ends 5 s (its lease) after its last message. 12 s are surely enough.
  await cluster.passTime(12_000, clockStepMs)
  expect(first!.table.sessions.size).to.equal(0)
  expect(first!.table.heldCount + first!.table.waitingCount).to.equal(0)
  const countOf = (text: string): number => entriesOfStorm.split(text).length - 1
  return { takeovers: countOf('"replaces"') + countOf('"dead"'), opened: countOf('"type":"open"') }
}

describe('brokers that share a log, through random failures', () => {
  const rounds = quickOrFull(6, 200)
  it(`have equal tables at equal positions of the log, and recover afterwards (${rounds} rounds)`, function () {
    this.timeout(quickOrFull(60_000, 1_200_000))
    return runRandomTest(async (random) => {
      const totals = { takeovers: 0, opened: 0 }
      // Some storms lead to no takeover. So the test runs storms until there were enough takeovers,
      // but at most ten times as many storms as planned.
      let round = 0
      for (; round < rounds || (totals.takeovers <= rounds && round < 10 * rounds); round++) {
        const { takeovers, opened } = await runStorm(random)
        totals.takeovers += takeovers
        totals.opened += opened
      }
      // Checks that the failures led to takeovers, and that most of the four wanderers of each
      // storm opened a session.
      expect(totals.takeovers).to.be.greaterThan(rounds)
      expect(totals.opened).to.be.greaterThan(3 * round)
    })
  })
})
