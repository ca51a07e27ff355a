/**
 * Lets hostile clients send as much as the limits allow, in random order, to a broker with many
 * locks. The clients read or do not read, acknowledge or do not, leave and resume.
 *
 * Checks that each turn of the broker is bounded, that an honest client (the bystander) is answered
 * within a few turns, that each connection is answered in order, and that no data is left behind.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from '../server/harness.js'
import type { FakeSocket } from '../server/socket.js'
import { count, type Random, seeded } from '../support/counts.js'
import { deepFrame, type Surroundings } from './amounts.js'
import { WorkMeter } from './workMeter.js'

const sequences = count(3, 300)
const heldLocks = count(800, 5_000)
const crowdSize = count(300, 1_000)
/** Turns after which a hostile client leaves, even if requests are unanswered. */
const patience = count(200, 2_000)
/** Number of hostile clients at the same time. */
const gangSize = 5
const leaseMs = 60_000
/** Lease of hostile clients: a cut client keeps its locks for so long. */
const hostileLeaseMs = 10_000
/** Turns within which a bystander must have its answer. */
const fewTurns = 8
/** Most work of a turn, in units of about a microsecond. */
const mostWork = 30_000

/** The broker, its locks and the honest clients. */
class Scene {
  readonly meter = new WorkMeter()
  readonly bench: BrokerHarness
  readonly surroundings: Surroundings
  readonly #bystander: Client
  readonly #others: Client[] = []

  constructor() {
    this.bench = new BrokerHarness({ observer: this.meter })
    const holder = this.#join()
    const inFrames = (messages: readonly object[]): void => {
      for (let i = 0; i < messages.length; i += 500) holder.say(...messages.slice(i, i + 500))
    }
    let id = 0
    inFrames(
      Array.from({ length: heldLocks }, () => ({ type: 'lock', id: ++id, key: `table:${id}` })),
    )
    holder.heard()
    const shared = { type: 'lock', key: 'crowd', mode: 'shared' }
    inFrames(Array.from({ length: crowdSize }, () => ({ ...shared, id: ++id })))
    const fences = holder.heard().flatMap((one) => (one.type === 'granted' ? [one.fence] : []))
    for (let i = 0; i < 16; i++) {
      this.#join().acquire('described', { mode: 'shared', metadata: 'm'.repeat(4_000) })
    }
    this.#join().acquire('queued')
    const waiting = this.#join()
    for (let i = 0; i < 300; i++) waiting.lock('queued')
    this.#bystander = this.bench.join({ lease: leaseMs, name: 'other' })
    const crowd = { key: 'crowd', fences }
    this.surroundings = { prefix: 'table:', crowd, described: 'described', queued: 'queued' }
    this.meter.watchWalks(this.bench.broker)
    this.meter.take()
  }

  /** Ends a turn, and checks the work done in it. */
  endOneTurn(): boolean {
    const hasMore = this.bench.environment.endOneTurn()
    const work = this.meter.take()
    expect(work, 'the work of one turn').to.be.below(mostWork)
    for (const other of this.#others) other.heard()
    return hasMore
  }

  /** Checks that a lock and an unlock of the bystander are answered within a few turns. */
  judgeFairness(): void {
    const { socket } = this.#bystander
    const ask = (message: object, type: 'granted' | 'unlocked'): ServerMessage => {
      const id = ++this.#asked
      socket.say({ ...message, id })
      for (let turns = 1; turns <= fewTurns; turns++) {
        this.endOneTurn()
        const answer = socket.heard().find((one) => 'id' in one && one.id === id)
        if (answer === undefined) continue
        expect(answer.type).to.equal(type)
        return answer
      }
      throw new Error(`a bystander was not answered within ${fewTurns} turns`)
    }
    const granted = ask({ type: 'lock', key: `bystander ${this.#asked}` }, 'granted')
    ask({ type: 'unlock', fence: (granted as { fence: number }).fence }, 'unlocked')
  }
  #asked = 0

  /** Lets time pass in several turns. */
  pass(ms: number): void {
    this.bench.environment.pass(ms)
    this.meter.take()
  }

  /** Checks that no data of hostile clients is left, and that the honest clients are unchanged. */
  judgeRest(): void {
    const { bench } = this
    for (let ms = 0; ms <= hostileLeaseMs + 1_000; ms += 1_000) bench.environment.pass(1_000)
    for (const other of [...this.#others, this.#bystander]) {
      other.say({ type: 'pong', n: 1 })
      other.heard()
    }
    const names = new Set([...bench.broker.table.sessions.values()].map(({ name }) => name))
    expect([...names]).to.deep.equal(['other'])
    for (const { key } of bench.broker.table.keys.values()) {
      expect(key).to.match(/^(table:\d+|crowd|described|queued)$/)
    }
    this.meter.take()
  }

  #join(): Client {
    const client = this.bench.join({ lease: leaseMs, name: 'other' })
    this.#others.push(client)
    return client
  }
}

/** A hostile client, which uses one connection after the other. */
class Hostile {
  readonly #scene: Scene
  readonly #random: Random
  #socket: FakeSocket
  #id = 0
  /** Ids of the `stats` requests (marks) of this connection that are unanswered, in order. */
  #marks: number[] = []

