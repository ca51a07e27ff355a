/**
 * Tests hostile clients that send random frames, up to the limits, to a broker with many locks.
 * At random, the hostile clients stop reading their output, and disconnect. The work of each turn
 * of the event loop must be bounded. The broker must answer an honest client, the bystander, within
 * a few turns. The broker must answer each connection in order, and keep no data of the hostile
 * clients. The lease is how long the broker keeps a session after the last message of its client. A
 * fence is the number of a grant.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, type Client } from '../server/harness.js'
import type { FakeSocket } from '../server/socket.js'
import { quickOrFull, type Random, runRandomTest } from '../support/counts.js'
import { type HeldKeys, hostileBatch } from './amounts.js'
import { WorkMeter } from './workMeter.js'

const runCount = quickOrFull(2, 100)
const heldLockCount = quickOrFull(800, 5_000)
/** The number of shared locks of the key `crowd`. */
const crowdSize = quickOrFull(300, 1_000)
/** The number of scopes (tasks of a session) that wait for a lock. */
const waitingScopeCount = quickOrFull(100, 500)
/** The greatest number of turns for which a leaving hostile client waits for its answers. */
const maxLeaveTurns = quickOrFull(200, 2_000)
/** The greatest number of hostile clients at the same time. */
const maxHostileClients = 5
const leaseMs = 60_000
/** The lease of hostile clients. The locks of an aborted connection last until this lease ends. */
const hostileLeaseMs = 10_000
/** The turns within which the broker must answer the bystander. */
const maxAnswerTurns = 8
/** The greatest work of a turn, in units of about a microsecond. */
const maxWork = 30_000
/** The name of every honest session. */
const honestName = 'other'
/**
 * A mark is a `stats` request at the end of each frame of a hostile client. The ids of marks begin
 * above this number, and the ids of other requests normally stay far below.
 */
const marksFrom = 2 ** 40

/** The broker, its locks and the honest clients. */
class Scene {
  readonly meter = new WorkMeter()
  readonly harness: BrokerHarness
  readonly heldKeys: HeldKeys
  readonly #bystander: Client
  /** The honest clients except the bystander. */
  readonly #others: Client[] = []
  /** The id of the bystander's newest request. */
  #lastRequestId = 0

  constructor() {
    this.harness = new BrokerHarness({ observer: this.meter })
    const holder = this.#join()
    // 500 of these messages fit into a frame.
    const sayInFrames = (messages: readonly object[]): void => {
      for (let i = 0; i < messages.length; i += 500) holder.say(...messages.slice(i, i + 500))
    }
    let id = 0
    sayInFrames(
      Array.from({ length: heldLockCount }, () => ({ type: 'lock', id: ++id, key: `table:${id}` })),
    )
    // Discards the grants so far, so that `fences` has only the fences of `crowd`.
    holder.takeMessages()
    const shared = { type: 'lock', key: 'crowd', mode: 'shared' }
    sayInFrames(Array.from({ length: crowdSize }, () => ({ ...shared, id: ++id })))
    const fences = holder
      .takeMessages()
      .flatMap((message) => (message.type === 'granted' ? [message.fence] : []))
    // A refusal describes up to 16 holders with their metadata, so these holders make the largest
    // refusals.
    for (let i = 0; i < 16; i++) {
      this.#join().acquire('described', { mode: 'shared', metadata: 'm'.repeat(4_000) })
    }
    this.#join().acquire('queued')
    const waiting = this.#join()
    for (let i = 0; i < 300; i++) waiting.lock('queued')
    this.#bystander = this.harness.openSession({ lease: leaseMs, name: honestName })
    this.#addWaitingScopes(holder)
    this.heldKeys = {
      prefix: 'table:',
      crowd: { key: 'crowd', fences },
      withMetadata: 'described',
      withQueue: 'queued',
      withScopes: 'of all scopes',
    }
    // From here on, walked keys and visited scopes also count as work.
    this.meter.watchWalks(this.harness.broker)
    this.meter.watchVisits(this.harness.broker)
    this.meter.takeWork()
  }

