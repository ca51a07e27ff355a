/**
 * Tests of section 7 of PROTOCOL.md over a socket: grants, their order, and the end of a lock. A
 * fence is the number of a grant, which identifies a lock. The ttl is the time after which a lock
 * expires. The grace is how long a session outlives its connection. A peer is a client without the
 * client library. A set is one lock on several keys. A barrier lets its parties wait until all of
 * them have arrived.
 */
import type { Holder } from '@holdfast/shared'
import { expect } from 'chai'
import { modeChanges, scopes } from './modeChanges.js'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of requests for locks and barriers, and of the end of locks. */
export function locking(stage: Stage): void {
  describe('lock: the broker', () => grants(stage))
  describe('queue: the broker', () => queues(stage))
  describe('timeout: the broker', () => timeouts(stage))
  describe('cancel: the broker', () => cancels(stage))
  describe('ttl: the broker', () => ttls(stage))
  describe('a steal', () => steals(stage))
  describe('a revoke', () => revokes(stage))
  describe('upgrade and downgrade: the broker', () => modeChanges(stage))
  describe('scopes: the broker', () => scopes(stage))
  describe('barrier: the broker', () => barriers(stage))
  describe('permits: the broker', () => permits(stage))
  describe('lockAll: the broker', () => sets(stage))
}

function permits(stage: Stage): void {
  it('grants permits within the capacity, in the order of arrival', async () => {
    const [a, b, c] = await stage.openSessions(3)
    const key = stage.key()
    const fence = await a!.acquire(key, { capacity: 3, permits: 2 })
    const largeRequest = b!.lock(key, { capacity: 3, permits: 2 })
    await b!.settle()
    // One permit is free, but the request of b came first.
    const failed = await c!.hearAnswer('failed', c!.lock(key, { capacity: 3, timeout: 0 }))
    expect(failed).to.include({ code: 'LOCK_HELD' })
    await a!.release(fence)
    await b!.hearAnswer('granted', largeRequest)
    await c!.acquire(key, { capacity: 3 })
  })

  it('refuses another capacity with CAPACITY_MISMATCH, and lets the client reuse the id of the request', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await a!.acquire(key, { capacity: 3 })
    const id = b!.lock(key, { capacity: 4 })
    expect(await b!.hearAnswer('failed', id)).to.include({ code: 'CAPACITY_MISMATCH', capacity: 3 })
    await a!.release(fence)
    b!.say({ type: 'lock', id, key, capacity: 4 })
    await b!.hearAnswer('granted', id)
  })

  it('grants no lock of another mode while permits are held', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    await a!.acquire(key, { capacity: 3 })
    const failed = await b!.hearAnswer('failed', b!.lock(key, { mode: 'shared', timeout: 0 }))
    expect(failed).to.include({ code: 'LOCK_HELD' })
    expect((await queryAll(b!, { key })).held[0]).to.include({
      mode: 'permits',
      permits: 1,
      capacity: 3,
    })
  })
}

