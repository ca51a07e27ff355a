/**
 * Tests `maxHold`, the longest time for which a lock is held, on a fake clock. The tests check when
 * the broker ends a lock, and what `welcome` and `granted` tell the client. The ttl is how long a
 * lock lasts without a refresh. A fence is the number of a grant.
 */
import type { ServerMessage } from '@holdfast/shared'
import { expect } from 'chai'
import { BrokerHarness, passTimeAnsweringPings } from './harness.js'

const lost = (fence: number): ServerMessage => ({ type: 'lost', fence, reason: 'maxHold' })

describe('maxHold', () => {
  it('counts from the grant, and ends a lock that is refreshed all the time', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    const fence = holder.acquire('k', { ttl: 300, maxHold: 1_000 })
    for (let passed = 0; passed < 900; passed += 100) {
      harness.environment.advance(100)
      holder.refresh(fence)
    }
    expect(holder.takeMessages()).to.not.deep.include(lost(fence))
    harness.environment.advance(100)
    expect(holder.takeMessages()).to.deep.include(lost(fence))
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('begins at the grant if the request waited, and `at` in `granted` is the time of the grant', () => {
    const harness = new BrokerHarness()
    const [first, second] = [
      harness.openSession({ lease: 60_000 }),
      harness.openSession({ lease: 60_000 }),
    ]
    const fence = first.acquire('k')
    const id = second.lock('k', { maxHold: 1_000 })
    harness.environment.advance(800)
    first.unlock(fence)
    const at = Math.floor(harness.environment.clock.monotonic())
    expect(second.takeMessages()).to.deep.include({ type: 'granted', id, fence: fence + 1, at })
    harness.environment.advance(900)
    expect(harness.broker.table.heldCount).to.equal(1)
    harness.environment.advance(100)
    expect(harness.broker.table.heldCount).to.equal(0)
  })

  it('does not restart at an upgrade or a downgrade, and neither does the ttl', () => {
    for (const [fields, reason] of [
      [{ ttl: 1_000 }, 'expired'],
      [{ maxHold: 1_000 }, 'maxHold'],
    ] as const) {
      const harness = new BrokerHarness()
      const holder = harness.openSession({ lease: 60_000 })
      const fence = holder.acquire('k', { mode: 'shared', ...fields })
      harness.environment.advance(600)
      holder.say({ type: 'upgrade', id: 8, fence }, { type: 'downgrade', id: 9, fence })
      // The answer to an upgrade is `granted`.
      expect(holder.takeMessages().map(({ type }) => type)).to.deep.equal(['granted', 'downgraded'])
      harness.environment.advance(400)
      expect(holder.takeMessages()).to.deep.include({ type: 'lost', fence, reason })
      expect(harness.broker.table.heldCount).to.equal(0)
    }
  })

  it('leaves no deadline behind after an unlock', () => {
    const harness = new BrokerHarness()
    const holder = harness.openSession({ lease: 60_000 })
    holder.unlock(holder.acquire('k', { maxHold: 500 }))
    const laterFence = holder.acquire('k')
    holder.takeMessages()
    passTimeAnsweringPings(harness, 1_000, holder)
    expect(harness.broker.table.keys.get('k')?.holders.first?.fence).to.equal(laterFence)
  })

  it('is limited by the operator, and each `welcome` contains the limit, also after a resume', () => {
    const harness = new BrokerHarness({ limits: { maxHoldMs: 1_000 } })
    const holder = harness.openSession({ lease: 60_000, grace: 'lease' })
    expect(holder.welcome.maxHoldMs).to.equal(1_000)
    // The limit applies to a lock without a maxHold, and to a lock with a longer maxHold.
    const fences = [holder.acquire('k'), holder.acquire('l', { maxHold: 5_000 })]
    holder.socket.drop()
    const resumed = harness.connectWithHello(holder.resumeHello({ attempt: 1 }))
    const heard = resumed.takeMessages()
    expect(heard[0]).to.include({ type: 'welcome', maxHoldMs: 1_000 })
    const snapshot = heard.find(({ type }) => type === 'snapshot')
    // `at` is the time of the grant, from which the client counts `maxHold`.
    expect(snapshot).to.have.nested.property('held[0].at')
    harness.environment.advance(1_000)
    expect(resumed.takeMessages()).to.deep.include.members(fences.map(lost))
  })

  it('has no limit by default, and `welcome` then contains none', () => {
    expect(new BrokerHarness().openSession().welcome).to.not.have.property('maxHoldMs')
  })

  it('ends a lock with the event `expired`, and the statistics count the lock as expired', () => {
    const harness = new BrokerHarness()
    const [holder, watcher] = [
      harness.openSession({ lease: 60_000 }),
      harness.openSession({ lease: 60_000 }),
    ]
    holder.acquire('k', { maxHold: 100 })
    watcher.say({ type: 'watch', id: 1 })
    harness.environment.advance(100)
    watcher.say({ type: 'stats', id: 2 })
    const [, event, stats] = watcher.takeMessages()
    expect(event).to.have.nested.property('event.event', 'expired')
    expect(stats).to.have.nested.property('stats.expiredLocks', 1)
  })
})
