/**
 * Tests watches with the field `queue`. For such a watch, the broker first sends a list of the
 * waiting requests, and then an event for each change of a queue. If the broker needs many turns of
 * the event loop to send the list, queues change between these turns. The list and the events
 * together must still be exact.
 */
import type { QueueEvent } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { BrokerHarness, type Client } from './harness.js'

/** The queues by key, as a client derives them from the messages of its watch. */
class DerivedQueues {
  readonly queues = new Map<string, string[]>()
  #isListComplete = false

  /** Applies the messages that the client has received since the last call. */
  update(client: Client): void {
    for (const message of client.takeMessages()) {
      if (message.type === 'watching') {
        expect(this.#isListComplete, 'the list comes once, before any event').to.equal(false)
        for (const { key, session, request } of message.waiting!) {
          this.#queueOf(key).push(`${session}#${request}`)
        }
        this.#isListComplete = !message.more
      } else if (message.type === 'event' && 'request' in message.event) this.#apply(message.event)
    }
  }

  #apply({ event, key, session, request }: QueueEvent): void {
    expect(this.#isListComplete).to.equal(true)
    const queue = this.#queueOf(key)
    const name = `${session}#${request}`
    const index = queue.indexOf(name)
    if (event === 'queued') {
      expect(index, `${key} ${name} is queued twice`).to.equal(-1)
      queue.push(name)
    } else {
      expect(index, `${key} ${name} is dequeued but was not queued`).to.not.equal(-1)
      queue.splice(index, 1)
    }
  }

  #queueOf(key: string): string[] {
    const queue = this.queues.get(key) ?? []
    this.queues.set(key, queue)
    return queue
  }
}

/**
 * One step of the random test: an action of a client on a key, or (`turn`) one turn of the event
 * loop. `set` locks two keys as one set. `nth` selects the request to cancel or the lock to
 * release.
 */
const step = fc.record({
  act: fc.constantFrom('lock', 'set', 'cancel', 'release', 'turn', 'turn'),
  key: fc.nat(5),
  nth: fc.nat(10_000),
})

describe('a watch with a long queue', function () {
  this.timeout(60_000)

  it('reports each waiting request once, in the list or as an event, and reports its end', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, byPrefix) => {
        const harness = new BrokerHarness()
        const [holder, busy] = [
          harness.openSession({ lease: 60_000 }),
          harness.openSession({ lease: 60_000 }),
        ]
        const keys = Array.from({ length: 300 }, (_, i) => `k${i}`)
        holder.say(...keys.map((key, i) => ({ type: 'lock', id: i + 1, key })))
        busy.say(...keys.map((key, i) => ({ type: 'lock', id: i + 1, key })))
        // 300 further requests, with the next ids, wait for the first key.
        busy.say(...keys.map((_, i) => ({ type: 'lock', id: i + 301, key: 'k0' })))
        // The holder has the first 300 grants, whose fences are 1 to 300.
        const fences = keys.map((_, i) => i + 1)
        const watcher = harness.openSession({ lease: 60_000 })
        const derivedQueues = new DerivedQueues()
        // The watcher reads only in a `turn` step, so the broker needs many turns to send the list.
        watcher.socket.isClientReading = false
        const watchedKeys = byPrefix ? { prefix: 'k' } : { key: 'k0' }
        // Unlike `watcher.say`, `socket.say` does not end the turn.
        watcher.socket.say({ type: 'watch', id: 1, queue: true, ...watchedKeys })
        /** The ids of the requests of `busy` are 1 to this number. */
        let lastBusyId = 600
        let lastHolderId = 300
        for (const { act, key, nth } of steps) {
          if (act === 'turn') {
            watcher.socket.letClientRead()
            harness.environment.endOneTurn()
          } else if (act === 'release') {
            const [fence] = fences.splice(nth % fences.length, 1)
            holder.socket.say({ type: 'unlock', id: ++lastHolderId, fence })
          } else if (act === 'cancel') {
            busy.socket.say({ type: 'cancel', request: 1 + (nth % lastBusyId) })
          } else if (act === 'lock') {
            busy.socket.say({ type: 'lock', id: ++lastBusyId, key: `k${key}` })
          } else {
            const items = [{ key: `k${key}` }, { key: `k${key + 1}`, mode: 'shared' }]
            busy.socket.say({ type: 'lockAll', id: ++lastBusyId, items })
          }
          derivedQueues.update(watcher)
        }
        while (harness.environment.endOneTurn() || watcher.socket.bufferedBytes > 0) {
          watcher.socket.letClientRead()
          derivedQueues.update(watcher)
        }
        expect(busy.socket.closedWith).to.equal(undefined)
        for (const { key, queue } of harness.broker.table.keys.values()) {
          if (!byPrefix && key !== 'k0') continue
          const actual = [...queue].map((request) => `${request.session.id}#${request.id}`)
          expect(derivedQueues.queues.get(key) ?? [], key).to.deep.equal(actual)
        }
      }),
      // A full run tries no more cases than a quick run. `runs` also sets the seed.
      quickOrFullRuns(30, 30),
    )
  })
})