function sets(stage: Stage): void {
  const items = (...keys: string[]) => keys.map((key) => ({ key }))

  it('grants all keys in one step, with one fence, and unlocks them together', async () => {
    const [a, b] = await stage.openSessions(2)
    const [k, l] = [stage.key(), stage.key()]
    const id = a!.request({ type: 'lockAll', items: items(k, l) })
    const { fence } = await a!.hearAnswer('granted', id)
    for (const key of [k, l]) {
      expect((await queryAll(b!, { key })).held[0]).to.include({ fence, keyCount: 2 })
    }
    await a!.release(fence)
    for (const key of [k, l]) expect((await queryAll(b!, { key })).held).to.deep.equal([])
  })

  it('lets a set wait in the queue of each key, and grants it none of the keys meanwhile', async () => {
    const [a, b, c] = await stage.openSessions(3)
    const [k, l] = [stage.key(), stage.key()]
    const fence = await a!.acquire(k)
    const id = b!.request({ type: 'lockAll', items: items(k, l) })
    await b!.settle()
    expect((await queryAll(c!, { key: l })).held).to.deep.equal([])
    const lateRequest = c!.lock(l)
    await c!.settle()
    await a!.release(fence)
    const granted = await b!.hearAnswer('granted', id)
    await b!.release(granted.fence)
    await c!.hearAnswer('granted', lateRequest)
  })

  it('removes a set from the queue of each key after a cancel', async () => {
    const [a, b, c] = await stage.openSessions(3)
    const [k, l] = [stage.key(), stage.key()]
    const fence = await a!.acquire(k)
    const id = b!.request({ type: 'lockAll', items: items(k, l) })
    await b!.settle()
    b!.say({ type: 'cancel', request: id })
    expect(await b!.hearAnswer('failed', id)).to.include({ code: 'ABORTED' })
    await c!.acquire(l)
    await a!.release(fence)
    await c!.acquire(k)
  })

  it('names the holder that prevents the grant, and the key of this holder', async () => {
    const [a, b] = await stage.openSessions(2)
    const [k, l] = [stage.key(), stage.key()]
    const fence = await a!.acquire(l)
    const id = b!.request({ type: 'lockAll', items: items(k, l), timeout: 0 })
    const failed = await b!.hearAnswer('failed', id)
    expect(failed.holders?.map((holder) => [holder.key, holder.fence])).to.deep.equal([[l, fence]])
    // The failed request holds none of its keys.
    await a!.acquire(k)
  })

  it('ends a set on all its keys when one key is stolen, and sends `lost` once', async () => {
    const [a, b] = await stage.openSessions(2)
    const [k, l] = [stage.key(), stage.key()]
    const { fence } = await a!.hearAnswer(
      'granted',
      a!.request({ type: 'lockAll', items: items(k, l) }),
    )
    await b!.acquire(k, { steal: true })
    expect(await a!.hear('lost')).to.include({ fence, reason: 'stolen' })
    await b!.acquire(l)
    expect(await a!.unreadMessages()).to.deep.equal([])
  })
}

function grants(stage: Stage): void {
  it('grants locks with fences that rise across all keys and sessions', async () => {
    const [a, b] = await stage.openSessions(2)
    const fences = [
      await a!.acquire(stage.key()),
      await b!.acquire(stage.key()),
      await a!.acquire(stage.key()),
    ]
    expect(fences.every(Number.isSafeInteger)).to.equal(true)
    expect([...fences].sort((x, y) => x - y)).to.deep.equal(fences)
    expect(new Set(fences).size).to.equal(3)
  })

  it('sends `at`, the start of the ttl, in a grant, but not for a lock without a ttl', async () => {
    const peer = await stage.openSession()
    const grantWithoutTtl = await peer.hearAnswer('granted', peer.lock(stage.key()))
    expect(grantWithoutTtl).to.have.all.keys('type', 'id', 'fence')
    const { at } = await peer.hearAnswer('granted', peer.lock(stage.key(), { ttl: 60_000 }))
    expect(at).to.be.a('number').that.is.at.least(peer.welcome.at)
  })

  it('makes a session wait for its own lock', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    const fence = await peer.acquire(key)
    const again = peer.lock(key)
    expect(await peer.unreadMessages()).to.deep.equal([])
    peer.unlock(fence)
    expect((await peer.hearAnswer('granted', again)).fence).to.be.greaterThan(fence)
  })

  it('rejects unlock and refresh with a wrong fence: LOCK_NOT_HELD', async () => {
    const [holder, other] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await holder!.acquire(key)
    // The fence of another session's lock, and two fences that no lock of the holder has.
    for (const [peer, wrong] of [
      [other!, fence],
      [holder!, fence + 1],
      [holder!, 1],
    ] as const) {
      expect(await peer.hearAnswer('failed', peer.unlock(wrong))).to.include({
        code: 'LOCK_NOT_HELD',
      })
      const refresh = peer.request({ type: 'refresh', fence: wrong, ttl: 1 })
      expect(await peer.hearAnswer('failed', refresh)).to.include({ code: 'LOCK_NOT_HELD' })
    }
    expect((await queryAll(other!, { key })).held).to.have.length(1)
    await holder!.release(fence)
    const again = await holder!.hearAnswer('failed', holder!.unlock(fence))
    expect(again).to.include({ code: 'LOCK_NOT_HELD' })
  })

  it('grants the next waiter when a session without a grace drops its connection', async () => {
    const [holder, next] = await stage.openSessions(2)
    const key = stage.key()
    await holder!.acquire(key)
    const id = next!.lock(key)
    holder!.drop()
    await next!.hearAnswer('granted', id)
  })
}

