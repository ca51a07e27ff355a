/**
 * Tests many clients that each send one message of very much work in the same turn of the event
 * loop. Each message releases many locks, grants many waiters, or visits many scopes in a check for
 * deadlocks. The broker handles only a few of these messages in each turn, and answers another
 * client in each turn. After a message that took too long, the broker recovers: for a few ms it
 * handles only cheap messages. The last tests end many connections in one turn. A scope is one task
 * of a session; a fence is the number of a grant.
 */
import { costs, turnBudget } from '@holdfast/server/internal'
import { expect } from 'chai'
import { WorkMeter } from '../protocol/workMeter.js'
import { BrokerHarness, type Client } from './harness.js'

/** The number of clients that send an expensive message. */
const clientCount = 60
/** How many locks, requests or scopes each expensive message concerns. */
const recordsEach = 300
/** The lease of each session, in ms. */
const lease = 300_000

/** A broker, and a meter that counts the units of its work. */
class Scene {
  readonly meter = new WorkMeter()
  readonly harness = new BrokerHarness({ observer: this.meter })

  /** Connects a client whose output the meter counts. */
  join(): Client {
    const client = this.harness.openSession({ lease })
    this.meter.watchOutput(client.socket)
    return client
  }

  /** Connects `clientCount` clients. */
  joinMany(): Client[] {
    return Array.from({ length: clientCount }, () => this.join())
  }

  /** Sends the same request `count` times, in frames of 100, and returns the client. */
  requestMany(message: object, count = recordsEach, client = this.join()): Client {
    for (let i = 0; i < count; i += 100) {
      const ids = Array.from({ length: Math.min(100, count - i) }, (_, j) => i + j + 1)
      client.say(...ids.map((id) => ({ ...message, id })))
    }
    // Discards the answers to these requests.
    client.takeMessages()
    return client
  }

  /**
   * Makes many scopes. Each has a shared lock of the key named 'of all scopes', and waits for a
   * key of its own.
   */
  addWaitingScopes(): void {
    const holder = this.join()
    const waiter = this.join()
    for (let scope = 1; scope <= recordsEach; scope++) {
      holder.acquire(`wanted ${scope}`)
      waiter.acquire('of all scopes', { mode: 'shared', scope })
      waiter.lock(`wanted ${scope}`, { scope })
    }
  }
}

interface MessageKind {
  /** Returns each client with its expensive message. */
  prepare(scene: Scene): [Client, object][]
  /** The work of one message, in units of the meter. */
  readonly workEach: number
}

/** Clients that each hold a key exclusively, while many shared requests wait for this key. */
function holdersWithWaiters(scene: Scene): { client: Client; key: string; fence: number }[] {
  return scene.joinMany().map((client, i) => {
    const key = `queue ${i}`
    const fence = client.acquire(key)
    scene.requestMany({ type: 'lock', key, mode: 'shared' })
    return { client, key, fence }
  })
}

/**
 * Returns a function `prepare` that makes a message of each holder. The message lets the broker
 * grant the shared requests that wait for the holder's key.
 */
const fromEachHolder =
  (messageFor: (key: string, fence: number) => object) =>
  (scene: Scene): [Client, object][] =>
    holdersWithWaiters(scene).map(({ client, key, fence }) => [client, messageFor(key, fence)])

/** The work of one message that visits each scope once: the meter counts 4 units for a visit. */
const workOfVisits = 4 * recordsEach

const kinds: Record<string, MessageKind> = {
  'an unlock that grants many shared locks': {
    workEach: recordsEach,
    prepare: fromEachHolder((_key, fence) => ({ type: 'unlock', id: 2, fence })),
  },
  'a downgrade that grants many shared locks': {
    workEach: recordsEach,
    prepare: fromEachHolder((_key, fence) => ({ type: 'downgrade', id: 2, fence })),
  },
  'a revocation that grants many shared locks': {
    workEach: recordsEach,
    prepare: fromEachHolder((key, fence) => ({
      type: 'revoke',
      id: 2,
      key,
      fence,
      reason: 'crowd',
    })),
  },
  'a cancel of the only exclusive request before many shared requests': {
    workEach: recordsEach,
    prepare: (scene) =>
      scene.joinMany().map((client, i) => {
        const key = `queue ${i}`
        scene.join().acquire(key, { mode: 'shared' })
        const request = client.lock(key)
        scene.requestMany({ type: 'lock', key, mode: 'shared' })
        return [client, { type: 'cancel', request }]
      }),
  },
  'the end of a scope with many locks': {
    workEach: recordsEach,
    prepare: (scene) =>
      scene.joinMany().map((client) => {
        const message = { type: 'lock', key: 'crowd', mode: 'shared', scope: 1 }
        scene.requestMany(message, recordsEach, client)
        return [client, { type: 'endScope', id: recordsEach + 1, scope: 1 }]
      }),
  },
  'a request that visits many scopes': {
    workEach: workOfVisits,
    prepare: (scene) => {
      scene.addWaitingScopes()
      return scene.joinMany().map((client) => {
        return [client, { type: 'lock', id: 1, key: 'of all scopes', scope: 1 }]
      })
    },
  },
  'an upgrade that visits many scopes': {
    workEach: workOfVisits,
    prepare: (scene) => {
      scene.addWaitingScopes()
      return scene.joinMany().map((client) => {
        const fence = client.acquire('of all scopes', { mode: 'shared' })
        return [client, { type: 'upgrade', id: 2, fence }]
      })
    },
  },
  'a value for many followers': {
    // The first `once` of a key is granted, and the later ones, the followers, wait for its value.
    // One message answers 17 of the 20 followers at most, because the values are long. `workEach`
    // is a lower bound: 15 answers, each with about 240 units for its bytes.
    workEach: 15 * 240,
    prepare: (scene) =>
      scene.joinMany().map((client, i) => {
        const key = `run ${i}`
        client.say({ type: 'once', id: 1, key })
        const [granted] = client.takeMessages()
        scene.requestMany({ type: 'once', key }, 20)
        const { fence } = granted as { fence: number }
        return [client, { type: 'complete', id: 2, fence, value: 'v'.repeat(30_000) }]
      }),
  },
  'the last call at a barrier of many parties': {
    workEach: recordsEach,
    prepare: (scene) =>
      scene.joinMany().map((client, i) => {
        const message = { type: 'barrier', key: `barrier ${i}`, parties: recordsEach }
        scene.requestMany(message, recordsEach - 1)
        return [client, { ...message, id: 1 }]
      }),
  },
}

