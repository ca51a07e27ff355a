/**
 * Scenarios about grants: their order in the queue, the modes, `ifAvailable`, and the argument of
 * the callback. `a`, `b` and so on are the labels of requests; `x` and `y` are names of locks.
 */
import { untilNextTask } from '../script.js'
import type { Scenario } from './scenario.js'

/** For each way to end a callback, how the request then settles. */
const settledLines = [
  'value: done 7',
  'nothing: done undefined',
  'promise: done later',
  'thenable: done then',
  'throws: failed Error mine',
  'rejects: failed Error mine',
  'throws text: failed text',
  'rejects without a reason: failed undefined',
  'throws a thenable: failed thenable',
]

const fifo: Scenario = {
  title: 'exclusive requests are granted one after the other, in the order of the requests',
  async run(script) {
    const a = script.request('a', 'x')
    await script.untilQuiet()
    const b = script.request('b', 'x', { locks: script.otherLocks })
    await script.untilQuiet()
    const c = script.request('c', 'x')
    await script.untilQuiet()
    a.release(1)
    await script.untilQuiet()
    b.release(2)
    await script.untilQuiet()
    c.release(3)
    await script.untilQuiet()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: done 2', 'c: granted', 'c: done 3'],
}

const shared: Scenario = {
  title: 'shared requests hold a lock together, and an exclusive request waits for all of them',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.request('a', 'x', shared)
    const b = script.request('b', 'x', shared)
    await script.untilQuiet()
    const c = script.request('c', 'x')
    await script.untilQuiet()
    a.release()
    await script.untilQuiet()
    script.record('one left')
    b.release()
    await script.untilQuiet()
    c.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'b: granted', 'a: done undefined', 'one left', 'b: done undefined'],
    ...['c: granted', 'c: done undefined'],
  ],
}

const fairness: Scenario = {
  title:
    'a shared request waits behind a waiting exclusive request, although only shared locks are held',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.request('a', 'x', shared)
    await script.untilQuiet()
    const b = script.request('b', 'x', { locks: script.otherLocks })
    await script.untilQuiet()
    const c = script.request('c', 'x', shared)
    const d = script.request('d', 'x', shared)
    await script.untilQuiet()
    const e = script.request('e', 'x', { locks: script.otherLocks })
    await script.untilQuiet()
    await script.recordState()
    a.release()
    await script.untilQuiet()
    b.release()
    await script.untilQuiet()
    d.release()
    await script.untilQuiet()
    script.record('c still holds')
    c.release()
    await script.untilQuiet()
    e.release()
    await script.untilQuiet()
  },
  log: [
    'a: granted',
    'held: x shared; pending: x exclusive, x shared, x shared, x exclusive',
    ...['a: done undefined', 'b: granted', 'b: done undefined', 'c: granted', 'd: granted'],
    ...['d: done undefined', 'c still holds', 'c: done undefined', 'e: granted'],
    'e: done undefined',
  ],
}

const independent: Scenario = {
  title:
    'locks of different names are independent, and a client gets no second lock of a name that it holds',
  async run(script) {
    const a = script.request('a', 'x')
    const b = script.request('b', 'y')
    await script.untilQuiet()
    const c = script.request('c', 'x')
    await script.untilQuiet()
    const name = `${script.prefix}x`
    // A request from inside a callback also gets no second lock.
    const nestedResult = await script.locks.request(`${script.prefix}z`, async () =>
      script.locks.request(name, { ifAvailable: true }, (lock) => String(lock)),
    )
    script.record(`x again: ${nestedResult}`)
    b.release()
    await script.untilQuiet()
    a.release()
    await script.untilQuiet()
    c.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'b: granted', 'x again: null', 'b: done undefined', 'a: done undefined'],
    ...['c: granted', 'c: done undefined'],
  ],
}

