/** PROTOCOL.md §6 over a socket: who is granted what, in which order, and how a lock ends. */
import type { Holder } from '@holdfast/shared'
import { expect } from 'chai'
import { look, type Stage } from './stage.js'

export function locking(stage: Stage): void {
  describe('lock', () => grants(stage))
  describe('queue', () => queues(stage))
  describe('timeout', () => timeouts(stage))
  describe('cancel', () => cancels(stage))
  describe('ttl', () => ttls(stage))
  describe('steal', () => steals(stage))
  describe('revoke', () => revokes(stage))
}

function grants(stage: Stage): void {
  it('is granted with a fence that rises over keys and sessions', async () => {
    const [a, b] = await stage.cast(2)
    const fences = [
      await a!.take(stage.key()),
      await b!.take(stage.key()),
      await a!.take(stage.key()),
    ]
    expect(fences.every(Number.isSafeInteger)).to.equal(true)
    expect([...fences].sort((x, y) => x - y)).to.deep.equal(fences)
    expect(new Set(fences).size).to.equal(3)
  })

  it('says when its ttl began, and nothing of the kind without one', async () => {
    const peer = await stage.open()
    const without = await peer.answer('granted', peer.lock(stage.key()))
    expect(without).to.have.all.keys('type', 'id', 'fence')
    const { at } = await peer.answer('granted', peer.lock(stage.key(), { ttl: 60_000 }))
    expect(at).to.be.a('number').that.is.at.least(peer.welcome.at)
  })

  it('is not re-entrant', async () => {
    const peer = await stage.open()
    const key = stage.key()
    const fence = await peer.take(key)
    const again = peer.lock(key)
    expect(await peer.settle()).to.deep.equal([])
    peer.unlock(fence)
    expect((await peer.answer('granted', again)).fence).to.be.greaterThan(fence)
  })

  it('is LOCK_NOT_HELD to unlock or refresh with another fence, and changes nothing', async () => {
    const [holder, other] = await stage.cast(2)
    const key = stage.key()
    const fence = await holder!.take(key)
    for (const [peer, wrong] of [
      [other!, fence],
      [holder!, fence + 1],
      [holder!, 1],
    ] as const) {
      expect(await peer.answer('failed', peer.unlock(wrong))).to.include({ code: 'LOCK_NOT_HELD' })
      const refresh = peer.ask({ type: 'refresh', fence: wrong, ttl: 1 })
      expect(await peer.answer('failed', refresh)).to.include({ code: 'LOCK_NOT_HELD' })
    }
    expect((await look(other!, { key })).held).to.have.length(1)
    await holder!.release(fence)
    const again = await holder!.answer('failed', holder!.unlock(fence))
    expect(again).to.include({ code: 'LOCK_NOT_HELD' })
  })

  it('of a dropped session without a grace goes to the next at once', async () => {
    const [holder, next] = await stage.cast(2)
    const key = stage.key()
    await holder!.take(key)
    const id = next!.lock(key)
    holder!.drop()
    await next!.answer('granted', id)
  })
}

function queues(stage: Stage): void {
  it('is served first come, first served, one grant for one release', async () => {
    const peers = await stage.cast(5)
    const key = stage.key()
    const ids: number[] = []
    for (const peer of peers) {
      ids.push(peer.lock(key))
      await peer.settle()
    }
    for (const [i, peer] of peers.entries()) {
      const { fence } = await peer.answer('granted', ids[i]!)
      for (const later of peers.slice(i + 1)) expect(await later.settle()).to.deep.equal([])
      await peer.release(fence)
    }
  })

  it('lets shared locks share, and none past a waiting exclusive request', async () => {
    const [a, b, c, d] = await stage.cast(4)
    const key = stage.key()
    const fences = [await a!.take(key, { mode: 'shared' }), await b!.take(key, { mode: 'shared' })]
    const exclusive = c!.lock(key)
    await c!.settle()
    const shared = d!.lock(key, { mode: 'shared' })
    expect(await d!.settle()).to.deep.equal([])
    const held = d!.lock(key, { mode: 'shared', timeout: 0 })
    expect(await d!.answer('failed', held)).to.include({ code: 'LOCK_HELD' })
    await a!.release(fences[0]!)
    expect(await c!.settle()).to.deep.equal([])
    await b!.release(fences[1]!)
    const { fence } = await c!.answer('granted', exclusive)
    await c!.release(fence)
    await d!.answer('granted', shared)
  })

  it('grants shared neighbours together', async () => {
    const [holder, b, c] = await stage.cast(3)
    const key = stage.key()
    const fence = await holder!.take(key)
    const ids = [b!.lock(key, { mode: 'shared' }), c!.lock(key, { mode: 'shared' })]
    await b!.settle()
    await c!.settle()
    await holder!.release(fence)
    await b!.answer('granted', ids[0]!)
    await c!.answer('granted', ids[1]!)
  })
}

