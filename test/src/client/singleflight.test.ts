/**
 * Tests `singleflightLock`, whose callers share one request and its lock. The lock is released
 * when the last caller unlocks. A fence is the number of a grant; the ttl is how long a lock lasts
 * without a refresh.
 */
import { expect } from 'chai'
import {
  errorCodeOf,
  openScriptedSession,
  stateOf,
  untilTurnEnds,
} from '../support/scriptedSession.js'

describe('singleflightLock', () => {
  it('sends one request for all calls before the grant, and one unlock when the last caller unlocks', async () => {
    const { session, socket } = await openScriptedSession()
    const requesting = [1, 2, 3].map(() => session.singleflightLock('k'))
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'lock', id: 1, key: 'k' }])
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    const [a, b, c] = await Promise.all(requesting)
    if (a === undefined || b === undefined || c === undefined)
      throw new Error('a caller got no lock')
    expect([a.fence, b.fence, c.fence]).to.deep.equal([5, 5, 5])
    await a.unlock()
    await b.unlock()
    // The second `unlock` of a caller must not count as the `unlock` of another caller.
    await a.unlock()
    expect([a.held, b.held, c.held]).to.deep.equal([false, false, true])
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
    const lastUnlocking = c.unlock()
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 5 }])
    socket.deliver({ type: 'unlocked', id: 2 })
    await lastUnlocking
  })

  it('does not exclude its callers from each other: all hold the lock together', async () => {
    const { session, socket } = await openScriptedSession()
    let holders = 0
    let maxHolders = 0
    const work = async () => {
      const lock = await session.singleflightLock('k')
      maxHolders = Math.max(maxHolders, ++holders)
      await untilTurnEnds()
      holders--
      await lock.unlock()
    }
    const working = Promise.all([work(), work(), work(), work(), work()])
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    // All callers hold the lock in the first turn, and unlock it in the second turn.
    await untilTurnEnds()
    await untilTurnEnds()
    socket.deliver({ type: 'unlocked', id: 2 })
    await working
    expect(maxHolders).to.equal(5)
  })

  it('keeps the lock for the other callers when the first unlocks immediately', async () => {
    const { session, socket } = await openScriptedSession()
    const firstUnlocking = session.singleflightLock('k').then((lock) => lock.unlock())
    const secondRequesting = session.singleflightLock('k')
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    await firstUnlocking
    expect((await secondRequesting).held).to.equal(true)
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('sends a new request for another key, mode or ttl, and for a call after the grant', async () => {
    const { session, socket } = await openScriptedSession()
    const first = session.singleflightLock('k')
    void session.singleflightLock('l')
    void session.singleflightLock('k', { mode: 'shared' })
    void session.singleflightLock('k', { ttl: 1_000 })
    await untilTurnEnds()
    expect(socket.newMessages().length).to.equal(4)
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    await first
    const later = session.singleflightLock('k')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'lock', id: 5, key: 'k' }])
    expect(await stateOf(later)).to.equal('pending')
  })

  it('lets each caller give up alone, and cancels the request when the last caller gives up', async () => {
    const { session, socket, clock } = await openScriptedSession()
    const controller = new AbortController()
    const timedOut = errorCodeOf(session.singleflightLock('k', { timeout: 1_000 }))
    const aborted = errorCodeOf(session.singleflightLock('k', { signal: controller.signal }))
    await untilTurnEnds()
    // The request has no timeout: only the caller with the timeout gives up.
    expect(socket.newMessages()).to.deep.equal([{ type: 'lock', id: 1, key: 'k' }])
    clock.advance(1_000)
    expect(await timedOut).to.equal('LOCK_TIMEOUT')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
    controller.abort()
    expect(await aborted).to.equal('ABORTED')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 1 }])
    void session.singleflightLock('k')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'lock', id: 2, key: 'k' }])
  })

  it('sends nothing with a signal that is aborted already', async () => {
    const { session, socket } = await openScriptedSession()
    const signal = AbortSignal.abort()
    expect(await errorCodeOf(session.singleflightLock('k', { signal }))).to.equal('ABORTED')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('unlocks if the only caller aborts after the grant arrived, but before the call resolves', async () => {
    const { session, socket } = await openScriptedSession()
    const controller = new AbortController()
    const aborted = errorCodeOf(session.singleflightLock('k', { signal: controller.signal }))
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    controller.abort()
    expect(await aborted).to.equal('ABORTED')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include({ type: 'unlock', id: 2, fence: 5 })
  })

  it('reports the loss to every caller that has not unlocked', async () => {
    const { session, socket, lost } = await openScriptedSession()
    const requesting = [1, 2, 3].map(() => session.singleflightLock('k'))
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 5 })
    const locks = await Promise.all(requesting)
    const signals = locks.map((lock) => lock.signal)
    await locks[0]?.unlock()
    socket.deliver({ type: 'lost', fence: 5, reason: 'stolen' })
    expect(signals.map((signal) => signal.aborted)).to.deep.equal([false, true, true])
    expect(lost.length).to.equal(1)
  })

  it('rejects all callers when the request fails', async () => {
    const { session, socket } = await openScriptedSession()
    const outcomes = [1, 2].map(() => errorCodeOf(session.singleflightLock('k')))
    await untilTurnEnds()
    socket.deliver({ type: 'failed', id: 1, code: 'QUOTA_EXCEEDED', message: '' })
    expect(await Promise.all(outcomes)).to.deep.equal(['QUOTA_EXCEEDED', 'QUOTA_EXCEEDED'])
  })
})