  /** Makes scopes that share the key `of all scopes` and wait for keys of the holder. */
  #addWaitingScopes(holder: Client): void {
    const waiting = this.#join()
    for (let scope = 1; scope <= waitingScopeCount; scope++) {
      // The ids are far above the other ids of the holder.
      holder.say({ type: 'lock', id: 1_000_000 + scope, key: `wanted:${scope}` })
      waiting.lock('of all scopes', { mode: 'shared', scope })
      waiting.lock(`wanted:${scope}`, { scope })
    }
    holder.takeMessages()
    waiting.takeMessages()
  }

  /** Ends a turn, and checks the work of the turn. @returns false if the turn had no work */
  endOneTurn(): boolean {
    const hadWork = this.harness.environment.endOneTurn()
    const work = this.meter.takeWork()
    expect(work, 'the work of one turn').to.be.below(maxWork)
    for (const other of this.#others) other.takeMessages()
    return hadWork
  }

  /** Checks that the broker answers a lock and an unlock of the bystander within a few turns. */
  checkBystander(): void {
    const { socket } = this.#bystander
    const request = (message: object, type: 'granted' | 'unlocked'): ServerMessage => {
      const id = ++this.#lastRequestId
      socket.say({ ...message, id })
      for (let turns = 1; turns <= maxAnswerTurns; turns++) {
        this.endOneTurn()
        const answer = socket.takeMessages().find((heard) => 'id' in heard && heard.id === id)
        if (answer === undefined) continue
        expect(answer.type).to.equal(type)
        return answer
      }
      throw new Error(`The bystander has no answer after ${maxAnswerTurns} turns`)
    }
    const granted = request({ type: 'lock', key: `bystander ${this.#lastRequestId}` }, 'granted')
    request({ type: 'unlock', fence: (granted as { fence: number }).fence }, 'unlocked')
  }

  /** Lets time pass in several turns, and does not check the work of these turns. */
  pass(ms: number): void {
    this.harness.environment.advance(ms)
    this.meter.takeWork()
  }

  /** Checks that only the sessions and the keys of the honest clients are left. */
  checkRemaining(): void {
    const { harness } = this
    // The sessions of all hostile clients end in this time.
    for (let ms = 0; ms <= hostileLeaseMs + 1_000; ms += 1_000) harness.environment.advance(1_000)
    for (const other of [...this.#others, this.#bystander]) {
      other.say({ type: 'pong', n: 1 })
      other.takeMessages()
    }
    const names = new Set([...harness.broker.table.sessions.values()].map(({ name }) => name))
    expect([...names]).to.deep.equal([honestName])
    for (const { key } of harness.broker.table.keys.values()) {
      expect(key).to.match(/^(table:\d+|wanted:\d+|crowd|described|queued|of all scopes)$/)
    }
    this.meter.takeWork()
  }

  #join(): Client {
    const client = this.harness.openSession({ lease: leaseMs, name: honestName })
    this.#others.push(client)
    return client
  }
}

/** A hostile client, which opens one connection after the other. */
class HostileClient {
  readonly #scene: Scene
  readonly #random: Random
  #socket: FakeSocket
  #id = 0
  /** The fences of the locks that were granted on this connection. */
  #fences: number[] = []
  /** The ids of the unanswered marks of this connection, in order. */
  #marks: number[] = []

  constructor(scene: Scene, random: Random) {
    this.#scene = scene
    this.#random = random
    this.#socket = this.#connect()
  }

  get #isClosed(): boolean {
    const { closedWith, isTerminated: terminated } = this.#socket
    return closedWith !== undefined || terminated
  }

  /** Does one random action. */
  act(): void {
    const random = this.#random
    const socket = this.#socket
    if (this.#isClosed || random.chance(0.03)) {
      socket.drop()
      this.#socket = this.#connect()
      return
    }
    // The client rarely stops or resumes reading, instead of sending a frame.
    if (random.chance(0.1)) socket.isClientReading = random.chance(0.6)
    else {
      const { heldKeys } = this.#scene
      this.#send(hostileBatch(random, heldKeys, this.#fences.slice(-100), () => ++this.#id))
    }
    if (socket.isClientReading && socket.bufferedBytes > 0) {
      // Reads all bytes or one byte.
      socket.letClientRead(random.chance(0.5) ? socket.bufferedBytes : 1)
    }
  }

  /** Checks that the marks are answered once and in order. */
  checkAnswers(): void {
    for (const message of this.#socket.takeMessages()) {
      if (message.type === 'granted') this.#fences.push(message.fence)
      if (message.type !== 'stats' || !isMark(message.id)) continue
      expect(message.id, 'the answer to a mark').to.equal(this.#marks.shift())
    }
  }

  /** Reads until all marks are answered, but at most for `maxLeaveTurns`. Then disconnects. */
  leave(): void {
    const socket = this.#socket
    socket.isClientReading = true
    for (let i = 0; i < maxLeaveTurns && this.#marks.length > 0 && !this.#isClosed; i++) {
      if (socket.bufferedBytes > 0) socket.letClientRead()
      if (!this.#scene.endOneTurn()) this.#scene.pass(10)
      this.checkAnswers()
    }
    socket.drop()
    this.#scene.endOneTurn()
  }

  #send(messages: readonly unknown[]): void {
    const mark = marksFrom + ++this.#id
    this.#marks.push(mark)
    this.#socket.say(...messages, { type: 'stats', id: mark })
  }

  #connect(): FakeSocket {
    this.#marks = []
    this.#fences = []
    this.#id = 0
    const { harness, meter } = this.#scene
    const socket = harness.connect()
    meter.watchOutput(socket)
    socket.say({ type: 'hello', name: 'hostile', lease: hostileLeaseMs })
    return socket
  }
}

