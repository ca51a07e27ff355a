/**
 * Half-open connections: silence in one direction or both, and nobody is told. The old holder knows
 * that its lock is lost before anybody else is granted it, every time.
 */
import { fixedInterval, type Session } from '@holdfast/client'
import { expect } from 'chai'
import { aborted, isHeard, next, Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { TcpProxy } from './proxy.js'
import { Valve } from './valve.js'

const ways: [string, { readonly up: boolean; readonly down: boolean }][] = [
  ['to the broker', { up: true, down: false }],
  ['to the client', { up: false, down: true }],
  ['both ways', { up: true, down: true }],
]
const lease = { ttl: 2_000 }
const reconnect = fixedInterval({ interval: 20 })

interface Scene {
  readonly holder: Session
  readonly next: Session
  /** Cuts the wires of the holder, as far as this direction goes. */
  fallSilent(): void
  speakAgain(): void
}

async function scene(
  stage: Stage,
  { up, down }: { readonly up: boolean; readonly down: boolean },
  grace: number | 'lease',
): Promise<Scene> {
  const { url, port } = await stage.broker()
  const valves = [...(up ? [new Valve()] : []), ...(down ? [new Valve()] : [])]
  const [first, last] = [valves[0]!, valves.at(-1)!]
  const proxy = await TcpProxy.to(port, () => ({
    up: up ? first.filter : undefined,
    down: down ? last.filter : undefined,
  }))
  stage.onClear(() => proxy.close())
  return {
    holder: await stage.session(proxy.url, { ...lease, grace, reconnect }),
    next: await stage.session(url),
    fallSilent: () => {
      for (const valve of valves) valve.shut()
    },
    speakAgain: () => {
      for (const valve of valves) valve.open()
    },
  }
}

describe('faults: half-open connections, behind a proxy', function () {
  this.timeout(300_000)
  const stage = Stage.forEachTest()

  for (const [way, silence] of ways) {
    for (const grace of [0, 'lease'] as const) {
      it(`silence ${way}, grace ${grace}: the holder knows before the next is granted`, async () => {
        for (let run = 0; run < count(1, 10); run++) {
          const { holder, next: other, fallSilent } = await scene(stage, silence, grace)
          const order: string[] = []
          const lock = await holder.lock('k')
          lock.signal.addEventListener('abort', () => order.push('lost'))
          const granted = other.lock('k').then((taken) => {
            order.push(`granted, old one held: ${lock.held}`)
            return taken
          })
          await isHeard(other)
          fallSilent()
          expect((await granted).fence).to.be.above(lock.fence)
          expect(order).to.deep.equal(['lost', 'granted, old one held: false'])
          await stage.clear()
        }
      })
    }
  }

  it('silence that ends before the lease is over is no loss, with a grace', async () => {
    // Where the broker is still heard, the lease alone tells that it does not hear us.
    for (const [, silence] of ways.slice(1)) {
      const { holder, fallSilent, speakAgain } = await scene(stage, silence, 'lease')
      const lock = await holder.lock('k')
      const events: string[] = []
      holder.on('lost', () => events.push('lost'))
      const resumed = next(holder, 'resumed')
      // With a grace, half a lease of silence is reason enough to try another connection.
      const jeopardy = next(holder, 'jeopardy')
      fallSilent()
      await jeopardy
      expect(lock.held).to.equal(true)
      speakAgain()
      await resumed
      await lock.refresh()
      expect(lock.held).to.equal(true)
      expect(events).to.deep.equal([])
    }
  })

  it('silence from before the grant: the waiter that cannot hear does not hold', async () => {
    const { holder: waiter, next: other, fallSilent } = await scene(stage, ways[1]![1], 'lease')
    const first = await other.lock('k')
    const waiting = waiter.lock('k').then(
      (lock) => lock.held,
      () => false,
    )
    await isHeard(waiter)
    const behind = other.lock('k')
    await isHeard(other)
    fallSilent()
    await first.unlock()
    // Granted to somebody who does not hear of it, until its lease is over.
    expect((await behind).held).to.equal(true)
    await waiter.close()
    expect(await waiting).to.equal(false)
  })

  it('a lock’s own ttl ends at the holder first as well, while nothing is heard', async () => {
    const { holder, next: other, fallSilent } = await scene(stage, ways[2]![1], 'lease')
    const order: string[] = []
    const lock = await holder.lock('k', { ttl: 500 })
    const lost = aborted(lock.signal).then(() => order.push('lost'))
    const granted = other.lock('k').then(() => order.push('granted'))
    fallSilent()
    await Promise.all([lost, granted])
    expect(order).to.deep.equal(['lost', 'granted'])
  })
})
