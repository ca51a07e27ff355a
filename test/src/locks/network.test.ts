/**
 * Tests the cases in which the network makes `session.locks` differ from `navigator.locks` in a
 * browser: lost locks, ended sessions, and refusals by the broker. A fake socket stands for the
 * broker. A fence is the number of a grant. A ttl is how long a lock lasts, and the lease is how
 * long the broker keeps a silent session. The fences here are arbitrary. The time 50,000 of a grant
 * is the time of the `welcome`.
 */
import type { HeldLock, LockCallback, LockRequestOptions } from '@holdfast/client'
import { connectIn } from '@holdfast/client/internal'
import type { HoldfastError, LostReason } from '@holdfast/shared'
import { expect } from 'chai'
import {
  makeClientFakes,
  openScriptedSession,
  type ScriptedSession,
  untilTurnEnds,
  url,
  welcome,
} from '../support/scriptedSession.js'

interface RequestState {
  /** 'open' until the request settles, then the value or the error of the request. */
  outcome: unknown
  /** The lock that the callback received; undefined before the callback runs. */
  lock: HeldLock | null | undefined
}

/** Requests a lock. The callback runs until `end` settles; by default, `end` never settles. */
function requestLock(
  { session }: Pick<ScriptedSession, 'session'>,
  options: LockRequestOptions = {},
  end: Promise<unknown> = new Promise(() => {}),
): RequestState {
  const state: RequestState = { outcome: 'open', lock: undefined }
  const callback: LockCallback<unknown> = (lock) => {
    state.lock = lock
    return end
  }
  session.locks.request('a', options, callback).then(
    (value) => {
      state.outcome = value
    },
    (error) => {
      state.outcome = error
    },
  )
  return state
}

/** Checks that the outcome is an `AbortError` whose cause has these fields. */
function expectAbortError(outcome: unknown, cause: Partial<HoldfastError>): void {
  expect(outcome).to.be.instanceOf(DOMException).and.include({ name: 'AbortError' })
  expect((outcome as DOMException).cause).to.include(cause)
  expect((outcome as DOMException).message).not.to.equal('')
}

