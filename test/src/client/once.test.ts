/**
 * Tests `session.once` against a scripted broker: what the client sends, and which value each
 * caller gets. Also tests a function that throws, a value that cannot be sent, and a lost lock. The
 * message `complete` sends the value and unlocks; `keep` is how long the broker stores the value,
 * in ms. The grace is the time for which the broker keeps a session without a connection.
 */
import type { HoldfastError, OnceOptions, Run } from '@holdfast/client'
import { expect } from 'chai'
import {
  heldLock,
  openScriptedSessionWithGrace,
  resumeSession,
  snapshot,
} from '../support/resuming.js'
import {
  errorCodeOf,
  openScriptedSession,
  reconnect,
  stateOf,
  untilTurnEnds,
  welcome,
} from '../support/scriptedSession.js'

/** Returns a function, the list of its runs, and the functions that resolve or reject all runs. */
function controlledRun<T>() {
  const runs: Run[] = []
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const ended = new Promise<T>((...callbacks) => {
    ;[resolve, reject] = callbacks
  })
  const run = (details: Run) => {
    runs.push(details)
    return ended
  }
  return { run, runs, resolve, reject }
}

describe('session.once', () => {
  it('runs the function under the granted lock, sends its value, and returns the value', async () => {
    const { session, socket } = await openScriptedSession()
    const { run, runs, resolve } = controlledRun<unknown>()
    const calling = session.once('k', run, { keep: 60_000, timeout: 500, metadata: { job: 1 } })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([
      { type: 'once', id: 1, key: 'k', timeout: 500, metadata: { job: 1 } },
    ])
    expect(runs).to.deep.equal([])
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    expect(runs.map(({ fence }) => fence)).to.deep.equal([7])
    resolve({ rows: 3 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include({
      type: 'complete',
      id: 2,
      fence: 7,
      value: { rows: 3 },
      keep: 60_000,
    })
    expect(await stateOf(calling)).to.equal('pending')
    socket.deliver({ type: 'unlocked', id: 2 })
    expect(await calling).to.deep.equal({ rows: 3 })
  })

  it('returns the value of another run and does not run the function', async () => {
    const { session, socket } = await openScriptedSession()
    const { run, runs } = controlledRun()
    const calling = session.once('k', run)
    const callingWithoutValue = session.once('l', run)
    await untilTurnEnds()
    socket.deliver(
      { type: 'result', id: 1, fence: 7, value: [1] },
      { type: 'result', id: 2, fence: 8 },
    )
    expect(await calling).to.deep.equal([1])
    expect(await callingWithoutValue).to.equal(undefined)
    expect(runs).to.deep.equal([])
  })

  it('sends no value if the function returns undefined', async () => {
    const { session, socket } = await openScriptedSession()
    const calling = session.once('k', () => undefined)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include({ type: 'complete', id: 2, fence: 7 })
    socket.deliver({ type: 'unlocked', id: 2 })
    expect(await calling).to.equal(undefined)
  })

  it('unlocks and rejects with the error that the function throws', async () => {
    for (const run of [
      () => {
        throw new RangeError('no')
      },
      async () => Promise.reject(new RangeError('no')),
    ]) {
      const { session, socket } = await openScriptedSession()
      const calling = session.once('k', run)
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 1, fence: 7 })
      await untilTurnEnds()
      expect(socket.newMessages()).to.deep.include({ type: 'unlock', id: 2, fence: 7 })
      socket.deliver({ type: 'unlocked', id: 2 })
      const error: Error = await calling.then(undefined, (reason) => reason)
      expect(error).to.be.instanceOf(RangeError)
    }
  })

  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  const badValues: readonly (readonly [string, unknown])[] = [
    ['a BigInt', 1n],
    ['a cycle', cyclic],
    ['a function', () => {}],
    ['a symbol', Symbol('s')],
    ['200 kB', 'v'.repeat(200_000)],
    // The limit is 32 KiB of JSON. The two quotes count.
    ['32 KiB and a byte', 'v'.repeat(32 * 1024 - 1)],
    [
      'an object whose toJSON throws',
      {
        toJSON() {
          throw new Error('no')
        },
      },
    ],
  ]
  for (const [name, badValue] of badValues) {
    it(`unlocks and rejects with INVALID_OPTION if the value is ${name}`, async () => {
      const { session, socket } = await openScriptedSession()
      const calling = session.once('k', () => badValue)
      await untilTurnEnds()
      socket.deliver({ type: 'granted', id: 1, fence: 7 })
      await untilTurnEnds()
      expect(socket.newMessages()).to.deep.include({ type: 'unlock', id: 2, fence: 7 })
      socket.deliver({ type: 'unlocked', id: 2 })
      expect(await errorCodeOf(calling)).to.equal('INVALID_OPTION')
    })
  }

  it('unlocks if the broker refuses the value', async () => {
    const { session, socket } = await openScriptedSession()
    const calling = session.once('k', () => 1)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'failed', id: 2, code: 'BAD_MESSAGE', message: 'nested too deep' })
    expect(await errorCodeOf(calling)).to.equal('BAD_MESSAGE')
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.include({ type: 'unlock', id: 3, fence: 7 })
  })

  it('rejects immediately when the lock is lost, and aborts the signal of the run', async () => {
    const { session, socket } = await openScriptedSession()
    const { run, runs, resolve } = controlledRun()
    const calling = session.once('k', run)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    socket.newMessages()
    socket.deliver({ type: 'lost', fence: 7, reason: 'stolen' })
    const error: HoldfastError = await calling.then(undefined, (reason) => reason)
    expect(error).to.include({ code: 'LOCK_LOST', reason: 'stolen', key: 'k' })
    expect(runs[0]!.signal.reason).to.equal(error)
    // The run ends after the loss, so the client sends neither its value nor an unlock.
    resolve(undefined)
    await untilTurnEnds()
    expect(socket.newMessages()).to.deep.equal([])
  })

  it('rejects with LOCK_LOST if the lock was lost before the broker got the value', async () => {
    const { session, socket } = await openScriptedSession()
    const calling = session.once('k', () => 1)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    socket.deliver({ type: 'failed', id: 2, code: 'LOCK_NOT_HELD', message: 'm' })
    expect(await errorCodeOf(calling)).to.equal('LOCK_LOST')
  })

  it('rejects a running call and a waiting call when the session is closed', async () => {
    const { session, socket } = await openScriptedSession()
    const { run, runs } = controlledRun()
    const running = session.once('k', run)
    await untilTurnEnds()
    socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    const waiting = session.once('l', run)
    void session.close()
    expect(await errorCodeOf(running)).to.equal('SESSION_CLOSED')
    expect(await errorCodeOf(waiting)).to.equal('SESSION_CLOSED')
    expect(runs).to.have.lengthOf(1)
  })

  it('rejects a running call when the session is lost, and sends a waiting call again', async () => {
    const scene = await openScriptedSession()
    const { run } = controlledRun()
    const running = scene.session.once('k', run)
    const waiting = scene.session.once('l', run)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    const outcome = errorCodeOf(running)
    await reconnect(scene)
    expect(await outcome).to.equal('LOCK_LOST')
    scene.socket.deliver(welcome({ session: 's2' }))
    await untilTurnEnds()
    expect(scene.socket.newMessages()).to.deep.include({ type: 'once', id: 2, key: 'l' })
    scene.socket.deliver({ type: 'result', id: 2, fence: 9, value: 'v' })
    expect(await waiting).to.equal('v')
  })

  it('sends a completion again after a resume', async () => {
    const scene = await openScriptedSessionWithGrace()
    const calling = scene.session.once('k', () => 5)
    await untilTurnEnds()
    scene.socket.deliver({ type: 'granted', id: 1, fence: 7 })
    await untilTurnEnds()
    const sent = await resumeSession(scene, snapshot({ held: [heldLock({ id: 1, fence: 7 })] }))
    expect(sent).to.deep.include({ type: 'complete', id: 2, fence: 7, value: 5 })
    // `complete` also unlocks, so the client sends no `unlock`.
    expect(sent).not.to.deep.include({ type: 'unlock', id: 3, fence: 7 })
    scene.socket.deliver({ type: 'unlocked', id: 2 })
    expect(await calling).to.equal(5)
  })

  it('resolves with a result that the broker stored while the connection was gone', async () => {
    const scene = await openScriptedSessionWithGrace()
    const { run, runs } = controlledRun()
    const calling = scene.session.once('k', run)
    await untilTurnEnds()
    await resumeSession(scene, { type: 'result', id: 1, fence: 7, value: 'v' }, snapshot())
    expect(await calling).to.equal('v')
    expect(runs).to.deep.equal([])
  })

  it('cancels a waiting call when its signal is aborted, and ignores a late result', async () => {
    const { session, socket } = await openScriptedSession()
    const controller = new AbortController()
    const { run, runs } = controlledRun()
    const calling = session.once('k', run, { signal: controller.signal })
    await untilTurnEnds()
    socket.newMessages()
    controller.abort()
    expect(await errorCodeOf(calling)).to.equal('ABORTED')
    expect(socket.newMessages()).to.deep.equal([{ type: 'cancel', request: 1 }])
    socket.deliver({ type: 'result', id: 1, fence: 7, value: 1 })
    expect(runs).to.deep.equal([])
  })

  it('adds an event listener if the first argument is the name of an event and no options follow', async () => {
    const { session, socket } = await openScriptedSession()
    const closedEvents: unknown[] = []
    expect(session.once('closed', () => closedEvents.push('closed'))).to.equal(session)
    // With options, `closed` is a key.
    const calling = session.once('closed', () => 1, {})
    await untilTurnEnds()
    socket.deliver({ type: 'result', id: 1, fence: 7, value: 2 })
    expect(await calling).to.equal(2)
    expect(closedEvents).to.deep.equal([])
  })

  const badCalls: readonly (readonly [unknown, unknown, unknown, string])[] = [
    ['', () => 1, {}, 'INVALID_KEY'],
    [7, () => 1, {}, 'INVALID_KEY'],
    ['k', undefined, {}, 'INVALID_OPTION'],
    ['k', () => 1, { keep: 0 }, 'INVALID_OPTION'],
    ['k', () => 1, { keep: -1 }, 'INVALID_OPTION'],
    ['k', () => 1, { keep: '1m' }, 'INVALID_OPTION'],
    ['k', () => 1, { keep: 2 ** 31 }, 'INVALID_OPTION'],
    ['k', () => 1, { timeout: -1 }, 'INVALID_TIMEOUT'],
    ['k', () => 1, { ttl: 0 }, 'INVALID_TTL'],
    ['k', () => 1, { mode: 'shared' }, 'INVALID_OPTION'],
    ['k', () => 1, { steal: true }, 'INVALID_OPTION'],
    ['k', () => 1, { signal: {} }, 'INVALID_OPTION'],
  ]
  for (const [key, run, options, code] of badCalls) {
    it(`refuses ${JSON.stringify(key)}, ${typeof run}, ${JSON.stringify(options)} with ${code}`, async () => {
      const { session, socket } = await openScriptedSession()
      const call = session.once(key as string, run as () => unknown, options as OnceOptions)
      expect(await errorCodeOf(call)).to.equal(code)
      expect(socket.newMessages()).to.deep.equal([])
    })
  }
})
