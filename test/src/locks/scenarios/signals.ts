/**
 * Scenarios about the option `signal`, which cancels a waiting request, but does not release a held
 * lock. `a`, `0` and so on are the labels of requests; `x` and `y` are names of locks. Requests
 * with `script.otherLocks` may come from another session.
 */
import type { Scenario } from './scenario.js'

const abortedBeforeRequest: Scenario = {
  title:
    'a request with an aborted signal rejects with the reason of the signal, whatever its type',
  async run(script) {
    const name = `${script.prefix}x`
    const mustNotRun = () => script.record('THE CALLBACK RAN')
    const customError = new Error('mine')
    for (const reason of [
      undefined,
      customError,
      'text',
      0,
      null,
      false,
      new DOMException('', 'DataError'),
    ]) {
      const signal = AbortSignal.abort(reason)
      await script.recordOutcome('a', script.locks.request(name, { signal }, mustNotRun))
    }
    const signal = AbortSignal.abort(customError)
    const caught = await script.locks.request(name, { signal }, mustNotRun).catch((error) => error)
    script.record(`the very reason: ${caught === customError}`)
    await script.untilQuiet()
    await script.recordState()
  },
  log: [
    'a: failed DOMException AbortError',
    ...['Error mine', 'text', '0', 'null', 'false', 'DOMException DataError'].map(
      (reason) => `a: failed ${reason}`,
    ),
    'the very reason: true',
    'held: nothing; pending: nothing',
  ],
}

const abortedWhileWaiting: Scenario = {
  title: 'an aborted request leaves the queue, and the requests behind it move up',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.request('a', 'x', shared)
    const b = script.request('b', 'x', { abortable: true })
    await script.untilQuiet()
    const c = script.request('c', 'x', { ...shared, abortable: true, locks: script.otherLocks })
    const d = script.request('d', 'x', { abortable: true, locks: script.otherLocks })
    await script.untilQuiet()
    await script.recordState()
    b.abort()
    await script.untilQuiet()
    await script.recordState()
    d.abort('enough')
    await script.untilQuiet()
    // A second abort has no effect.
    d.abort('again')
    for (const request of [a, c]) request.release()
    await script.untilQuiet()
    await script.recordState()
  },
  log: [
    'a: granted',
    'held: x shared; pending: x exclusive, x shared, x exclusive',
    ...['b: failed DOMException AbortError', 'c: granted'],
    'held: x shared, x shared; pending: x exclusive',
    ...['d: failed enough', 'a: done undefined', 'c: done undefined'],
    'held: nothing; pending: nothing',
  ],
  chromium: {
    why: 'Chromium checks the queue when a lock is released, but not when a request is aborted',
    log: [
      'a: granted',
      'held: x shared; pending: x exclusive, x shared, x exclusive',
      'b: failed DOMException AbortError',
      'held: x shared; pending: x shared, x exclusive',
      ...['d: failed enough', 'a: done undefined', 'c: granted', 'c: done undefined'],
      'held: nothing; pending: nothing',
    ],
  },
}

const abortedInSameTask: Scenario = {
  title: 'an abort in the same task as the request rejects the request, although the lock is free',
  async run(script) {
    const a = script.request('a', 'x', { abortable: true })
    const b = script.request('b', 'x')
    a.abort()
    await script.untilQuiet()
    b.release()
    await script.untilQuiet()
    await script.recordState()
  },
  log: [
    ...['a: failed DOMException AbortError', 'b: granted', 'b: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const abortedAfterGrant: Scenario = {
  title: 'an abort after the callback has begun changes nothing',
  async run(script) {
    const a = script.request('a', 'x', { abortable: true })
    await script.untilQuiet()
    a.abort()
    await script.untilQuiet()
    await script.recordState()
    a.release('fine')
    await script.untilQuiet()
    const b = script.request('b', 'x', { abortable: true })
    await script.untilQuiet()
    // `release` ends the callback, but the request settles later. The first abort of `b` comes
    // before the request has settled, and the second abort of `b` comes afterwards.
    b.release('fine')
    b.abort()
    await script.untilQuiet()
    b.abort()
    const controller = new AbortController()
    const abortsItself = script.locks.request(
      `${script.prefix}x`,
      { signal: controller.signal },
      async () => {
        controller.abort('inside')
        return 'fine'
      },
    )
    await script.recordOutcome('c', abortsItself)
    await script.recordState()
  },
  log: [
    'a: granted',
    'held: x exclusive; pending: nothing',
    ...['a: done fine', 'b: granted', 'b: done fine', 'c: done fine'],
    'held: nothing; pending: nothing',
  ],
}

const oneSignalForMany: Scenario = {
  title: 'one signal aborts many waiting requests, in the order of the requests',
  async run(script) {
    const { locks, prefix } = script
    const holderOfX = script.request('holder of x', 'x')
    const holderOfY = script.request('holder of y', 'y')
    await script.untilQuiet()
    const controller = new AbortController()
    const { signal } = controller
    const mustNotRun = () => script.record('THE CALLBACK RAN')
    const outcomes = ['x', 'y', 'x'].map((name, i) =>
      script.recordOutcome(`${i}`, locks.request(prefix + name, { signal }, mustNotRun)),
    )
    await script.untilQuiet()
    controller.abort(new DOMException('', 'TimeoutError'))
    await Promise.all(outcomes)
    await script.untilQuiet()
    await script.recordState()
    holderOfX.release()
    await script.untilQuiet()
    holderOfY.release()
    await script.untilQuiet()
  },
  log: [
    ...['holder of x: granted', 'holder of y: granted'],
    ...['0', '1', '2'].map((label) => `${label}: failed DOMException TimeoutError`),
    'held: x exclusive, y exclusive; pending: nothing',
    ...['holder of x: done undefined', 'holder of y: done undefined'],
  ],
}

const neverAborted: Scenario = {
  title: 'a signal that is never aborted changes nothing',
  async run(script) {
    const a = script.request('a', 'x', { abortable: true })
    const b = script.request('b', 'x', { abortable: true })
    await script.untilQuiet()
    a.release(1)
    await script.untilQuiet()
    b.fail(new Error('mine'))
    await script.untilQuiet()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: failed Error mine'],
}

export const signalScenarios: readonly Scenario[] = [
  abortedBeforeRequest,
  abortedWhileWaiting,
  abortedInSameTask,
  abortedAfterGrant,
  oneSignalForMany,
  neverAborted,
]