/** Whether an id is the id of a mark. The id of a mutated message may be higher, near 2^53. */
function isMark(id: number): boolean {
  return id > marksFrom && id < 2 * marksFrom
}

describe('protocol: hostile amounts', () => {
  it(`keep turns short, delay no other client and leave no data (${runCount} runs)`, function () {
    this.timeout(quickOrFull(60_000, 1_200_000))
    runRandomTest((random) => {
      const scene = new Scene()
      for (let i = 1; i <= runCount; i++) {
        const clients = Array.from({ length: 1 + random.below(maxHostileClients) }, () => {
          return new HostileClient(scene, random)
        })
        for (let step = 0; step < 6; step++) {
          for (const client of clients) client.act()
          scene.checkBystander()
          for (const client of clients) client.checkAnswers()
          if (random.chance(0.3)) scene.pass(random.pick([1, 20, 100]))
        }
        for (const client of clients) client.leave()
        scene.checkRemaining()
      }
    })
  })

  it('keep turns short with many watches and large events', function () {
    this.timeout(60_000)
    const scene = new Scene()
    const { harness, meter } = scene
    const socket = harness.connect()
    meter.watchOutput(socket)
    socket.say({ type: 'hello', name: 'hostile', lease: hostileLeaseMs })
    while (scene.endOneTurn()) socket.takeMessages()
    // The client may have 1,000 watches. The broker does not remember their ids, so the ids of the
    // locks below also begin at 1.
    socket.say(...Array.from({ length: 900 }, (_, i) => ({ type: 'watch', id: i + 1 })))
    while (scene.endOneTurn()) socket.takeMessages()
    const metadata = 'm'.repeat(4_000)
    const churn = { type: 'lock', key: 'churn', steal: true, metadata }
    socket.say(...Array.from({ length: quickOrFull(2, 14) }, (_, i) => ({ ...churn, id: i + 1 })))
    while (scene.endOneTurn()) scene.checkBystander()
  })

  it('keep turns short when the deadlines of all hostile clients pass together', function () {
    this.timeout(60_000)
    const scene = new Scene()
    const { harness, meter } = scene
    const { environment } = harness
    /** How long after its request each deadline is due. No time passes before the last request. */
    const dueMs = 2_000
    const startedAt = environment.clock.monotonic()
    /** Each function makes the fields of a lock request with a deadline. */
    const fieldsWithDeadline = [
      () => ({ key: 'queued', timeout: dueMs }),
      (id: number) => ({ key: `ttl ${id}`, ttl: dueMs }),
      (id: number) => ({ key: `hold ${id}`, maxHold: dueMs, notify: ['contended'] }),
      () => ({ key: 'described', mode: 'shared', ttl: dueMs }),
      (id: number) => ({ key: 'of all scopes', scope: id, timeout: dueMs }),
    ]
    const sockets = fieldsWithDeadline.map((fieldsFor, n) => {
      const socket = harness.connect()
      meter.watchOutput(socket)
      socket.say({ type: 'hello', name: 'hostile', lease: 60_000 })
      scene.endOneTurn()
      // Each client sends 2,000 requests, 250 in a frame, with ids from `n * 10_000 + 1`.
      for (let first = n * 10_000 + 1; first < n * 10_000 + 2_000; first += 250) {
        const ids = Array.from({ length: 250 }, (_, i) => first + i)
        socket.say(...ids.map((id) => ({ type: 'lock', ...fieldsFor(id), id })))
      }
      while (scene.endOneTurn()) socket.takeMessages()
      return socket
    })
    // The clock moves to 100 ms before the deadlines, and then to the deadlines in one step.
    scene.pass(startedAt + dueMs - 100 - environment.clock.monotonic())
    const recordCount = (): number =>
      harness.broker.table.heldCount + harness.broker.table.waitingCount
    const countBefore = recordCount()
    environment.advanceWithoutTimers(100)
    environment.fireTimers()
    while (scene.endOneTurn()) {
      for (const socket of sockets) socket.takeMessages()
      scene.checkBystander()
    }
    // More than half of the 10,000 requests must have ended at their deadline.
    expect(countBefore - recordCount(), 'locks and requests that have ended').to.be.above(5_000)
  })
})
