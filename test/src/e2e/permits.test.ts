/**
 * Tests locks with permits over a real broker. The capacity of a key limits how many permits its
 * holders have together. Requests are granted in the order of their arrival. A fence is the
 * number of a grant.
 */
import { HoldfastError } from '@holdfast/client'
import { expect } from 'chai'
import { expectRejection, nextEvent, Stage, untilMessagesHandled } from './stage.js'

describe('e2e: permits', () => {
  const stage = Stage.forEachTest()

  it('let as many sessions hold the key as there are permits', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b', 'c')
    const [a, b, c] = sessions
    const first = await a!.lock('render', { capacity: 2 })
    await b!.lock('render', { capacity: 2, permits: 1 })
    expect([first.mode, first.permits, first.capacity, first.keys]).to.deep.equal([
      'permits',
      1,
      2,
      ['render'],
    ])
    const waiting = c!.lock('render', { capacity: 2 })
    await untilMessagesHandled(c!)
    const { held, waiting: queue } = broker.query()
    expect(held.map(({ mode, permits, capacity }) => [mode, permits, capacity])).to.deep.equal([
      ['permits', 1, 2],
      ['permits', 1, 2],
    ])
    expect(queue.map(({ permits, capacity }) => [permits, capacity])).to.deep.equal([[1, 2]])
    await first.unlock()
    expect((await waiting).fence).to.be.above(first.fence)
  })

  it('do not let a small request pass a large request that waits', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'large', 'small')
    const [a, large, small] = sessions
    const held = await a!.lock('k', { capacity: 3, permits: 2 })
    const order: string[] = []
    const largeRequest = large!.lock('k', { capacity: 3, permits: 3 }).then(async (lock) => {
      order.push('large')
      await lock.unlock()
    })
    await untilMessagesHandled(large!)
    const error = await expectRejection(small!.tryLock('k', { capacity: 3 }), 'LOCK_HELD')
    expect(error.holders?.map(({ permits }) => permits)).to.deep.equal([2])
    const smallRequest = small!.lock('k', { capacity: 3 }).then(() => order.push('small'))
    await untilMessagesHandled(small!)
    await held.unlock()
    await Promise.all([largeRequest, smallRequest])
    expect(order).to.deep.equal(['large', 'small'])
  })

  it('are refused while the key has another capacity, the message names both, and nothing changes', async () => {
    const { sessions, broker } = await stage.startBrokerWithSessions('a', 'b')
    const [a, b] = sessions
    const held = await a!.lock('k', { capacity: 3 })
    const error = await expectRejection(b!.lock('k', { capacity: 5 }), 'CAPACITY_MISMATCH')
    expect(error.message).to.match(/"k" .* 3, not 5/)
    expect([error.capacity, error.key, error.retryable]).to.deep.equal([3, 'k', false])
    expect(broker.query().heldCount).to.equal(1)
    await held.unlock()
    await b!.lock('k', { capacity: 5 })
  })

  it('are refreshed and lost like every lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a', 'stealer')
    const [a, stealer] = sessions
    const lock = await a!.lock('k', { capacity: 3, ttl: 60_000 })
    await lock.refresh(50_000)
    const lost = nextEvent(a!, 'lost')
    await stealer!.lock('k', { steal: true })
    expect((await lost)?.reason).to.equal('stolen')
    expect(lock.held).to.equal(false)
  })

  const invalidOptions: [string, object, RegExp][] = [
    [
      'zero permits',
      { permits: 0, capacity: 3 },
      /permits must be an integer from 1 to .* 3, not 0/,
    ],
    ['negative permits', { permits: -1, capacity: 3 }, /not -1/],
    ['fractional permits', { permits: 1.5, capacity: 3 }, /not 1\.5/],
    ['more permits than the capacity', { permits: 4, capacity: 3 }, /not 4/],
    ['permits without a capacity', { permits: 1 }, /permits need a capacity/],
    ['a capacity of zero', { capacity: 0 }, /capacity must be an integer from 1 to 1000000, not 0/],
    ['a capacity above a million', { capacity: 1_000_001 }, /not 1000001/],
    ['a capacity and a mode', { capacity: 3, mode: 'shared' }, /leave out mode or capacity/],
    ['a capacity and a steal', { capacity: 3, steal: true }, /steal needs the mode exclusive/],
    ['the mode permits', { mode: 'permits' }, /mode must be/],
  ]
  for (const [name, options, message] of invalidOptions) {
    it(`are refused, and nothing is locked: ${name}`, async () => {
      const { sessions, broker } = await stage.startBrokerWithSessions('a')
      const error = await expectRejection(sessions[0]!.lock('k', options), 'INVALID_OPTION')
      expect(error).to.be.instanceOf(HoldfastError)
      expect(error.message).to.match(message)
      expect(broker.query().heldCount).to.equal(0)
    })
  }

  it('are refused by singleflightLock, whose callers share a lock', async () => {
    const { sessions } = await stage.startBrokerWithSessions('a')
    const call = sessions[0]!.singleflightLock('k', { capacity: 3 } as object)
    await expectRejection(call, 'INVALID_OPTION')
  })
})
