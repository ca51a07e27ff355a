/**
 * Tests the retry strategies: fixed, exponential and linear, each with a maximum number of retries.
 * Other lock libraries retry lock requests by such strategies. Here a strategy determines the
 * delays between reconnects, because a request waits at the broker and needs no retry.
 */
import {
  exponentialBackoff,
  fixedInterval,
  linearBackoff,
  type RetryStrategy,
} from '@holdfast/client'
import { expect } from 'chai'
import { TcpProxy } from '../faults/proxy.js'
import { expectRejection, nextEvent, Stage } from './stage.js'

/** Makes a strategy that records the delays of the original, and waits at most 1 ms. */
function recordDelays(original: RetryStrategy): { delays: number[]; strategy: RetryStrategy } {
  const delays: number[] = []
  return {
    delays,
    strategy: {
      *[Symbol.iterator]() {
        for (const delay of original) {
          delays.push(delay)
          yield Math.min(delay, 1)
        }
      },
    },
  }
}

describe('e2e: the retry strategies for reconnecting', () => {
  const stage = Stage.forEachTest()

  it('have the documented sequences of delays, and end after the maximum number of retries', () => {
    const fixed = fixedInterval({ interval: 50, maxRetries: 3 })
    expect([...fixed]).to.deep.equal([50, 50, 50])
    const exponential = exponentialBackoff({ initial: 50, multiplier: 3, maxRetries: 4 })
    expect([...exponential]).to.deep.equal([50, 150, 450, 1_350])
    const linear = linearBackoff({ initial: 50, increment: 20, maxRetries: 4 })
    expect([...linear]).to.deep.equal([50, 70, 90, 110])
  })

  it('limit each delay to max, and start again with the first delay in a new iteration', () => {
    const capped = exponentialBackoff({ initial: 100, multiplier: 2, max: 300, maxRetries: 4 })
    expect([...capped]).to.deep.equal([100, 200, 300, 300])
    expect([...capped]).to.deep.equal([100, 200, 300, 300])
  })

  it('may have jitter, which replaces each delay by a random part of it', () => {
    const strategy = fixedInterval({ interval: 1_000, maxRetries: 200, jitter: 'full' })
    const delays = [...strategy]
    for (const delay of delays) expect(delay).to.be.within(0, 1_000)
    // Most of the 200 delays differ.
    expect(new Set(delays).size).to.be.above(100)
  })

  const strategies: [string, RetryStrategy, number[]][] = [
    ['fixedInterval', fixedInterval({ interval: 200 }), [200, 200, 200]],
    ['exponentialBackoff', exponentialBackoff({ initial: 100, multiplier: 2 }), [100, 200, 400]],
    ['linearBackoff', linearBackoff({ initial: 100, increment: 50 }), [100, 150, 200]],
  ]
  for (const [name, strategy, expected] of strategies) {
    it(`${name} determines the delay before each reconnect`, async () => {
      const { port } = await stage.startBroker()
      const proxy = await TcpProxy.to(port)
      stage.onCleanUp(() => proxy.close())
      const { delays, strategy: reconnect } = recordDelays(strategy)
      // Without a grace, the session would end at the cut, and could not resume.
      const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect })
      expect(delays).to.deep.equal([])
      const resumed = nextEvent(session, 'resumed')
      proxy.refuseConnections()
      proxy.cut()
      // The proxy resets two attempts. The third attempt succeeds.
      await proxy.nextConnection()
      await proxy.nextConnection()
      proxy.acceptConnections()
      await resumed
      expect(delays).to.deep.equal(expected)
    })
  }

  it('continue with the next delay if the connection was open for less than 1 s', async () => {
    const { port } = await stage.startBroker()
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const { delays, strategy } = recordDelays(linearBackoff({ initial: 100, increment: 50 }))
    const session = await stage.openSession(proxy.url, { grace: 'lease', reconnect: strategy })
    for (let drop = 0; drop < 3; drop++) {
      const resumed = nextEvent(session, 'resumed')
      proxy.cut()
      await resumed
    }
    expect(delays).to.deep.equal([100, 150, 200])
  })

  it('end the session after their maximum number of retries', async () => {
    const { port } = await stage.startBroker()
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const reconnect = fixedInterval({ interval: 1, maxRetries: 3 })
    const session = await stage.openSession(proxy.url, { reconnect })
    const waiting = expectRejection(session.lock('k'), 'UNAVAILABLE')
    const closed = nextEvent(session, 'closed')
    const countBefore = proxy.connectionCount
    proxy.refuseConnections()
    proxy.cut()
    expect(await closed).to.include({ code: 'UNAVAILABLE' })
    expect(proxy.connectionCount - countBefore).to.equal(3)
    await waiting
    await expectRejection(session.lock('k'), 'SESSION_CLOSED')
  })

  it('can be replaced by false: the session then never reconnects', async () => {
    const { port } = await stage.startBroker()
    const proxy = await TcpProxy.to(port)
    stage.onCleanUp(() => proxy.close())
    const session = await stage.openSession(proxy.url, { reconnect: false })
    const closed = nextEvent(session, 'closed')
    proxy.cut()
    expect(await closed).to.include({ code: 'UNAVAILABLE' })
    expect(proxy.connectionCount).to.equal(1)
  })
})