describe('session.locks over a network', () => {
  it('sends the options of a request, and gives the callback a lock with these options', async () => {
    const scene = await openScriptedSession()
    const metadata = { page: 7 }
    const request = requestLock(scene, { mode: 'shared', ttl: 5_000, metadata })
    requestLock(scene, { ifAvailable: true })
    requestLock(scene, { steal: true })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([
      { type: 'lock', id: 1, key: 'a', mode: 'shared', ttl: 5_000, metadata },
      { type: 'lock', id: 2, key: 'a', timeout: 0 },
      { type: 'lock', id: 3, key: 'a', steal: true },
    ])
    scene.socket.deliver({ type: 'granted', id: 1, fence: 9, at: 50_000 })
    await untilTurnEnds()
    const expected = { name: 'a', mode: 'shared', fence: 9, ttl: 5_000, metadata, held: true }
    expect(request.lock).to.include(expected)
  })

  it('settles a request when the broker has confirmed the unlock', async () => {
    const scene = await openScriptedSession()
    const request = requestLock(scene, {}, Promise.resolve('fine'))
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'unlock', id: 2, fence: 9 })
    expect(request.outcome).to.equal('open')
    scene.socket.deliver({ type: 'unlocked', id: 2 })
    await untilTurnEnds()
    expect(request.outcome).to.equal('fine')
  })

  it('rejects a request with the reason of the loss of its lock, and aborts the signal of the lock', async () => {
    const losses: [LostReason, LockRequestOptions, (scene: ScriptedSession) => void][] = [
      ['stolen', {}, ({ socket }) => socket.deliver({ type: 'lost', fence: 9, reason: 'stolen' })],
      ['expired', { ttl: 1_000 }, ({ clock }) => clock.advance(1_000)],
      // The grace is 0: the session ends with its connection.
      ['session', {}, ({ socket }) => socket.end()],
      // The lease of the session is 10 s.
      ['session', {}, ({ clock }) => clock.advance(10_000)],
      ['session', {}, ({ session }) => void session.close()],
    ]
    for (const [reason, options, lose] of losses) {
      const scene = await openScriptedSession()
      const request = requestLock(scene, options)
      await untilTurnEnds()
      scene.socket.deliver({ type: 'granted', id: 1, fence: 9, at: 50_000 })
      await untilTurnEnds()
      const { signal } = request.lock!
      lose(scene)
      expect(signal.aborted).to.equal(true)
      expect(request.lock!.held).to.equal(false)
      await untilTurnEnds()
      expectAbortError(request.outcome, { code: 'LOCK_LOST', reason })
      expect(signal.reason).to.equal((request.outcome as DOMException).cause)
    }
  })

  it('does not run a callback whose lock is lost already', async () => {
    const scene = await openScriptedSession()
    const request = requestLock(scene)
    await untilTurnEnds()
    scene.socket.deliver(
      { type: 'granted', id: 1, fence: 9 },
      { type: 'lost', fence: 9, reason: 'stolen' },
    )
    await untilTurnEnds()
    expect(request.lock).to.equal(undefined)
    expectAbortError(request.outcome, { code: 'LOCK_LOST', reason: 'stolen' })
  })

  it('does not run the callback if the request is aborted between the grant and the task that runs the callback', async () => {
    const { environment, network } = makeClientFakes()
    const tasks: (() => void)[] = []
    const newTask = (callback: () => void) => void tasks.push(callback)
    const connecting = connectIn(url, {}, { ...environment, newTask })
    await untilTurnEnds()
    network.lastSocket.accept()
    network.lastSocket.deliver(welcome())
    const session = await connecting
    // The first task emits the events that arrived with the welcome.
    tasks.shift()!()
    const controller = new AbortController()
    const request = requestLock({ session }, { signal: controller.signal })
    await untilTurnEnds()
    network.lastSocket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    expect(tasks).to.have.length(1)
    controller.abort('enough')
    tasks[0]!()
    await untilTurnEnds()
    expect(request).to.deep.equal({ outcome: 'enough', lock: undefined })
    expect(network.lastSocket.sent.at(-1)).to.deep.equal({ type: 'unlock', id: 2, fence: 9 })
  })

  it('unlocks a lock that the broker granted before the abort of the request arrived', async () => {
    const scene = await openScriptedSession()
    const controller = new AbortController()
    const request = requestLock(scene, { signal: controller.signal })
    await untilTurnEnds()
    controller.abort()
    await untilTurnEnds()
    expect(request.outcome).to.equal(controller.signal.reason)
    expect(scene.socket.newMessages().at(-1)).to.deep.equal({ type: 'cancel', request: 1 })
    scene.socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.equal([{ type: 'unlock', id: 2, fence: 9 }])
    expect(request.lock).to.equal(undefined)
  })

  it('rejects with an AbortError if the lock was lost before the unlock, unless the callback threw', async () => {
    const notHeld = { type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: 'no' }
    for (const thrown of [undefined, new Error('mine')]) {
      const settleCallback = () => (thrown ? Promise.reject(thrown) : 'fine')
      const scene = await openScriptedSession()
      // The callback ends two turns after the request, when the broker has granted the lock.
      const request = requestLock(
        scene,
        {},
        untilTurnEnds().then(untilTurnEnds).then(settleCallback),
      )
      await untilTurnEnds()
      scene.socket.deliver({ type: 'granted', id: 1, fence: 9 })
      await untilTurnEnds()
      await untilTurnEnds()
      scene.socket.deliver(notHeld)
      await untilTurnEnds()
      // If the broker no longer has the lock, the client reports the lock as stolen.
      if (thrown) expect(request.outcome).to.equal(thrown)
      else expectAbortError(request.outcome, { code: 'LOCK_LOST', reason: 'stolen' })
    }
  })

  it('reports maxHold as the reason if the unlock reaches the broker after maxHoldMs', async () => {
    // `maxHoldMs` is the longest time for which the session may hold a lock.
    const scene = await openScriptedSession({}, welcome({ lease: 60_000, maxHoldMs: 5_000 }))
    const request = requestLock(scene, {}, untilTurnEnds().then(untilTurnEnds))
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    await untilTurnEnds()
    scene.clock.advance(5_000)
    scene.socket.deliver({ type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: 'no' })
    await untilTurnEnds()
    expectAbortError(request.outcome, { code: 'LOCK_LOST', reason: 'maxHold' })
  })

  it('repeats waiting requests in a new session, but not the requests of lost locks', async () => {
    const scene = await openScriptedSession()
    const [heldRequest, waitingRequest] = [requestLock(scene), requestLock(scene)]
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 9 })
    await untilTurnEnds()
    scene.socket.end()
    await untilTurnEnds()
    expectAbortError(heldRequest.outcome, { code: 'LOCK_LOST', reason: 'session' })
    expect(waitingRequest.outcome).to.equal('open')
    // Longer than the delay before the client reconnects.
    scene.clock.advance(5_000)
    await untilTurnEnds()
    const socket = scene.network.lastSocket
    socket.accept()
    socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    // The first message is the hello.
    expect(socket.sent.slice(1)).to.deep.equal([{ type: 'lock', id: 2, key: 'a' }])
    socket.deliver({ type: 'granted', id: 2, fence: 12 })
    await untilTurnEnds()
    expect(waitingRequest.lock).to.include({ fence: 12, held: true })
  })

  it('rejects with the error of the broker, and with UNAVAILABLE for `ifAvailable` without a connection', async () => {
    const scene = await openScriptedSession()
    const request = requestLock(scene)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'failed', id: 1, code: 'QUOTA_EXCEEDED', message: 'no more' })
    await untilTurnEnds()
    expect(request.outcome).to.include({ name: 'HoldfastError', code: 'QUOTA_EXCEEDED' })
    scene.socket.end()
    const disconnectedRequest = requestLock(scene, { ifAvailable: true })
    await untilTurnEnds()
    // Runs the timers that are due now.
    scene.clock.advance(0)
    await untilTurnEnds()
    expect(disconnectedRequest.outcome).to.include({ name: 'HoldfastError', code: 'UNAVAILABLE' })
  })

  it('refuses wrong values of ttl and metadata with a TypeError, whose cause has a code', async () => {
    const scene = await openScriptedSession()
    const invalidOptions: [LockRequestOptions, string][] = [
      [{ ttl: 0 }, 'INVALID_TTL'],
      [{ ttl: 1.5 }, 'INVALID_TTL'],
      [{ metadata: 1n }, 'INVALID_OPTION'],
      // Metadata has at most 4 KiB.
      [{ metadata: 'x'.repeat(5_000) }, 'INVALID_OPTION'],
    ]
    for (const [options, code] of invalidOptions) {
      const { outcome } = await afterTurn(requestLock(scene, options))
      expect(outcome).to.be.instanceOf(TypeError)
      expect((outcome as TypeError).cause).to.include({ code })
    }
    expect(scene.socket.newMessages()).to.deep.equal([])
  })

  it('rejects waiting requests with AbortError when the session ends, and later requests with InvalidStateError', async () => {
    const scene = await openScriptedSession()
    const { session } = scene
    const waitingRequest = requestLock(scene)
    const queryOutcome = session.locks.query().catch((error: unknown) => error)
    await untilTurnEnds()
    void session.close()
    expectAbortError((await afterTurn(waitingRequest)).outcome, { code: 'SESSION_CLOSED' })
    expectAbortError(await queryOutcome, { code: 'SESSION_CLOSED' })
    const request = session.locks.request.bind(session.locks) as (...args: unknown[]) => unknown
    // `request` first checks the types of its arguments, then whether the session has ended, and
    // then the name (`-a` is forbidden) and the signal.
    const attempts: [unknown[], string][] = [
      [['a', () => {}], 'InvalidStateError'],
      [['-a', () => {}], 'InvalidStateError'],
      [['a', { signal: AbortSignal.abort('enough') }, () => {}], 'InvalidStateError'],
      [['a', { mode: 'wrong' }, () => {}], 'TypeError'],
      [['a'], 'TypeError'],
    ]
    for (const [args, name] of attempts) {
      const error = await Promise.resolve(request(...args)).catch((e: unknown) => e)
      expect(error).to.include({ name })
    }
    const error = (await session.locks.query().catch((e: unknown) => e)) as DOMException
    expect(error).to.include({ name: 'InvalidStateError' })
    expect(error.cause).to.include({ code: 'SESSION_CLOSED' })
  })
})

/** Resolves with the state after a turn of the event loop. */
async function afterTurn(state: RequestState): Promise<RequestState> {
  await untilTurnEnds()
  return state
}