function timeouts(stage: Stage): void {
  it('of 0 is LOCK_HELD at once, by named holders', async () => {
    const holder = await stage.open({ name: 'worker 7' })
    const [other] = await stage.cast(1)
    const key = stage.key()
    const fence = await holder.take(key, { metadata: { job: [1, 'é'] } })
    const failed = await other!.answer('failed', other!.lock(key, { timeout: 0 }))
    expect(failed).to.include({ code: 'LOCK_HELD' })
    expect(failed.message).to.be.a('string')
    const [named] = failed.holders!
    const { session } = holder.welcome
    expect(named).to.deep.include({ session, name: 'worker 7', metadata: { job: [1, 'é'] }, fence })
    expect(named!.since).to.be.a('number')
  })

  it('of 0 names 16 holders at most', async () => {
    const [holder, other] = await stage.cast(2)
    const key = stage.key()
    for (let i = 0; i < 20; i++) await holder!.take(key, { mode: 'shared' })
    const failed = await other!.answer('failed', other!.lock(key, { timeout: 0 }))
    expect(failed.holders).to.have.length(16)
  })

  it('is LOCK_TIMEOUT once, and no grant follows', async () => {
    const [holder, other] = await stage.cast(2)
    const key = stage.key()
    const fence = await holder!.take(key, { metadata: 'large' })
    const failed = await other!.answer('failed', other!.lock(key, { timeout: 20 }))
    expect(failed).to.include({ code: 'LOCK_TIMEOUT' })
    const [{ since, ...named }] = failed.holders as [Holder]
    expect(named, 'without metadata').to.deep.equal({ session: holder!.welcome.session, fence })
    expect(since).to.be.a('number')
    await holder!.release(fence)
    expect(await other!.settle()).to.deep.equal([])
    expect(await look(holder!, { key })).to.include({ heldCount: 0, waitingCount: 0 })
  })
}

function cancels(stage: Stage): void {
  it('of a request that waits is ABORTED, and frees its place', async () => {
    const [holder, b, c] = await stage.cast(3)
    const key = stage.key()
    await holder!.take(key, { mode: 'shared' })
    const exclusive = b!.lock(key)
    await b!.settle()
    const shared = c!.lock(key, { mode: 'shared' })
    await c!.settle()
    b!.say({ type: 'cancel', request: exclusive })
    expect(await b!.answer('failed', exclusive)).to.include({ code: 'ABORTED' })
    await c!.answer('granted', shared)
  })

  it('that comes too late changes nothing, nor does one of nothing', async () => {
    const peer = await stage.open()
    const key = stage.key()
    const id = peer.lock(key)
    peer.say({ type: 'cancel', request: id }, { type: 'cancel', request: 999 })
    const { fence } = await peer.answer('granted', id)
    expect(await peer.settle()).to.deep.equal([])
    await peer.release(fence)
  })

  it('and grant that cross end in one of the two, and nobody is forgotten', async () => {
    const [holder, racer, last] = await stage.cast(3)
    for (let round = 0; round < 20; round++) {
      const key = stage.key()
      const fence = await holder!.take(key)
      const id = racer!.lock(key)
      await racer!.settle()
      const next = last!.lock(key)
      holder!.unlock(fence)
      racer!.say({ type: 'cancel', request: id })
      // A grant that crossed the cancel is given back, as a client must.
      const outcome = (await racer!.settle()).find(
        (message) => 'id' in message && message.id === id,
      )
      if (outcome?.type === 'granted') await racer!.release(outcome.fence)
      else expect(outcome).to.include({ type: 'failed', code: 'ABORTED' })
      await last!.answer('granted', next)
    }
  })
}