  constructor(scene: Scene, random: Random) {
    this.#scene = scene
    this.#random = random
    this.#socket = this.#enter()
  }

  get #isCut(): boolean {
    const { closedWith, terminated } = this.#socket
    return closedWith !== undefined || terminated
  }

  /** Does one random action. */
  act(): void {
    const random = this.#random
    const socket = this.#socket
    if (this.#isCut || random.chance(0.03)) {
      socket.drop()
      this.#socket = this.#enter()
      return
    }
    if (random.chance(0.1)) socket.isReading = random.chance(0.6)
    else this.#send(deepFrame(random, this.#scene.surroundings, () => ++this.#id))
    if (socket.isReading && socket.bufferedBytes > 0) {
      socket.read(random.chance(0.5) ? socket.bufferedBytes : 1)
    }
  }

  /** Checks the order of answers: every mark is answered once, before the next. */
  hear(): void {
    for (const message of this.#socket.heard()) {
      if (message.type !== 'stats' || message.id < marksFrom) continue
      expect(message.id, 'the answer to a mark').to.equal(this.#marks.shift())
    }
  }

  /** Reads until everything is answered, and then leaves. */
  leave(): void {
    const socket = this.#socket
    socket.isReading = true
    for (let i = 0; i < patience && this.#marks.length > 0 && !this.#isCut; i++) {
      if (socket.bufferedBytes > 0) socket.read()
      if (!this.#scene.endOneTurn()) this.#scene.pass(10)
      this.hear()
    }
    socket.drop()
    this.#scene.endOneTurn()
  }

  #send(messages: readonly unknown[]): void {
    const mark = marksFrom + ++this.#id
    this.#marks.push(mark)
    this.#socket.say(...messages, { type: 'stats', id: mark })
  }

  #enter(): FakeSocket {
    this.#marks = []
    this.#id = 0
    const { bench, meter } = this.#scene
    const socket = bench.connect()
    meter.watchOutput(socket)
    socket.say({ type: 'hello', name: 'hostile', lease: hostileLeaseMs })
    return socket
  }
}

/** Ids of marks are above all other ids. */
const marksFrom = 2 ** 40

describe('protocol: hostile amounts', () => {
  it(`${sequences} hostile sequences leave turns short, other clients served and no data behind`, function () {
    this.timeout(count(60_000, 1_200_000))
    seeded((random) => {
      let scene = new Scene()
      for (let i = 1; i <= sequences; i++) {
        const gang = Array.from({ length: 1 + random.below(gangSize) }, () => {
          return new Hostile(scene, random)
        })
        for (let step = 0; step < 6; step++) {
          for (const one of gang) one.act()
          scene.judgeFairness()
          for (const one of gang) one.hear()
          if (random.chance(0.3)) scene.pass(random.pick([1, 20, 100]))
        }
        for (const one of gang) one.leave()
        scene.judgeRest()
        // Hostile clients revoke the locks of the set-up, so it is made again after a while.
        if (i % 100 === 0) scene = new Scene()
      }
    })
  })

  it('bounds the work of a turn for many watches and large events', function () {
    this.timeout(60_000)
    const scene = new Scene()
    const { bench, meter } = scene
    const socket = bench.connect()
    meter.watchOutput(socket)
    socket.say({ type: 'hello', name: 'hostile', lease: hostileLeaseMs })
    while (scene.endOneTurn()) socket.heard()
    socket.say(...Array.from({ length: 900 }, (_, i) => ({ type: 'watch', id: i + 1 })))
    while (scene.endOneTurn()) socket.heard()
    const metadata = 'm'.repeat(4_000)
    const churn = { type: 'lock', key: 'churn', steal: true, metadata }
    socket.say(...Array.from({ length: 14 }, (_, i) => ({ ...churn, id: i + 1 })))
    while (scene.endOneTurn()) scene.judgeFairness()
  })
})