function queues(stage: Stage): void {
  it('grants requests in the order of arrival, one request for each release', async () => {
    const peers = await stage.openSessions(5)
    const key = stage.key()
    const ids: number[] = []
    for (const peer of peers) {
      ids.push(peer.lock(key))
      await peer.settle()
    }
    for (const [i, peer] of peers.entries()) {
      const { fence } = await peer.hearAnswer('granted', ids[i]!)
      for (const later of peers.slice(i + 1)) expect(await later.unreadMessages()).to.deep.equal([])
      await peer.release(fence)
    }
  })

  it('grants shared locks together, but none ahead of a waiting exclusive request', async () => {
    const [a, b, c, d] = await stage.openSessions(4)
    const key = stage.key()
    const fences = [
      await a!.acquire(key, { mode: 'shared' }),
      await b!.acquire(key, { mode: 'shared' }),
    ]
    const exclusive = c!.lock(key)
    await c!.settle()
    const shared = d!.lock(key, { mode: 'shared' })
    expect(await d!.unreadMessages()).to.deep.equal([])
    const refused = d!.lock(key, { mode: 'shared', timeout: 0 })
    expect(await d!.hearAnswer('failed', refused)).to.include({ code: 'LOCK_HELD' })
    await a!.release(fences[0]!)
    expect(await c!.unreadMessages()).to.deep.equal([])
    await b!.release(fences[1]!)
    const { fence } = await c!.hearAnswer('granted', exclusive)
    await c!.release(fence)
    await d!.hearAnswer('granted', shared)
  })

  it('grants all shared requests at the head of the queue together', async () => {
    const [holder, b, c] = await stage.openSessions(3)
    const key = stage.key()
    const fence = await holder!.acquire(key)
    const ids = [b!.lock(key, { mode: 'shared' }), c!.lock(key, { mode: 'shared' })]
    await b!.settle()
    await c!.settle()
    await holder!.release(fence)
    await b!.hearAnswer('granted', ids[0]!)
    await c!.hearAnswer('granted', ids[1]!)
  })
}

function timeouts(stage: Stage): void {
  it('answers timeout 0 with LOCK_HELD and the holders', async () => {
    const holder = await stage.openSession({ name: 'worker 7' })
    const other = await stage.openSession()
    const key = stage.key()
    const fence = await holder.acquire(key, { metadata: { job: [1, 'é'] } })
    const failed = await other.hearAnswer('failed', other.lock(key, { timeout: 0 }))
    expect(failed).to.include({ code: 'LOCK_HELD' })
    expect(failed.message).to.be.a('string')
    const [named] = failed.holders!
    const { session } = holder.welcome
    expect(named).to.deep.include({ session, name: 'worker 7', metadata: { job: [1, 'é'] }, fence })
    expect(named!.since).to.be.a('number')
  })

  it('names at most 16 holders', async () => {
    const [holder, other] = await stage.openSessions(2)
    const key = stage.key()
    for (let i = 0; i < 20; i++) await holder!.acquire(key, { mode: 'shared' })
    const failed = await other!.hearAnswer('failed', other!.lock(key, { timeout: 0 }))
    expect(failed.holders).to.have.length(16)
  })

  it('answers LOCK_TIMEOUT once, without the metadata of the holder, and grants nothing afterwards', async () => {
    const [holder, other] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await holder!.acquire(key, { metadata: { job: 7 } })
    const failed = await other!.hearAnswer('failed', other!.lock(key, { timeout: 20 }))
    expect(failed).to.include({ code: 'LOCK_TIMEOUT' })
    const [{ since, ...named }] = failed.holders as [Holder]
    expect(named, 'without metadata').to.deep.equal({ session: holder!.welcome.session, fence })
    expect(since).to.be.a('number')
    await holder!.release(fence)
    expect(await other!.unreadMessages()).to.deep.equal([])
    expect(await queryAll(holder!, { key })).to.include({ heldCount: 0, waitingCount: 0 })
  })
}

