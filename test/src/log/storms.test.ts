/**
 * Brokers that share a log, with random failures between them and the log: cuts, delays, lost
 * answers, duplicates, snapshots and compacted entries. Two brokers have equal tables whenever they
 * have applied the same entries. After the failures every broker serves, and every session has a
 * live owner.
 */
import { Digest } from '@holdfast/server/internal'
import { expect } from 'chai'
import type { Client } from '../server/harness.js'
import { count, type Random, seeded } from '../support/counts.js'
import { plainState } from '../table/plainValues.js'
import { Cluster, type Member } from './cluster.js'

const keys = ['k', 'l', 'm']

/** A client that reconnects to any broker that accepts it. */
class Wanderer {
  readonly #brokers: readonly Member[]
  readonly #random: Random
  client: Client | undefined
  #id = 0

  constructor(brokers: readonly Member[], random: Random) {
    this.#brokers = brokers
    this.#random = random
  }

  async act(cluster: Cluster): Promise<void> {
    const { client } = this
    if (client === undefined || client.socket.closedWith !== undefined) {
      await this.#arrive(cluster)
      return
    }
    const random = this.#random
    for (const message of client.heard()) {
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
    if (random.chance(0.02)) client.socket.drop()
  }

  async #arrive(cluster: Cluster): Promise<void> {
    const at = this.#random.pick(this.#brokers)
    const former = this.client
    if (former?.socket.closedWith !== undefined) former.socket.drop()
    const socket = at.connectWithHello(
      former === undefined ? { grace: 'lease', lease: 5_000 } : hello(former),
    )
    await cluster.settle()
    if (socket.closedWith !== undefined || socket.frames.length === 0) {
      socket.drop()
      return
    }
    this.client = at.clientOn(socket)
    if (!this.client.welcome.resumed) this.#id = 0
    else this.client.say({ type: 'ack', ids: [] })
  }
}

function hello(former: Client): object {
  return former.resume({ grace: 'lease', lease: 5_000 })
}

/** The failures, each with its repair. */
function spoil(cluster: Cluster, { source }: Member, random: Random): () => void {
  const { faults } = source
  const all: (() => () => void)[] = [
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
      cluster.machine.stopFor(random.below(4_000))
      return () => {}
    },
  ]
  return random.pick(all)()
}

/** Checks that brokers at the same position have equal tables. */
function expectAgreement(brokers: readonly Member[]): void {
  const tables = new Map<number, string>()
  for (const { broker } of brokers) {
    const { position } = broker.logStatus!
    const { value } = new Digest(broker.table as never)
    expect(value).to.equal(tables.get(position) ?? value)
    tables.set(position, value)
  }
}

/** @returns How many takeovers and how many sessions there were. */
async function storm(random: Random): Promise<{ restarts: number; opened: number }> {
  const cluster = new Cluster()
  const brokers: Member[] = []
  for (let i = 0; i < 3; i++) brokers.push(await cluster.broker({}, { snapshotEntries: 40 }))
  const wanderers = Array.from({ length: 4 }, () => new Wanderer(brokers, random))
  const amends: (() => void)[] = []
  for (let step = 0; step < 300; step++) {
    if (random.chance(0.06)) amends.push(spoil(cluster, random.pick(brokers), random))
    if (amends.length > 0 && random.chance(0.05))
      amends.splice(random.below(amends.length), 1)[0]!()
    for (const wanderer of wanderers) if (random.chance(0.6)) await wanderer.act(cluster)
    await cluster.pass(random.below(400), 100)
    expectAgreement(brokers)
  }
  for (const mend of amends) mend()
  for (const { source } of brokers) source.mend()
  await cluster.pass(20_000, 100)
  const allText = cluster.store.allTexts.join('')
  const [first, ...others] = brokers.map(({ broker }) => broker)
  const { members } = first!.logStatus!
  for (const { failures } of brokers) expect(failures).to.deep.equal([])
  expect(members).to.have.members(brokers.map(({ broker }) => broker.logStatus!.name))
  for (const other of others)
    expect(plainState(other.table)).to.deep.equal(plainState(first!.table))
  for (const { ownerBroker } of first!.table.sessions.values())
    expect(members).to.include(ownerBroker)
  for (const { client } of wanderers) client?.socket.drop()
  await cluster.pass(12_000, 100)
  expect(first!.table.sessions.size).to.equal(0)
  expect(first!.table.heldCount + first!.table.waitingCount).to.equal(0)
  const times = (what: string): number => allText.split(what).length - 1
  return { restarts: times('"replaces"') + times('"dead"'), opened: times('"type":"open"') }
}

describe('brokers that share a log, through random failures', () => {
  const rounds = count(6, 200)
  it(`agree at any time, and recover afterwards (${rounds} rounds)`, function () {
    this.timeout(count(60_000, 1_200_000))
    return seeded(async (random) => {
      const seen = { restarts: 0, opened: 0 }
      for (let round = 0; round < rounds; round++) {
        const { restarts, opened } = await storm(random)
        seen.restarts += restarts
        seen.opened += opened
      }
      // Checks that there really were failures.
      expect(seen.restarts).to.be.greaterThan(rounds)
      expect(seen.opened).to.be.greaterThan(3 * rounds)
    })
  })
})