describe('expensive messages and disconnects in one turn', function () {
  this.timeout(60_000)

  for (const [name, { prepare, workEach }] of Object.entries(kinds)) {
    it(`are spread over turns: ${name}`, () => {
      const scene = new Scene()
      const { harness, meter } = scene
      meter.watchVisits(harness.broker)
      const bystander = harness.openSession({ lease })
      const messages = prepare(scene)
      harness.environment.endTurn()
      // Spends nearly the whole budget of the turn, as messages of other clients would do.
      harness.broker.scheduler.spend(turnBudget.all - 100)
      bystander.takeMessages()
      meter.takeWork()
      for (const [client, message] of messages) client.socket.say(message)
      // A turn may exceed its budget by the guaranteed minimum of each connection, and by the last
      // expensive message.
      const maxWork = turnBudget.all + clientCount * turnBudget.minimum + workEach
      let total = 0
      // The loop ends after 50 successive turns with hardly more work than the bystander's answer.
      for (let id = 1, idleTurns = 0; idleTurns < 50; id++) {
        bystander.socket.say({ type: 'stats', id })
        harness.environment.endOneTurn()
        const work = meter.takeWork()
        expect(work, 'the work of one turn').to.be.below(maxWork)
        total += work
        const answers = bystander.takeMessages().filter(({ type }) => type === 'stats')
        expect(answers, 'answers to the bystander in each turn').to.have.length(1)
        idleTurns = work < 20 ? idleTurns + 1 : 0
      }
      expect(total, 'the work of all turns').to.be.above(clientCount * workEach)
    })
  }

  it('wait while the broker recovers from a message that took too long', () => {
    const { prepare, workEach } = kinds['a request that visits many scopes']!
    const scene = new Scene()
    const { harness, meter } = scene
    const { environment, broker } = harness
    meter.watchVisits(broker)
    const bystander = harness.openSession({ lease })
    const [first, second] = prepare(scene)
    environment.endTurn()
    bystander.takeMessages()
    const countEffect = meter.onEffect.bind(meter)
    // Each effect (a change of the lock table, or an answer) takes 20 ms, longer than a turn may
    // take.
    meter.onEffect = () => {
      countEffect()
      environment.advanceWithoutTimers(20)
    }
    const send = ([client, message]: [Client, object]) => client.socket.say(message)
    meter.takeWork()
    send(first!)
    environment.endOneTurn()
    expect(meter.takeWork()).to.be.above(workEach)
    // The second message waits, and the message of the bystander does not.
    send(second!)
    bystander.socket.say({ type: 'stats', id: 1 })
    environment.endOneTurn()
    expect(meter.takeWork()).to.be.below(20)
    expect(bystander.takeMessages()).to.have.length(1)
    environment.advance(turnBudget.recoveryMs)
    expect(meter.takeWork()).to.be.above(workEach)
  })

  it('are spread over turns: the ends of many connections whose sessions have locks', () => {
    const scene = new Scene()
    const { harness, meter } = scene
    const leaving = Array.from({ length: 300 }, (_, i) =>
      scene.requestMany({ type: 'lock', key: `shared ${i}`, mode: 'shared' }, 90),
    )
    harness.environment.endTurn()
    meter.takeWork()
    for (const client of leaving) client.socket.drop()
    let turns = 0
    for (; harness.broker.table.heldCount > 0; turns++) {
      harness.environment.endOneTurn()
      expect(meter.takeWork(), 'the work of one turn').to.be.below(2 * turnBudget.all)
    }
    expect(turns).to.be.above(2)
    expect(harness.broker.table.sessions.size).to.equal(0)
  })

  it('are spread over turns: the ends of many connections whose sessions have no locks', () => {
    const { harness } = new Scene()
    const { environment, broker } = harness
    const leaving = Array.from({ length: 300 }, () => harness.openSession({ lease }))
    environment.endTurn()
    for (const client of leaving) client.socket.drop()
    // The broker ends some sessions immediately, and the other sessions in later turns.
    const immediateEnds = leaving.length - broker.table.sessions.size
    expect(immediateEnds * costs.disconnect).to.be.within(1, 1.5 * turnBudget.all)
    environment.endTurn()
    expect(broker.table.sessions.size).to.equal(0)
  })

  it('are spread over turns: disconnects that each take longer than usual', () => {
    const { harness } = new Scene()
    const { environment, broker } = harness
    const leaving = Array.from({ length: 50 }, () => harness.openSession({ lease }))
    environment.endTurn()
    for (const client of leaving) {
      client.socket.drop()
      environment.advanceWithoutTimers(turnBudget.ms / 10)
    }
    // After about 10 of the 50 disconnects, the time of the turn is used up.
    expect(broker.table.sessions.size).to.be.within(30, 45)
    environment.advance(turnBudget.recoveryMs)
    expect(broker.table.sessions.size).to.equal(0)
  })
})
