/**
 * A watch whose state is gathered over many turns: state and events together are exact, whatever
 * happens to the table meanwhile.
 */
import type { LockEvent } from '@holdfast/shared'
import { expect } from 'chai'
import fc from 'fast-check'
import { Bench, type Client } from './bench.js'

/** What a client that believes each message takes to be held, by fence. */
class Belief {
  readonly held = new Set<number>()
  #isWhole = false

  hear(client: Client): void {
    for (const message of client.heard()) {
      if (message.type === 'watching') {
        expect(this.#isWhole, 'the state comes once, before any event').to.equal(false)
        for (const { fence } of message.held) this.held.add(fence)
        this.#isWhole = !message.more
      } else if (message.type === 'event') this.#happened(message.event)
    }
  }

  #happened({ event, fence, key }: LockEvent): void {
    expect(this.#isWhole).to.equal(true)
    if (event === 'locked') {
      expect(this.held.has(fence), `${key} ${fence} is locked twice`).to.equal(false)
      this.held.add(fence)
    } else {
      expect(this.held.delete(fence), `${key} ${fence} ends and was never held`).to.equal(true)
    }
  }
}

const step = fc.record({
  act: fc.constantFrom('take', 'share', 'release', 'turn', 'turn'),
  key: fc.nat(5),
  nth: fc.nat(500),
})

describe('watch: while its state is gathered', function () {
  this.timeout(60_000)

  it('has every lock once, in the state or as an event, and every end of one that it had', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, byPrefix) => {
        const bench = new Bench()
        const busy = bench.join({ lease: 60_000 })
        // Enough for several parts, and for several steps of a walk.
        const metadata = 'x'.repeat(1_500)
        const requests = Array.from({ length: 700 }, (_, i) => ({
          type: 'lock',
          id: i + 1,
          key: i < 100 ? 'k0' : `k${i}`,
          mode: 'shared',
          metadata: i % 10 === 0 ? metadata : undefined,
        }))
        busy.say(...requests.slice(0, 350))
        busy.say(...requests.slice(350))
        const watcher = bench.join({ lease: 60_000 })
        const belief = new Belief()
        const fences = [...bench.broker.table.keys.values()].flatMap(({ holders }) =>
          [...holders].map(({ fence }) => fence),
        )
        watcher.socket.isReading = false
        watcher.socket.say({
          type: 'watch',
          id: 1,
          ...(byPrefix ? { prefix: 'k' } : { key: 'k0' }),
        })
        let id = 1_000
        for (const { act, key, nth } of steps) {
          if (act === 'turn') {
            watcher.socket.read()
            bench.environment.endOneTurn()
          } else if (act === 'release') {
            const [fence] = fences.splice(nth % fences.length, 1)
            busy.socket.say({ type: 'unlock', id: id++, fence })
          } else {
            const mode = act === 'share' ? 'shared' : 'exclusive'
            busy.socket.say({ type: 'lock', id: id++, key: `k${key}`, mode, timeout: 0 })
          }
          belief.hear(watcher)
        }
        while (bench.environment.endOneTurn() || watcher.socket.bufferedBytes > 0) {
          watcher.socket.read()
          belief.hear(watcher)
        }
        const now = [...bench.broker.table.keys.values()]
          .filter((entry) => byPrefix || entry.key === 'k0')
          .flatMap(({ holders }) => [...holders].map(({ fence }) => fence))
        expect([...belief.held].sort()).to.deep.equal(now.sort())
      }),
      { numRuns: 30 },
    )
  })
})