function ttls(stage: Stage): void {
  it('lets a lock expire: lost, then granted to the next, then LOCK_NOT_HELD', async () => {
    const [holder, next] = await stage.cast(2)
    const key = stage.key()
    const fence = await holder!.take(key, { ttl: 30 })
    const id = next!.lock(key)
    expect(await holder!.hear('lost')).to.include({ fence, reason: 'expired' })
    await next!.answer('granted', id)
    const failed = await holder!.answer('failed', holder!.unlock(fence))
    expect(failed).to.include({ code: 'LOCK_NOT_HELD' })
  })

  it('begins anew with a refresh, which may change it', async () => {
    const peer = await stage.open()
    const fence = await peer.take(stage.key(), { ttl: 60_000 })
    await peer.answer('refreshed', peer.ask({ type: 'refresh', fence }))
    await peer.answer('refreshed', peer.ask({ type: 'refresh', fence, ttl: 30 }))
    expect(await peer.hear('lost')).to.include({ fence, reason: 'expired' })
  })

  it('may come late: a refresh gives it to a lock without one', async () => {
    const peer = await stage.open()
    const fence = await peer.take(stage.key())
    await peer.answer('refreshed', peer.ask({ type: 'refresh', fence }))
    await peer.answer('refreshed', peer.ask({ type: 'refresh', fence, ttl: 30 }))
    expect(await peer.hear('lost')).to.include({ fence })
  })
}

function steals(stage: Stage): void {
  it('takes the key from all who hold it, and leaves the queue as it is', async () => {
    const [a, b, waiting, thief] = await stage.cast(4)
    const key = stage.key()
    const victims = [await a!.take(key, { mode: 'shared' }), await b!.take(key, { mode: 'shared' })]
    const id = waiting!.lock(key)
    await waiting!.settle()
    const fence = await thief!.take(key, { steal: true })
    expect(fence).to.be.greaterThan(Math.max(...victims))
    expect(await a!.hear('lost')).to.include({ fence: victims[0], reason: 'stolen' })
    expect(await b!.hear('lost')).to.include({ fence: victims[1], reason: 'stolen' })
    expect(await waiting!.settle()).to.deep.equal([])
    const failed = await a!.answer('failed', a!.unlock(victims[0]!))
    expect(failed).to.include({ code: 'LOCK_NOT_HELD' })
    await thief!.release(fence)
    await waiting!.answer('granted', id)
  })

  it('is a lock like any other where nobody holds', async () => {
    const peer = await stage.open()
    await peer.release(await peer.take(stage.key(), { steal: true }))
    expect(await peer.settle()).to.deep.equal([])
  })
}

function revokes(stage: Stage): void {
  it('with another fence changes nothing, with or without the permission', async () => {
    const [holder, other] = await stage.cast(2)
    const key = stage.key()
    const fence = await holder!.take(key)
    const wrong = other!.ask({ type: 'revoke', key, fence: fence + 1, reason: 'conformance' })
    const failed = await other!.answer('failed', wrong)
    expect(failed.code).to.be.oneOf(['LOCK_NOT_HELD', 'FORBIDDEN'])
    expect(await holder!.settle()).to.deep.equal([])
    await holder!.release(fence)
  })

  it('ends the lock and tells its holder, or is FORBIDDEN and does neither', async () => {
    const [holder, other] = await stage.cast(2)
    const key = stage.key()
    const fence = await holder!.take(key)
    const id = other!.ask({ type: 'revoke', key, fence, reason: 'conformance' })
    const next = other!.lock(key)
    await other!.settle()
    const answer = await other!.hearAnswer(id)
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
    await other!.answer('granted', next)
  })
}