const available: Scenario = {
  title:
    'with ifAvailable, a callback gets null if its request would wait, and no request is queued',
  async run(script) {
    const ifAvailable = { ifAvailable: true }
    const sharedIfAvailable = { ifAvailable: true, mode: 'shared' } as const
    const free = script.request('free', 'x', ifAvailable)
    await script.untilQuiet()
    // A callback that gets null ends immediately, with the value 'none'.
    script.request('beside exclusive', 'x', { ...ifAvailable, locks: script.otherLocks })
    script.request('shared beside exclusive', 'x', sharedIfAvailable)
    await script.untilQuiet()
    await script.recordState()
    free.release()
    await script.untilQuiet()
    const a = script.request('a', 'x', { mode: 'shared', locks: script.otherLocks })
    await script.untilQuiet()
    const b = script.request('b', 'x', sharedIfAvailable)
    await script.untilQuiet()
    script.request('beside shared', 'x', ifAvailable)
    await script.untilQuiet()
    const c = script.request('c', 'x')
    await script.untilQuiet()
    script.request('behind', 'x', sharedIfAvailable)
    await script.untilQuiet()
    for (const request of [a, b, c]) {
      request.release()
      await script.untilQuiet()
    }
    await script.recordState()
  },
  log: [
    'free: granted',
    ...['beside exclusive: null', 'beside exclusive: done none'],
    ...['shared beside exclusive: null', 'shared beside exclusive: done none'],
    'held: x exclusive; pending: nothing',
    ...['free: done undefined', 'a: granted', 'b: granted'],
    ...['beside shared: null', 'beside shared: done none', 'behind: null', 'behind: done none'],
    ...['a: done undefined', 'b: done undefined', 'c: granted', 'c: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const outcomes: Scenario = {
  title: 'the request settles with the outcome of its callback',
  async run(script) {
    const name = `${script.prefix}x`
    const customError = new Error('mine')
    const callbacks: Record<string, () => unknown> = {
      value: () => 7,
      nothing: () => {},
      promise: () => Promise.resolve('later'),
      thenable: () => ({
        // biome-ignore lint/suspicious/noThenProperty: the scenario tests a thenable.
        then: (resolve: (value: string) => void) => resolve('then'),
      }),
      throws: () => {
        throw customError
      },
      rejects: () => Promise.reject(customError),
      'throws text': () => {
        throw 'text'
      },
      'rejects without a reason': () => Promise.reject(),
      'throws a thenable': () => {
        throw {
          // biome-ignore lint/suspicious/noThenProperty: the test fails if it is called.
          then: () => script.record('THEN RAN'),
          toString: () => 'thenable',
        }
      },
    }
    for (const [label, callback] of Object.entries(callbacks)) {
      await script.recordOutcome(label, script.locks.request(name, callback))
    }
    const caught = await script.locks.request(name, callbacks['rejects']!).catch((error) => error)
    script.record(`the same error: ${caught === customError}`)
    // A request whose callback gets null settles in the same way. The lock is held here, so each
    // callback gets null.
    await script.locks.request(name, async () => {
      for (const [label, callback] of Object.entries(callbacks)) {
        const request = script.otherLocks.request(name, { ifAvailable: true }, (lock) => {
          script.record(String(lock))
          return callback()
        })
        await script.recordOutcome(label, request)
      }
    })
  },
  log: [...settledLines, 'the same error: true', ...settledLines.flatMap((line) => ['null', line])],
}

const argumentOfCallback: Scenario = {
  title: 'a callback receives one argument, a read-only lock, and runs in a task of its own',
  async run(script) {
    const name = `${script.prefix}x`
    const promise = script.locks.request(
      name,
      { mode: 'shared' },
      function (this: unknown, ...args: unknown[]) {
        script.record(`${args.length} argument, this is ${String(this)}`)
        const lock = args[0] as Lock
        script.record(`${lock.name === name} ${lock.mode}`)
        try {
          ;(lock as { mode: string }).mode = 'exclusive'
        } catch (error) {
          script.record((error as Error).name)
        }
        script.record(lock.mode)
        return 'fine'
      },
    )
    script.record(`returned a promise: ${promise instanceof Promise}`)
    queueMicrotask(() => script.record('microtask'))
    await script.recordOutcome('a', promise)
    await script.untilQuiet()
  },
  log: [
    ...['returned a promise: true', 'microtask', '1 argument, this is undefined', 'true shared'],
    ...['TypeError', 'shared', 'a: done fine'],
  ],
}

const tasks: Scenario = {
  title: 'the callbacks of shared requests that are granted together run in separate tasks',
  async run(script) {
    const name = `${script.prefix}x`
    const gate = script.request('gate', 'x')
    await script.untilQuiet()
    const requests = ['a', 'b'].map((label) =>
      script.locks.request(name, { mode: 'shared' }, async () => {
        script.record(`${label} begins`)
        // If both callbacks ran in one task, the other callback would begin during this loop.
        for (let i = 0; i < 50; i++) await undefined
        script.record(`${label} has had its microtasks`)
        // Holds the lock for one more task, in which the other callback may begin.
        await untilNextTask()
      }),
    )
    await script.untilQuiet()
    gate.release()
    await Promise.all(requests)
    await script.untilQuiet()
  },
  log: [
    ...['gate: granted', 'gate: done undefined', 'a begins', 'a has had its microtasks'],
    ...['b begins', 'b has had its microtasks'],
  ],
}

const order: Scenario = {
  title:
    'callbacks of shared requests that are granted together run in the order of the requests, with or without a signal',
  async run(script) {
    const gate = script.request('gate', 'x')
    await script.untilQuiet()
    // An abortable request has a signal.
    const requests = [
      script.request('first', 'x', { mode: 'shared', abortable: true }),
      script.request('second', 'x', { mode: 'shared' }),
    ]
    await script.untilQuiet()
    gate.release()
    await script.untilQuiet()
    for (const { release } of requests) release()
    await script.untilQuiet()
  },
  log: [
    ...['gate: granted', 'gate: done undefined', 'first: granted', 'second: granted'],
    ...['first: done undefined', 'second: done undefined'],
  ],
}

export const grantingScenarios: readonly Scenario[] = [
  fifo,
  shared,
  fairness,
  independent,
  available,
  outcomes,
  argumentOfCallback,
  tasks,
  order,
]