function cancels(stage: Stage): void {
  it('answers ABORTED to a waiting request, and removes the request from the queue', async () => {
    const [holder, b, c] = await stage.openSessions(3)
    const key = stage.key()
    await holder!.acquire(key, { mode: 'shared' })
    const exclusive = b!.lock(key)
    await b!.settle()
    const shared = c!.lock(key, { mode: 'shared' })
    await c!.settle()
    b!.say({ type: 'cancel', request: exclusive })
    expect(await b!.hearAnswer('failed', exclusive)).to.include({ code: 'ABORTED' })
    await c!.hearAnswer('granted', shared)
  })

  it('ignores a cancel of a granted request or of an unknown request', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    const id = peer.lock(key)
    peer.say({ type: 'cancel', request: id }, { type: 'cancel', request: 999 })
    const { fence } = await peer.hearAnswer('granted', id)
    expect(await peer.unreadMessages()).to.deep.equal([])
    await peer.release(fence)
  })

  it('answers a request with a grant or ABORTED if its cancel and its grant cross', async () => {
    const [holder, racer, last] = await stage.openSessions(3)
    for (let round = 0; round < 20; round++) {
      const key = stage.key()
      const fence = await holder!.acquire(key)
      const id = racer!.lock(key)
      await racer!.settle()
      const next = last!.lock(key)
      holder!.unlock(fence)
      racer!.say({ type: 'cancel', request: id })
      // If the grant crossed the cancel, the client must unlock the lock.
      const outcome = (await racer!.unreadMessages()).find(
        (message) => 'id' in message && message.id === id,
      )
      if (outcome?.type === 'granted') await racer!.release(outcome.fence)
      else expect(outcome).to.include({ type: 'failed', code: 'ABORTED' })
      await last!.hearAnswer('granted', next)
    }
  })
}

function ttls(stage: Stage): void {
  it('ends a lock after its ttl, tells the holder, and grants the next waiter', async () => {
    const [holder, next] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await holder!.acquire(key, { ttl: 30 })
    const id = next!.lock(key)
    expect(await holder!.hear('lost')).to.include({ fence, reason: 'expired' })
    await next!.hearAnswer('granted', id)
    const failed = await holder!.hearAnswer('failed', holder!.unlock(fence))
    expect(failed).to.include({ code: 'LOCK_NOT_HELD' })
  })

  it('accepts a refresh without a ttl, and a refresh that changes the ttl', async () => {
    const peer = await stage.openSession()
    const fence = await peer.acquire(stage.key(), { ttl: 60_000 })
    await peer.hearAnswer('refreshed', peer.request({ type: 'refresh', fence }))
    await peer.hearAnswer('refreshed', peer.request({ type: 'refresh', fence, ttl: 30 }))
    expect(await peer.hear('lost')).to.include({ fence, reason: 'expired' })
  })

  it('accepts a refresh that sets the ttl of a lock without a ttl', async () => {
    const peer = await stage.openSession()
    const fence = await peer.acquire(stage.key())
    await peer.hearAnswer('refreshed', peer.request({ type: 'refresh', fence }))
    await peer.hearAnswer('refreshed', peer.request({ type: 'refresh', fence, ttl: 30 }))
    expect(await peer.hear('lost')).to.include({ fence })
  })
}

function steals(stage: Stage): void {
  it('takes the key from all holders, and does not change the queue', async () => {
    const [a, b, waiter, stealer] = await stage.openSessions(4)
    const key = stage.key()
    const stolenFences = [
      await a!.acquire(key, { mode: 'shared' }),
      await b!.acquire(key, { mode: 'shared' }),
    ]
    const id = waiter!.lock(key)
    await waiter!.settle()
    const fence = await stealer!.acquire(key, { steal: true })
    expect(fence).to.be.greaterThan(Math.max(...stolenFences))
    expect(await a!.hear('lost')).to.include({ fence: stolenFences[0], reason: 'stolen' })
    expect(await b!.hear('lost')).to.include({ fence: stolenFences[1], reason: 'stolen' })
    expect(await waiter!.unreadMessages()).to.deep.equal([])
    const failed = await a!.hearAnswer('failed', a!.unlock(stolenFences[0]!))
    expect(failed).to.include({ code: 'LOCK_NOT_HELD' })
    await stealer!.release(fence)
    await waiter!.hearAnswer('granted', id)
  })

  it('is granted like any lock request if the key is free', async () => {
    const peer = await stage.openSession()
    await peer.release(await peer.acquire(stage.key(), { steal: true }))
    expect(await peer.unreadMessages()).to.deep.equal([])
  })
}

