/**
 * Tests of the elections of section 7 of PROTOCOL.md over a socket: who leads, which value the
 * leader publishes, and what watchers see. A campaign is a request for the lock of the leader, and
 * `proclaim` changes the value of the leader. A fence is the number of a grant, which identifies a
 * lock. A peer is a client without the client library.
 */
import type { LockEvent } from '@holdfast/shared'
import { expect } from 'chai'
import { queryAll, type Stage } from './stage.js'

/** Defines the tests of elections. */
export function electing(stage: Stage): void {
  describe('elections: the broker', () => defineElectionTests(stage))
}

function defineElectionTests(stage: Stage): void {
  it('grants campaigns in order, each with its value', async () => {
    const [first, second, watcher] = await stage.openSessions(3)
    const key = stage.key()
    const campaign = first!.request({ type: 'campaign', key, value: { url: 'a' } })
    const { fence } = await first!.hearAnswer('granted', campaign)
    const waiting = second!.request({ type: 'campaign', key, value: null })
    expect(await second!.unreadMessages()).to.deep.equal([])
    const found = await queryAll(watcher!, { key })
    expect(found.held[0]).to.include({ key, mode: 'exclusive', fence, election: true })
    expect(found.held[0]!.value).to.deep.equal({ url: 'a' })
    expect(found.waiting[0]).to.include({ key, election: true })
    await first!.release(fence)
    await second!.hearAnswer('granted', waiting)
    expect((await queryAll(watcher!, { key })).held[0]).to.include({ election: true, value: null })
  })

  it('lists a leader without a value as a leader, but not the holder of a plain lock', async () => {
    const peer = await stage.openSession()
    const [election, plain] = [stage.key(), stage.key()]
    await peer.hearAnswer('granted', peer.request({ type: 'campaign', key: election }))
    await peer.acquire(plain)
    const [leader] = (await queryAll(peer, { key: election })).held
    expect(leader).to.include({ election: true }).and.not.to.have.property('value')
    expect((await queryAll(peer, { key: plain })).held[0]).not.to.have.property('election')
  })

  it('lets a leader and a plain lock of the same key exclude each other', async () => {
    const [a, b] = await stage.openSessions(2)
    const key = stage.key()
    const fence = await a!.acquire(key)
    const refusedCampaign = b!.request({ type: 'campaign', key, timeout: 0 })
    expect(await b!.hearAnswer('failed', refusedCampaign)).to.include({ code: 'LOCK_HELD' })
    await a!.release(fence)
    await b!.hearAnswer('granted', b!.request({ type: 'campaign', key }))
    const refusedLock = a!.lock(key, { timeout: 0 })
    expect(await a!.hearAnswer('failed', refusedLock)).to.include({ code: 'LOCK_HELD' })
  })

  it('changes the value but not the fence of a leader, and shows watchers each change in order', async () => {
    const [leader, watcher] = await stage.openSessions(2)
    const key = stage.key()
    const watch = watcher!.request({ type: 'watch', key })
    await watcher!.hearAnswerParts('watching', watch)
    const campaign = leader!.request({ type: 'campaign', key, value: 1 })
    const { fence } = await leader!.hearAnswer('granted', campaign)
    // A `proclaim` without a value removes the value.
    for (const value of [2, 3, undefined]) {
      const id = leader!.request({ type: 'proclaim', fence, ...(value && { value }) })
      await leader!.hearAnswer('proclaimed', id)
    }
    for (const [event, value] of [
      ['locked', 1],
      ['proclaimed', 2],
      ['proclaimed', 3],
      ['proclaimed', undefined],
    ] as const) {
      const { event: change } = await watcher!.hear('event')
      expect(change).to.include({ event, key, fence, election: true })
      expect((change as LockEvent).value).to.equal(value)
    }
    await leader!.release(fence)
    expect((await watcher!.hear('event')).event).to.include({ event: 'unlocked', fence })
  })

  it('starts a watch with the current value', async () => {
    const [leader, watcher] = await stage.openSessions(2)
    const key = stage.key()
    const campaign = leader!.request({ type: 'campaign', key, value: 1 })
    const { fence } = await leader!.hearAnswer('granted', campaign)
    await leader!.hearAnswer('proclaimed', leader!.request({ type: 'proclaim', fence, value: 2 }))
    const [state] = await watcher!.hearAnswerParts(
      'watching',
      watcher!.request({ type: 'watch', key }),
    )
    expect(state!.held[0]).to.include({ fence, election: true, value: 2 })
  })

  it('refuses a `proclaim` of a session that does not lead: LOCK_NOT_HELD', async () => {
    const [leader, other] = await stage.openSessions(2)
    const key = stage.key()
    const campaign = leader!.request({ type: 'campaign', key, value: 1 })
    const { fence } = await leader!.hearAnswer('granted', campaign)
    const plainFence = await other!.acquire(stage.key())
    // The fence of the leader, the fence of a plain lock, and a fence that no lock has.
    for (const wrongFence of [fence, plainFence, plainFence + 1]) {
      const id = other!.request({ type: 'proclaim', fence: wrongFence, value: 2 })
      expect(await other!.hearAnswer('failed', id)).to.include({ code: 'LOCK_NOT_HELD' })
    }
    const fenceOfStealer = await other!.acquire(key, { steal: true })
    expect(await leader!.hear('lost')).to.include({ fence, reason: 'stolen' })
    const lateRequest = leader!.request({ type: 'proclaim', fence, value: 2 })
    expect(await leader!.hearAnswer('failed', lateRequest)).to.include({ code: 'LOCK_NOT_HELD' })
    const [lock] = (await queryAll(leader!, { key })).held
    expect(lock).to.include({ fence: fenceOfStealer }).and.not.to.have.property('election')
  })

  it('refuses a value above 4 KiB: BAD_MESSAGE', async () => {
    const peer = await stage.openSession()
    const key = stage.key()
    // With its two quotes, this value has 4 KiB and 1 byte of JSON.
    const value = 'x'.repeat(4 * 1024 - 1)
    const refused = peer.request({ type: 'campaign', key, value })
    expect(await peer.hearAnswer('failed', refused)).to.include({ code: 'BAD_MESSAGE' })
    const largest = peer.request({ type: 'campaign', key, value: value.slice(1) })
    const { fence } = await peer.hearAnswer('granted', largest)
    const id = peer.request({ type: 'proclaim', fence, value })
    expect(await peer.hearAnswer('failed', id)).to.include({ code: 'BAD_MESSAGE' })
  })

  it('accepts metadata and a value of nearly the greatest size in one message', async () => {
    const peer = await stage.openSession()
    // As JSON, this list has 2,047 digits, 2,046 commas and 2 brackets. These are 4,095 bytes, and
    // 4,096 are allowed.
    const numbers = Array.from({ length: 2_047 }, () => 1)
    const id = peer.request({
      type: 'campaign',
      key: stage.key(),
      value: numbers,
      metadata: numbers,
    })
    await peer.hearAnswer('granted', id)
  })

  it('answers a cancelled campaign with ABORTED', async () => {
    const [leader, candidate] = await stage.openSessions(2)
    const key = stage.key()
    const first = leader!.request({ type: 'campaign', key })
    await leader!.hearAnswer('granted', first)
    const id = candidate!.request({ type: 'campaign', key })
    candidate!.say({ type: 'cancel', request: id })
    expect(await candidate!.hearAnswer('failed', id)).to.include({ code: 'ABORTED' })
  })
}
