/**
 * Tests a watch whose initial state is long. For a watch, the broker first sends the held locks,
 * and then an event for each later change. If sending the held locks takes many turns of the event
 * loop, locks change between these turns. The client must still learn of each change exactly once.
 * A fence, the number of a grant, identifies a lock.
 */
import type { LockEvent } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { BrokerHarness, type Client } from './harness.js'

/** The held locks that a client derives from the messages of its watch, by their fences. */
class DerivedState {
  readonly held = new Set<number>()
  #isComplete = false

  /** Applies the messages that the client has received since the last call. */
  update(client: Client): void {
    for (const message of client.takeMessages()) {
      if (message.type === 'watching') {
        expect(this.#isComplete, 'the state comes once, before any event').to.equal(false)
        for (const { fence } of message.held) this.held.add(fence)
        this.#isComplete = !message.more
      } else if (message.type === 'event') this.#apply(message.event as LockEvent)
    }
  }

  #apply({ event, fence, key }: LockEvent): void {
    expect(this.#isComplete).to.equal(true)
    if (event === 'locked') {
      expect(this.held.has(fence), `${key} ${fence} is locked twice`).to.equal(false)
      this.held.add(fence)
    } else {
      // The test only locks and releases, so every other event is the end of a lock.
      expect(this.held.delete(fence), `${key} ${fence} ends but was not held`).to.equal(true)
    }
  }
}

/** One step of the random test. `turn` is twice in the list, because turns must be frequent. */
const step = fc.record({
  act: fc.constantFrom('lockExclusive', 'lockShared', 'release', 'turn', 'turn'),
  /** For the acts that lock: the number in the key, such as `k5`. */
  key: fc.nat(5),
  /** For the act `release`: chooses the held lock to release. */
  releasedIndex: fc.nat(500),
})

describe('a watch with a long initial state', function () {
  this.timeout(60_000)

  it('reports the start of each lock once (in the initial state or as an event), and its end once', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, byPrefix) => {
        const harness = new BrokerHarness()
        const busy = harness.openSession({ lease: 60_000 })
        // With this metadata, the broker needs several messages to list the locks. The 700 locks
        // also take several turns to collect.
        const metadata = 'x'.repeat(1_500)
        // 100 locks are on the key k0, and each of the other 600 locks has a key of its own.
        const requests = Array.from({ length: 700 }, (_, i) => ({
          type: 'lock',
          id: i + 1,
          key: i < 100 ? 'k0' : `k${i}`,
          mode: 'shared',
          metadata: i % 10 === 0 ? metadata : undefined,
        }))
        // `say` sends one frame and ends the turn. `socket.say` does not end the turn.
        busy.say(...requests.slice(0, 350))
        busy.say(...requests.slice(350))
        const watcher = harness.openSession({ lease: 60_000 })
        const derivedState = new DerivedState()
        const fences = [...harness.broker.table.keys.values()].flatMap(({ holders }) =>
          [...holders].map(({ fence }) => fence),
        )
        // From now on, frames stay buffered until `letClientRead`.
        watcher.socket.isClientReading = false
        watcher.socket.say({
          type: 'watch',
          id: 1,
          ...(byPrefix ? { prefix: 'k' } : { key: 'k0' }),
        })
        let id = 1_000
        for (const { act, key, releasedIndex } of steps) {
          if (act === 'turn') {
            watcher.socket.letClientRead()
            harness.environment.endOneTurn()
          } else if (act === 'release') {
            const [fence] = fences.splice(releasedIndex % fences.length, 1)
            busy.socket.say({ type: 'unlock', id: id++, fence })
          } else {
            const mode = act === 'lockShared' ? 'shared' : 'exclusive'
            busy.socket.say({ type: 'lock', id: id++, key: `k${key}`, mode, timeout: 0 })
          }
          derivedState.update(watcher)
        }
        while (harness.environment.endOneTurn() || watcher.socket.bufferedBytes > 0) {
          watcher.socket.letClientRead()
          derivedState.update(watcher)
        }
        const heldFences = [...harness.broker.table.keys.values()]
          .filter((state) => byPrefix || state.key === 'k0')
          .flatMap(({ holders }) => [...holders].map(({ fence }) => fence))
        expect([...derivedState.held].sort()).to.deep.equal(heldFences.sort())
      }),
      { numRuns: 30 },
    )
  })

  it('lists the new mode, and sends no event, if a lock changes before the watch lists it', () => {
    const harness = new BrokerHarness()
    const busy = harness.openSession({ lease: 60_000 })
    const metadata = 'x'.repeat(1_500)
    const ids = Array.from({ length: 300 }, (_, i) => i + 1)
    busy.say(...ids.map((id) => ({ type: 'lock', id, key: `k${id}`, metadata })))
    const watcher = harness.openSession({ lease: 60_000 })
    watcher.socket.isClientReading = false
    watcher.socket.say({ type: 'watch', id: 1, prefix: 'k' })
    const lastLock = harness.broker.table.keys.get('k300')!.holders.first!
    busy.socket.say({ type: 'downgrade', id: 301, fence: lastLock.fence })
    const modes = new Map<string, string>()
    const events: string[] = []
    while (harness.environment.endOneTurn() || watcher.socket.bufferedBytes > 0) {
      watcher.socket.letClientRead()
      for (const message of watcher.takeMessages()) {
        if (message.type === 'event') events.push(message.event.event)
        else if (message.type === 'watching')
          for (const { key, mode } of message.held) modes.set(key, mode)
      }
    }
    expect(modes.size).to.equal(300)
    expect(modes.get('k300')).to.equal('shared')
    expect(events).to.deep.equal([])
  })
})