function revokes(stage: Stage): void {
  it('changes nothing with a wrong fence, with or without the permission to revoke', async () => {
    const [holder, other] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await holder!.acquire(key)
    const id = other!.request({ type: 'revoke', key, fence: fence + 1, reason: 'conformance' })
    const failed = await other!.hearAnswer('failed', id)
    expect(failed.code).to.be.oneOf(['LOCK_NOT_HELD', 'FORBIDDEN'])
    expect(await holder!.unreadMessages()).to.deep.equal([])
    await holder!.release(fence)
  })

  it('ends the lock and tells its holder, or answers FORBIDDEN and changes nothing', async () => {
    const [holder, other] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await holder!.acquire(key)
    const id = other!.request({ type: 'revoke', key, fence, reason: 'conformance' })
    const next = other!.lock(key)
    await other!.settle()
    const answer = await other!.hearAnswerTo(id)
    if (answer.type === 'revoked') {
      expect(await holder!.hear('lost')).to.include({
        fence,
        reason: 'revoked',
        note: 'conformance',
      })
    } else {
      expect(answer).to.include({ type: 'failed', code: 'FORBIDDEN' })
      await holder!.release(fence)
    }
    await other!.hearAnswer('granted', next)
  })
}

function barriers(stage: Stage): void {
  it('lets all parties pass when the last party arrives, and none before', async () => {
    const peers = await stage.openSessions(3)
    const key = stage.key()
    const ids: number[] = []
    for (const [i, peer] of peers.entries()) {
      ids.push(peer.request({ type: 'barrier', key, parties: 3 }))
      // The first two parties wait for the third.
      if (i < 2) expect(await peer.unreadMessages()).to.deep.equal([])
    }
    for (const [i, peer] of peers.entries()) await peer.hearAnswer('passed', ids[i]!)
  })

  it('rejects a different number of parties: CAPACITY_MISMATCH', async () => {
    const [first, second] = await stage.openSessions(2)
    const key = stage.key()
    const id = first!.request({ type: 'barrier', key, parties: 2 })
    await first!.settle()
    const refused = second!.request({ type: 'barrier', key, parties: 5 })
    const failed = await second!.hearAnswer('failed', refused)
    expect(failed).to.include({ code: 'CAPACITY_MISMATCH', capacity: 2 })
    // The message has both numbers of parties.
    expect(failed.message).to.match(/2.*5/)
    second!.request({ type: 'barrier', key, parties: 2 })
    await first!.hearAnswer('passed', id)
  })

  it('does not count a call that was cancelled or that timed out', async () => {
    const [first, second] = await stage.openSessions(2)
    const key = stage.key()
    const cancelled = first!.request({ type: 'barrier', key, parties: 2 })
    first!.say({ type: 'cancel', request: cancelled })
    expect(await first!.hearAnswer('failed', cancelled)).to.include({ code: 'ABORTED' })
    const timedOut = first!.request({ type: 'barrier', key, parties: 2, timeout: 1 })
    expect(await first!.hearAnswer('failed', timedOut)).to.include({ code: 'LOCK_TIMEOUT' })
    second!.request({ type: 'barrier', key, parties: 2 })
    expect(await second!.unreadMessages()).to.deep.equal([])
  })

  it('does not count a session without a grace whose connection dropped', async () => {
    const [first, second] = await stage.openSessions(2)
    const key = stage.key()
    first!.request({ type: 'barrier', key, parties: 3 })
    await first!.settle()
    first!.drop()
    await first!.closed
    // Until the broker has noticed the drop, the barrier has 3 parties, so a call for 2 parties
    // fails.
    const hasFailed = async () =>
      (await second!.unreadMessages()).some(({ type }) => type === 'failed')
    let id = second!.request({ type: 'barrier', key, parties: 2, timeout: 60_000 })
    while (await hasFailed()) {
      // Takes the failure out of the unread messages.
      await second!.hearAnswerTo(id)
      id = second!.request({ type: 'barrier', key, parties: 2, timeout: 60_000 })
    }
    const last = second!.request({ type: 'barrier', key, parties: 2 })
    await second!.hearAnswer('passed', id)
    await second!.hearAnswer('passed', last)
  })
}
