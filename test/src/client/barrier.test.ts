/**
 * Tests `session.barrier` against a scripted broker. Calls wait at a barrier until as many calls
 * wait as the barrier has parties; then the broker lets all of them pass. The tests check what the
 * client sends, when a call settles, and what becomes of a call whose connection or session is
 * lost. The grace is the time for which the broker keeps a session without a connection.
 */
import { HoldfastError } from '@holdfast/client'
import { expect } from 'chai'
import { openScriptedSessionWithGrace, resumeSession, snapshot } from '../support/resuming.js'
import {
  errorCodeOf,
  openScriptedSession,
  reconnect,
  stateOf,
  untilTurnEnds,
  welcome,
} from '../support/scriptedSession.js'

describe('session.barrier', () => {
  it('sends the call, and resolves when the broker lets it pass', async () => {
    const { session, socket } = await openScriptedSession()
    const passing = session.barrier('phase-2', { parties: 4 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'barrier', id: 1, key: 'phase-2', parties: 4 },
    ])
    expect(await stateOf(passing)).to.equal('pending')
    socket.deliver({ type: 'passed', id: 1 })
    expect(await passing).to.equal(undefined)
  })

  it('rejects with the number of parties that the other calls expect', async () => {
    const { session, socket } = await openScriptedSession()
    const passing = session.barrier('k', { parties: 4 })
    // Here `capacity` is the number of parties.
    socket.deliver({ type: 'failed', id: 1, code: 'CAPACITY_MISMATCH', message: 'm', capacity: 3 })
    const error: HoldfastError = await passing.then(undefined, (reason) => reason)
    expect(error).to.be.instanceOf(HoldfastError)
    expect(error).to.include({ code: 'CAPACITY_MISMATCH', capacity: 3, key: 'k' })
    expect(error.retryable).to.equal(false)
  })

  it('cancels the call when its signal is aborted', async () => {
    const { session, socket } = await openScriptedSession()
    const controller = new AbortController()
    const passing = session.barrier('k', { parties: 2, signal: controller.signal })
    await untilTurnEnds()
    // Discards the call, so that the next read has only later messages.
    socket.newMessages()
    controller.abort()
    expect(await errorCodeOf(passing)).to.equal('ABORTED')
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 1 }])
    // The last party arrived while the cancel was under way. The client must ignore the answer.
    socket.deliver({ type: 'passed', id: 1 })
    // The signal is aborted already, so the client sends nothing for the next call.
    expect(
      await errorCodeOf(session.barrier('k', { parties: 2, signal: controller.signal })),
    ).to.equal('ABORTED')
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('times out by itself if the broker does not answer in time', async () => {
    const { clock, session } = await openScriptedSession()
    const passing = session.barrier('k', { parties: 2, timeout: 1_000 })
    // The client waits 250 ms longer than the timeout for the answer of the broker.
    clock.advance(1_249)
    expect(await stateOf(passing)).to.equal('pending')
    clock.advance(1)
    expect(await errorCodeOf(passing)).to.equal('LOCK_TIMEOUT')
  })

  it('keeps a waiting call over a resume, and repeats a call that never arrived', async () => {
    const scene = await openScriptedSessionWithGrace()
    const first = scene.session.barrier('k', { parties: 2 })
    const second = scene.session.barrier('l', { parties: 2, timeout: 60_000 })
    await untilTurnEnds()
    // The broker received only the first call.
    const waitingIds = [1]
    const sent = await resumeSession(scene, snapshot({ waiting: waitingIds }))
    // The resume has taken 50 ms of the timeout.
    expect(sent).to.deep.include({
      type: 'barrier',
      id: 2,
      key: 'l',
      parties: 2,
      timeout: 59_950,
    })
    expect(sent).not.to.deep.include({ type: 'barrier', id: 1, key: 'k', parties: 2 })
    scene.socket.deliver({ type: 'passed', id: 1 }, { type: 'passed', id: 2 })
    await Promise.all([first, second])
  })

  it('rejects a sent call when its session is lost, because the broker may have counted the call', async () => {
    const scene = await openScriptedSession()
    const sent = scene.session.barrier('k', { parties: 2 })
    await untilTurnEnds()
    const reconnected = reconnect(scene)
    expect(await errorCodeOf(sent)).to.equal('SESSION_EXPIRED')
    // This call begins between the two sessions, so the client sends the call in the new session.
    const unsent = scene.session.barrier('k', { parties: 2 })
    await reconnected
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.include({
      type: 'barrier',
      id: 2,
      key: 'k',
      parties: 2,
    })
    scene.socket.deliver({ type: 'passed', id: 2 })
    await unsent
  })

  it('rejects with SESSION_CLOSED when the session is closed', async () => {
    const { session } = await openScriptedSession()
    const passing = session.barrier('k', { parties: 2 })
    void session.close()
    expect(await errorCodeOf(passing)).to.equal('SESSION_CLOSED')
  })

  const badCalls: readonly (readonly [key: unknown, options: unknown, code: string])[] = [
    ['', { parties: 2 }, 'INVALID_KEY'],
    [7, { parties: 2 }, 'INVALID_KEY'],
    ['k', undefined, 'INVALID_OPTION'],
    ['k', {}, 'INVALID_OPTION'],
    // None of these is an integer from 2 to 1,000.
    ...[1, 0, -1, 2.5, 1_001, '2', null, Number.NaN].map(
      (parties) => ['k', { parties }, 'INVALID_OPTION'] as const,
    ),
    ['k', { parties: 2, timeout: -1 }, 'INVALID_TIMEOUT'],
    ['k', { parties: 2, timeout: '5' }, 'INVALID_TIMEOUT'],
    ['k', { parties: 2, signal: {} }, 'INVALID_OPTION'],
    ['k', { parties: 2, ttl: 5 }, 'INVALID_OPTION'],
  ]
  for (const [key, options, code] of badCalls) {
    it(`refuses ${JSON.stringify(key)}, ${JSON.stringify(options)} with ${code}, and sends nothing`, async () => {
      const { session, socket } = await openScriptedSession()
      const call = session.barrier(key as string, options as { parties: number })
      expect(await errorCodeOf(call)).to.equal(code)
      expect(socket.newMessages()).to.deep.equal([])
    })
  }
})