describe('a watch with queue', () => {
  /** The events that a client received, each as its watches, its kind, its key and its reason. */
  function eventsOf(client: Client): string[] {
    return client.takeMessages().flatMap((message) => {
      if (message.type !== 'event') return []
      const { event, key } = message.event
      const { reason } = message.event as QueueEvent
      return [`${[message.watch].flat().join()} ${event} ${key}${reason ? ` ${reason}` : ''}`]
    })
  }

  it('shares a lock event with all watches of its client, and a queue event with those that have queue', () => {
    const harness = new BrokerHarness()
    const [watcher, holder, busy] = [
      harness.openSession(),
      harness.openSession(),
      harness.openSession(),
    ]
    watcher.say({ type: 'watch', id: 1, prefix: '' })
    watcher.say({ type: 'watch', id: 2, prefix: 'k', queue: true })
    watcher.say({ type: 'watch', id: 3, key: 'k', queue: true })
    watcher.takeMessages()
    const fence = holder.acquire('k')
    busy.lock('k')
    expect(eventsOf(watcher)).to.deep.equal(['1,2,3 locked k', '2,3 queued k'])
    watcher.say({ type: 'unwatch', watch: 2 })
    holder.unlock(fence)
    expect(eventsOf(watcher)).to.deep.equal([
      '1,3 unlocked k',
      '3 dequeued k granted',
      '1,3 locked k',
    ])
  })

  it('gets no more queue events after a watch without queue replaces it under the same id', () => {
    const harness = new BrokerHarness()
    const [watcher, holder, busy] = [
      harness.openSession(),
      harness.openSession(),
      harness.openSession(),
    ]
    watcher.say({ type: 'watch', id: 1, queue: true })
    watcher.say({ type: 'watch', id: 1 })
    watcher.takeMessages()
    holder.acquire('k')
    busy.lock('k')
    expect(eventsOf(watcher)).to.deep.equal(['1 locked k'])
  })

  it('reports one queue event for each key of a set', () => {
    const harness = new BrokerHarness()
    const [watcher, holder, busy] = [
      harness.openSession(),
      harness.openSession(),
      harness.openSession(),
    ]
    watcher.say({ type: 'watch', id: 1, queue: true })
    watcher.takeMessages()
    holder.acquire('l')
    busy.say({ type: 'lockAll', id: 1, items: [{ key: 'k' }, { key: 'l' }], timeout: 10 })
    harness.environment.advance(10)
    expect(eventsOf(watcher)).to.deep.equal([
      '1 locked l',
      '1 queued k',
      '1 queued l',
      '1 dequeued k timeout',
      '1 dequeued l timeout',
    ])
  })

  it('shows only the keys that the client may watch', () => {
    const harness = new BrokerHarness({
      authorize: (_principal, operation, key) => operation !== 'watch' || key.startsWith('open:'),
    })
    const watcher = harness.openSession()
    const [holder, busy] = [harness.openSession(), harness.openSession()]
    for (const key of ['open:k', 'closed:k']) {
      holder.acquire(key)
      busy.lock(key)
    }
    watcher.say({ type: 'watch', id: 1, queue: true })
    const [watching] = watcher.takeMessages()
    expect(watching).to.have.nested.property('waitingCount', 1)
    expect(watching).to.have.nested.property('waiting[0].key', 'open:k')
    for (const key of ['open:k', 'closed:k']) busy.lock(key)
    expect(eventsOf(watcher)).to.deep.equal(['1 queued open:k'])
  })

  it('frees its memory when the client ends the watch', () => {
    const harness = new BrokerHarness()
    const watcher = harness.openSession()
    const bytesBefore = harness.broker.memory.usedBytes
    watcher.say(
      { type: 'watch', id: 1, queue: true },
      { type: 'watch', id: 2, key: 'k', queue: true },
    )
    expect(harness.broker.memory.usedBytes).to.be.above(bytesBefore)
    watcher.say({ type: 'unwatch', watch: 1 }, { type: 'unwatch', watch: 2 })
    watcher.takeMessages()
    expect(harness.broker.memory.usedBytes).to.equal(bytesBefore)
  })
})
