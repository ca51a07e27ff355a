/**
 * Tests `lock.upgrade` and `lock.downgrade` against a scripted broker: what the client sends, when
 * a call settles, and what happens when an abort crosses the grant. A fence is the number of a
 * grant. A scope is one logical task of a session. The calls of a scope run one after the other.
 * A session with a grace survives the end of its connection: the client resumes the session on a
 * new connection.
 */
import { expect } from 'chai'
import { openScriptedSessionWithGrace, resumeSession, snapshot } from '../support/resuming.js'
import { errorCodeOf, openScriptedSession, untilTurnEnds } from '../support/scriptedSession.js'

/** Opens a session that holds a shared lock with the fence 5. */
async function sharedLock() {
  const scene = await openScriptedSession()
  const requesting = scene.session.lock('k', { mode: 'shared' })
  await untilTurnEnds()
  scene.socket.newMessages()
  scene.socket.deliver({ type: 'granted', id: 1, fence: 5 })
  return { ...scene, lock: await requesting }
}

describe('lock.upgrade and lock.downgrade', () => {
  it('refer to the lock by its first fence, also after an upgrade', async () => {
    const { socket, lock } = await sharedLock()
    const upgrading = lock.upgrade({ timeout: 700 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([{ type: 'upgrade', id: 2, fence: 5, timeout: 700 }])
    socket.deliver({ type: 'granted', id: 2, fence: 9 })
    await upgrading
    expect([lock.mode, lock.fence]).to.deep.equal(['exclusive', 9])
    const downgrading = lock.downgrade()
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include.members([{ type: 'downgrade', id: 3, fence: 5 }])
    socket.deliver({ type: 'downgraded', id: 3 })
    await downgrading
    expect([lock.mode, lock.fence]).to.deep.equal(['shared', 9])
    void lock.unlock()
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include.members([{ type: 'unlock', id: 4, fence: 5 }])
  })

  it('downgrade the lock if an abort crosses the grant of an upgrade', async () => {
    const { socket, lock } = await sharedLock()
    const controller = new AbortController()
    const upgrading = lock.upgrade({ signal: controller.signal })
    await untilTurnEnds()
    controller.abort()
    expect(await errorCodeOf(upgrading)).to.equal('ABORTED')
    socket.newMessages()
    socket.deliver({ type: 'granted', id: 2, fence: 9 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include.members([{ type: 'downgrade', id: 3, fence: 5 }])
    expect([lock.mode, lock.fence, lock.held]).to.deep.equal(['shared', 9, true])
  })

  it('downgrade the lock once if the aborts of two upgrades cross their answers', async () => {
    const { socket, lock } = await sharedLock()
    for (let i = 0; i < 2; i++) {
      const controller = new AbortController()
      const outcome = errorCodeOf(lock.upgrade({ signal: controller.signal }))
      await untilTurnEnds()
      controller.abort()
      expect(await outcome).to.equal('ABORTED')
    }
    socket.newMessages()
    socket.deliver({ type: 'granted', id: 2, fence: 9 })
    // The upgrade of a lock that is exclusive already leaves the fence unchanged.
    socket.deliver({ type: 'granted', id: 3, fence: 9 })
    await untilTurnEnds()
    const sent = socket.newMessages().map(({ type }) => type)
    expect(sent.filter((type) => type === 'downgrade')).to.have.length(1)
    expect([lock.mode, lock.fence]).to.deep.equal(['shared', 9])
  })

  it('are refused while the caller of an earlier upgrade waits', async () => {
    const { socket, lock } = await sharedLock()
    const controller = new AbortController()
    const firstUpgrading = errorCodeOf(lock.upgrade({ signal: controller.signal }))
    await untilTurnEnds()
    for (const call of [lock.upgrade(), lock.downgrade()])
      expect(await errorCodeOf(call)).to.equal('INVALID_OPTION')
    controller.abort()
    expect(await firstUpgrading).to.equal('ABORTED')
    void lock.upgrade()
    await untilTurnEnds()
    expect(socket.newMessages().map(({ type }) => type)).to.deep.equal([
      'upgrade',
      'cancel',
      'upgrade',
    ])
  })

  it('make the lock exclusive if the caller aborts an upgrade and upgrades again before the grant', async () => {
    const { socket, lock } = await sharedLock()
    const controller = new AbortController()
    const firstUpgrading = lock.upgrade({ signal: controller.signal })
    await untilTurnEnds()
    controller.abort()
    expect(await errorCodeOf(firstUpgrading)).to.equal('ABORTED')
    const secondUpgrading = lock.upgrade()
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'granted', id: 2, fence: 9 })
    socket.deliver({ type: 'granted', id: 3, fence: 9 })
    await secondUpgrading
    expect(socket.newMessages().map(({ type }) => type)).to.not.include('downgrade')
    expect([lock.mode, lock.fence]).to.deep.equal(['exclusive', 9])
  })

  it('downgrade the lock for an aborted upgrade only when the next upgrade is aborted or refused', async () => {
    for (const isRefused of [true, false]) {
      const { socket, lock } = await sharedLock()
      const controllers = [new AbortController(), new AbortController()]
      const outcomes = [errorCodeOf(lock.upgrade({ signal: controllers[0]!.signal }))]
      await untilTurnEnds()
      controllers[0]!.abort()
      outcomes.push(errorCodeOf(lock.upgrade({ signal: controllers[1]!.signal })))
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 2, fence: 9 })
      await untilTurnEnds()
      expect(socket.newMessages().map(({ type }) => type)).to.not.include('downgrade')
      if (isRefused) socket.deliver({ type: 'failed', id: 3, code: 'FORBIDDEN', message: 'no' })
      else controllers[1]!.abort()
      expect(await Promise.all(outcomes)).to.deep.equal([
        'ABORTED',
        isRefused ? 'FORBIDDEN' : 'ABORTED',
      ])
      await untilTurnEnds()
      expect(socket.newMessages()).to.deep.include.members([{ type: 'downgrade', id: 4, fence: 5 }])
      expect(lock.mode).to.equal('shared')
    }
  })

  it('restart neither the ttl nor maxHold', async () => {
    for (const [limit, reason] of [
      [{ ttl: 1_000 }, 'expired'],
      [{ maxHold: 1_000 }, 'maxHold'],
    ] as const) {
      const { session, socket, clock } = await openScriptedSession()
      const requesting = session.lock('k', { mode: 'shared', ...limit })
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 1, fence: 5 })
      const lock = await requesting
      clock.advance(600)
      const upgrading = lock.upgrade()
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 2, fence: 9 })
      await upgrading
      // The limit counts from the first grant: the lock is held after 900 ms, and not after
      // 1,000 ms.
      clock.advance(300)
      expect(lock.held).to.equal(true)
      clock.advance(100)
      expect([lock.held, lock.lost?.reason]).to.deep.equal([false, reason])
    }
  })

  it('time out at the client if the broker does not answer in time', async () => {
    const { clock, lock, socket } = await sharedLock()
    const upgrading = lock.upgrade({ timeout: 1_000 })
    await untilTurnEnds()
    socket.newMessages()
    // The client waits 250 ms longer than the timeout for the answer of the broker.
    clock.advance(1_250)
    expect(await errorCodeOf(upgrading)).to.equal('LOCK_TIMEOUT')
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 2 }])
  })

  it('cancel the upgrade at the broker when the client ends the lock before the broker does', async () => {
    const scene = await openScriptedSession()
    const requesting = scene.session.lock('k', { mode: 'shared', maxHold: 1_000 })
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 5 })
    const outcome = errorCodeOf((await requesting).upgrade())
    await untilTurnEnds()
    scene.socket.newMessages()
    scene.clock.advance(1_100)
    expect(await outcome).to.equal('LOCK_NOT_HELD')
    expect(scene.socket.newMessages()).to.deep.include.members([{ type: 'cancel', request: 2 }])
  })

  it('obey the signal and the timeout in a scope while an earlier call of the scope waits', async () => {
    const { session, socket, clock } = await openScriptedSession()
    await session.scope(async (scope) => {
      const requesting = scope.lock('k', { mode: 'shared' })
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 1, fence: 5 })
      const lock = await requesting
      const earlierCall = errorCodeOf(scope.lock('l'))
      const controller = new AbortController()
      // Neither upgrade is refused, because both still wait for the earlier call of the scope.
      const aborted = errorCodeOf(lock.upgrade({ signal: controller.signal }))
      const timedOut = errorCodeOf(lock.upgrade({ timeout: 100 }))
      await untilTurnEnds()
      controller.abort()
      expect(await aborted).to.equal('ABORTED')
      clock.advance(1_000)
      expect(await timedOut).to.equal('LOCK_TIMEOUT')
      expect(socket.newMessages().map(({ type }) => type)).to.not.include('upgrade')
      // Any failure of the earlier call lets the scope go on.
      socket.deliver({ type: 'failed', id: 2, code: 'DEADLOCK', message: '' })
      expect(await earlierCall).to.equal('DEADLOCK')
      // Answers the `endScope` message, request 3, which follows the callback of the scope.
      setImmediate(() => socket.deliver({ type: 'scopeEnded', id: 3 }))
    })
  })

  it('reject in a scope if the lock is lost while an earlier call of the scope waits', async () => {
    const { session, socket } = await openScriptedSession()
    await session.scope(async (scope) => {
      const requesting = scope.lock('k', { mode: 'shared' })
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 1, fence: 5 })
      const lock = await requesting
      const earlierCall = errorCodeOf(scope.lock('l'))
      const upgrading = errorCodeOf(lock.upgrade())
      await untilTurnEnds()
      socket.deliver({ type: 'lost', fence: 5, reason: 'stolen' })
      // Any failure of the earlier call lets the scope go on.
      socket.deliver({ type: 'failed', id: 2, code: 'DEADLOCK', message: '' })
      expect(await earlierCall).to.equal('DEADLOCK')
      expect(await upgrading).to.equal('LOCK_NOT_HELD')
      expect(socket.newMessages().map(({ type }) => type)).to.not.include('upgrade')
      // Answers the `endScope` message, request 3, which follows the callback of the scope.
      setImmediate(() => socket.deliver({ type: 'scopeEnded', id: 3 }))
    })
  })

  it('reject when the lock is lost', async () => {
    const { socket, lock } = await sharedLock()
    const upgrading = lock.upgrade()
    await untilTurnEnds()
    socket.deliver({ type: 'lost', fence: 5, reason: 'stolen' })
    expect(await errorCodeOf(upgrading)).to.equal('LOCK_NOT_HELD')
    expect(await errorCodeOf(lock.downgrade())).to.equal('LOCK_NOT_HELD')
  })

  it('keep the lock shared if a resume brings the grant of an upgrade that the caller had aborted', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k', { mode: 'shared' })
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 5 })
    const lock = await requesting
    const controller = new AbortController()
    const outcome = errorCodeOf(lock.upgrade({ signal: controller.signal }))
    await untilTurnEnds()
    controller.abort()
    expect(await outcome).to.equal('ABORTED')
    // The broker repeats the grant, and then sends a snapshot of the locks. There `fence` is the
    // first fence of a lock, and `presentFence` is its newest fence.
    const item = { id: 1, key: 'k', mode: 'exclusive', fence: 5, presentFence: 9 }
    await resumeSession(scene, { type: 'granted', id: 2, fence: 9 }, snapshot({ held: [item] }))
    expect([lock.mode, lock.fence, lock.held]).to.deep.equal(['shared', 9, true])
  })

  it('make the lock exclusive, with the new fence, if the broker repeats the grant after a resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    const requesting = scene.session.lock('k', { mode: 'shared' })
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 5 })
    const lock = await requesting
    const upgrading = lock.upgrade()
    await untilTurnEnds()
    const item = { id: 1, key: 'k', mode: 'exclusive', fence: 5, presentFence: 9 }
    await resumeSession(scene, { type: 'granted', id: 2, fence: 9 }, snapshot({ held: [item] }))
    await upgrading
    expect([lock.mode, lock.fence, lock.held]).to.deep.equal(['exclusive', 9, true])
  })
})
