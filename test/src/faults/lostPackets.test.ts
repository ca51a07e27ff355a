/**
 * Half-open connections for real: packets that get lost between two machines, one way or both. In
 * every run the old holder's loss comes before the next grant, on a clock that both can read.
 */
import { expect } from 'chai'
import { RemoteClient } from '../e2e/remote.js'
import { Stage } from '../e2e/stage.js'
import { count } from '../support/counts.js'
import { needs } from '../support/needs.js'
import { Namespace } from './namespace.js'

const ways: [string, { readonly up: boolean; readonly down: boolean }][] = [
  ['to the broker', { up: true, down: false }],
  ['to the client', { up: false, down: true }],
  ['both ways', { up: true, down: true }],
]

describe('faults: lost packets between two machines', function () {
  this.timeout(300_000)
  needs('namespaces')
  const stage = Stage.forEachTest()

  for (const [way, loss] of ways) {
    for (const grace of [0, 'lease'] as const) {
      it(`${way}, grace ${grace}: the old holder’s loss comes before the next grant`, async () => {
        for (let run = 0; run < count(1, 10); run++) {
          const far = new Namespace()
          stage.onClear(() => far.remove())
          const { url, broker } = await stage.broker({ allowUnauthenticated: true })
          const { url: farUrl } = await broker.listen({ port: 0, host: far.here })
          const lease = { ttl: 2_000, grace } as const
          const holder = await RemoteClient.start(stage, farUrl, lease, far.command)
          const other = await RemoteClient.start(stage, url)
          const fence = await holder.lock('k')
          const granted = other.lock('k')
          await other.isHeard()
          far.lose(loss)
          const next = await granted
          const { at: grantedAt } = await other.event('granted', next)
          const { at: lostAt } = await holder.event('aborted', fence)
          expect(lostAt < grantedAt).to.equal(true)
          expect(next).to.be.above(fence)
          far.loseNothing()
          await other.tell({ do: 'unlock', fence: next })
          expect(await holder.lock('k'), 'it can go on').to.be.above(next)
          await stage.clear()
        }
      })
    }
  }

  it('for less than the lease, with a grace: nothing is lost', async () => {
    const far = new Namespace()
    stage.onClear(() => far.remove())
    const { broker } = await stage.broker({ allowUnauthenticated: true })
    const { url } = await broker.listen({ port: 0, host: far.here })
    const lease = { ttl: 6_000, grace: 'lease' } as const
    const holder = await RemoteClient.start(stage, url, lease, far.command)
    const fence = await holder.lock('k')
    far.lose({ up: true, down: true })
    await holder.event('jeopardy')
    far.loseNothing()
    await holder.event('resumed')
    expect(await holder.tell({ do: 'isHeld', fence })).to.equal(true)
    expect(broker.query().held[0]).to.include({ fence })
  })
})
