/**
 * Tests what the client does after it has resumed a session: it compares the broker's snapshot with
 * its own locks and requests. A fence is the number of a grant; the ttl is how long a lock lasts
 * without a refresh. A session in jeopardy has lost its connection, but the broker still keeps the
 * session. A session with a grace survives a drop of its connection. The client tries to reconnect
 * 50 ms after a drop.
 */
import { expect } from 'chai'
import {
  emptyAck,
  heldLock,
  openScriptedSessionWithGrace,
  resumedWelcome,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  acquireLock,
  errorCodeOf,
  reconnect,
  stateOf,
  untilTurnEnds,
} from '../support/scriptedSession.js'

describe('a client after a resume', () => {
  it('loses locks that are not in the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lostLock = await acquireLock(scene, { fence: 7 })
    const keptLock = await acquireLock(scene, { key: 'l', fence: 8 })
    await resumeSession(scene, snapshot({ held: [heldLock({ id: 2, fence: 8, key: 'l' })] }))
    expect([lostLock.held, keptLock.held]).to.deep.equal([false, true])
    // The snapshot gives no reason for a loss. Without a ttl, the client assumes `stolen`.
    expect(scene.events).to.deep.equal(['jeopardy', 'lost stolen', 'resumed'])
  })

  it('marks all locks as lost before it calls a listener', async () => {
    const scene = await openScriptedSessionWithGrace()
    const [a, b] = [await acquireLock(scene), await acquireLock(scene, { key: 'l' })]
    let isOtherHeld: boolean | undefined
    a.signal.addEventListener('abort', () => {
      isOtherHeld = b.held
    })
    await resumeSession(scene, snapshot())
    expect(isOtherHeld).to.equal(false)
  })

  it('delivers a grant that the broker made while there was no connection', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k')
    await untilTurnEnds()
    const granted = { type: 'granted', id: 1, fence: 7 }
    await reconnect(scene)
    scene.socket.deliver(resumedWelcome, granted)
    expect(await stateOf(requesting)).to.equal('pending')
    scene.socket.deliver(snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    expect((await requesting).held).to.equal(true)
    await untilTurnEnds()
    // The client answers the welcome with this ack, and acknowledges the grant later.
    expect(scene.socket.newMessages()).to.deep.equal([emptyAck])
  })

  it('delivers a grant that only the snapshot shows', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k', { ttl: 1_000 })
    await untilTurnEnds()
    scene.clock.advance(2_000)
    await resumeSession(
      scene,
      snapshot({ held: [{ ...heldLock({ id: 1, fence: 7 }), ttl: 1_000, at: 89_900 }] }),
    )
    const lock = await requesting
    // The broker granted the lock 100 ms before the hello of the resume arrived (at 90,000). So
    // 900 ms of the ttl are left. The client relies on the lock for 840 ms after the hello. This is
    // safeDuration(900, 1_000): 99 % of 900 ms, minus the margin of the ttl.
    scene.clock.advance(839)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('does not let a lock expire earlier because of a slow resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { ttl: 1_000, at: 50_000, fence: 7 })
    scene.clock.advance(200)
    await reconnect(scene)
    // The client sent the hello 250 ms after the grant. The hello arrived 300 ms later, at 90,000.
    // (The clock of the broker has jumped since the grant.) So the snapshot shows that 450 ms of
    // the ttl were left. The client does not know how long the hello took. If the client counted
    // these 450 ms from the sending of the hello, the lock would end 300 ms too early.
    const grantedAt = 90_000 - 250 - 300
    scene.clock.advance(450)
    scene.socket.deliver(
      resumedWelcome,
      snapshot({ held: [{ ...heldLock({ id: 1, fence: 7 }), ttl: 1_000, at: grantedAt }] }),
    )
    await untilTurnEnds()
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
    // The client relies on the lock for safeDuration(1_000) = 939 ms from the grant. 700 ms have
    // passed: 200 ms, the 50 ms of `reconnect`, and 450 ms.
    scene.clock.advance(238)
    expect(lock.held).to.equal(true)
    scene.clock.advance(1)
    expect(lock.held).to.equal(false)
  })

  it('does not deliver a lock that was granted and lost during the outage', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = errorCodeOf(scene.session.lock('k'))
    await untilTurnEnds()
    await resumeSession(scene, { type: 'granted', id: 1, fence: 7 }, snapshot())
    expect(await requesting).to.equal('LOCK_LOST')
    expect(scene.socket.newMessages()).to.deep.equal([])
  })

  it('delivers a grant that arrives between two parts of the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k')
    await untilTurnEnds()
    await resumeSession(
      scene,
      snapshot({ waiting: [1], more: true }),
      { type: 'granted', id: 1, fence: 7 },
      snapshot(),
    )
    expect((await requesting).fence).to.equal(7)
  })

  it('reports a loss that arrives between two parts of the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { key: 'a', fence: 6 })
    const requesting = errorCodeOf(scene.session.lock('k'))
    await untilTurnEnds()
    await resumeSession(
      scene,
      snapshot({
        held: [heldLock({ id: 1, fence: 6, key: 'a' }), heldLock({ id: 2, fence: 7 })],
        more: true,
      }),
      { type: 'lost', fence: 7, reason: 'stolen' },
      { type: 'lost', fence: 6, reason: 'stolen' },
      snapshot(),
    )
    expect(await requesting).to.equal('LOCK_LOST')
    expect(lock.held).to.equal(false)
  })

  it('cancels aborted requests that still wait, and unlocks the locks of aborted requests', async () => {
    const scene = await openScriptedSessionWithGrace()
    const controllers = [1, 2, 3].map(() => new AbortController())
    for (const { signal } of controllers) void scene.session.lock('k', { signal }).catch(() => {})
    await untilTurnEnds()
    scene.socket.end()
    for (const controller of controllers) controller.abort()
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.newMessages()
    scene.socket.deliver(
      resumedWelcome,
      { type: 'granted', id: 2, fence: 7 },
      snapshot({ held: [heldLock({ id: 2, fence: 7 })], waiting: [1] }),
    )
    await untilTurnEnds()
    // The client acknowledges the response to request 2 later. Request 3 never arrived at the
    // broker, and the client forgets request 3.
    expect(scene.socket.newMessages()).to.deep.equal([
      emptyAck,
      { type: 'cancel', request: 1 },
      { type: 'unlock', id: 4, fence: 7 },
    ])
  })

  it('cancels a request that uses the signal of a lock that is not in the snapshot', async () => {
    const scene = await openScriptedSessionWithGrace()
    const { signal } = await acquireLock(scene, { fence: 7 })
    const requesting = errorCodeOf(scene.session.lock('l', { signal }))
    await untilTurnEnds()
    const sent = await resumeSession(scene, snapshot({ waiting: [2] }))
    expect(await requesting).to.equal('ABORTED')
    expect(sent).to.deep.equal([
      { type: 'ack', ids: [1] },
      { type: 'cancel', request: 2 },
    ])
  })

  it('unlocks a lock that the client gave up during the outage', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    // The broker keeps a silent session for the lease, 10,000 ms. The client relies on only
    // 9,699 ms of the lease, so the client gives up the lock before the broker does.
    scene.socket.end()
    scene.clock.advanceWithoutTimers(9_800)
    expect(lock.held).to.equal(false)
    // Fires the overdue timer of the reconnect.
    scene.clock.advance(0)
    scene.socket.accept()
    scene.socket.newMessages()
    scene.socket.deliver(resumedWelcome, snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'ack', ids: [1] },
      { type: 'unlock', id: 2, fence: 7 },
    ])
    expect(scene.events).to.deep.equal(['jeopardy', 'lost session', 'resumed'])
  })

  it('does not repeat an unlock that the broker handled, and repeats an unlock that was lost', async () => {
    const scene = await openScriptedSessionWithGrace()
    const a = await acquireLock(scene, { key: 'a', fence: 7 })
    const b = await acquireLock(scene, { key: 'b', fence: 8 })
    const handledUnlock = a.unlock()
    const lostUnlock = b.unlock()
    await untilTurnEnds()
    const sent = await resumeSession(
      scene,
      { type: 'unlocked', id: 3 },
      snapshot({ held: [heldLock({ id: 2, fence: 8, key: 'b' })] }),
    )
    await handledUnlock
    expect(await stateOf(lostUnlock)).to.equal('pending')
    expect(sent.slice(1)).to.deep.equal([{ type: 'unlock', id: 4, fence: 8 }])
    scene.socket.deliver({ type: 'unlocked', id: 4 })
    await lostUnlock
    expect(scene.events).to.deep.equal(['jeopardy', 'resumed'])
  })

  it('sends the unlock that the caller requested during the outage', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    scene.socket.end()
    const unlocking = lock.unlock()
    expect([lock.held, await stateOf(unlocking)]).to.deep.equal([false, 'pending'])
    scene.clock.advance(50)
    scene.socket.accept()
    scene.socket.newMessages()
    scene.socket.deliver(resumedWelcome, snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'unlock', id: 2, fence: 7 })
    scene.socket.deliver({ type: 'unlocked', id: 2 })
    await unlocking
  })

  it('repeats a request with a new id if its refusal was lost and the broker refuses the old id', async () => {
    const scene = await openScriptedSessionWithGrace()
    const lock = await acquireLock(scene, { fence: 7 })
    const requesting = scene.session.lock('refused')
    const unlocking = lock.unlock()
    await untilTurnEnds()
    // The broker refused request 2 without storing the refusal, and the refusal was lost. So the
    // client repeats request 2. The broker refuses the repeat, because the newest id is 3 already.
    await resumeSession(scene, { type: 'unlocked', id: 3 }, snapshot())
    await unlocking
    scene.socket.deliver({ type: 'failed', id: 2, code: 'BAD_MESSAGE', message: '' })
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'lock', id: 4, key: 'refused' })
    scene.socket.deliver({ type: 'failed', id: 4, code: 'BAD_MESSAGE', message: '' })
    expect(await errorCodeOf(requesting)).to.equal('BAD_MESSAGE')
  })

  it('repeats a refresh, and uses the new ttl when the broker has answered', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k', { ttl: 5_000 })
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7, at: 50_000 })
    const lock = await requesting
    const refreshing = lock.refresh(9_000)
    await untilTurnEnds()
    scene.clock.advance(1_000)
    const sent = await resumeSession(
      scene,
      snapshot({ held: [{ ...heldLock({ id: 1, fence: 7 }), ttl: 5_000, at: 89_000 }] }),
    )
    expect(sent.slice(1)).to.deep.equal([{ type: 'refresh', id: 2, fence: 7, ttl: 9_000 }])
    scene.socket.deliver({ type: 'refreshed', id: 2 })
    await refreshing
    // With the former ttl of 5,000 ms, the lock would expire during this time.
    scene.clock.advance(4_999)
    expect(lock.held).to.equal(true)
  })
})
