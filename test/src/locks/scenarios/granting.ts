/** The order of grants: queues, modes, `ifAvailable`, and the argument of the callback. */
import { newTask } from '../script.js'
import type { Scenario } from './scenario.js'

/** Each way to end a callback, and the outcome of its request. */
const settled = [
  'value: done 7',
  'nothing: done undefined',
  'promise: done later',
  'thenable: done then',
  'throws: failed Error mine',
  'rejects: failed Error mine',
  'throws text: failed text',
  'throws nothing: failed undefined',
  'throws a thenable: failed thenable',
]

const fifo: Scenario = {
  title: 'exclusive requests are granted one after the other, in the order of asking',
  async run(script) {
    const a = script.ask('a', 'x')
    await script.calm()
    const b = script.ask('b', 'x', {}, script.far)
    await script.calm()
    const c = script.ask('c', 'x')
    await script.calm()
    a.release(1)
    await script.calm()
    b.release(2)
    await script.calm()
    c.release(3)
    await script.calm()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: done 2', 'c: granted', 'c: done 3'],
}

const shared: Scenario = {
  title: 'shared requests hold together; exclusive ones wait for all of them',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.ask('a', 'x', shared)
    const b = script.ask('b', 'x', shared)
    await script.calm()
    const c = script.ask('c', 'x')
    await script.calm()
    a.release()
    await script.calm()
    script.say('one left')
    b.release()
    await script.calm()
    c.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'b: granted', 'a: done undefined', 'one left', 'b: done undefined'],
    ...['c: granted', 'c: done undefined'],
  ],
}

const fairness: Scenario = {
  title: 'a shared request waits behind a waiting exclusive one, though only shared locks are held',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.ask('a', 'x', shared)
    await script.calm()
    const b = script.ask('b', 'x', {}, script.far)
    await script.calm()
    const c = script.ask('c', 'x', shared)
    const d = script.ask('d', 'x', shared)
    await script.calm()
    const e = script.ask('e', 'x', {}, script.far)
    await script.calm()
    await script.sayState()
    a.release()
    await script.calm()
    b.release()
    await script.calm()
    d.release()
    await script.calm()
    script.say('c still holds')
    c.release()
    await script.calm()
    e.release()
    await script.calm()
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
  title: 'names have nothing to do with each other, and a client with its own locks',
  async run(script) {
    const a = script.ask('a', 'x')
    const b = script.ask('b', 'y')
    await script.calm()
    const c = script.ask('c', 'x')
    await script.calm()
    const name = `${script.prefix}x`
    const nested = await script.locks.request(`${script.prefix}z`, async () =>
      script.locks.request(name, { ifAvailable: true }, (lock) => String(lock)),
    )
    script.say(`own: ${nested}`)
    b.release()
    await script.calm()
    a.release()
    await script.calm()
    c.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'b: granted', 'own: null', 'b: done undefined', 'a: done undefined'],
    ...['c: granted', 'c: done undefined'],
  ],
}

const available: Scenario = {
  title: 'ifAvailable gives null for whatever would have to wait, and never queues',
  async run(script) {
    const now = { ifAvailable: true }
    const nowShared = { ifAvailable: true, mode: 'shared' } as const
    const free = script.ask('free', 'x', now)
    await script.calm()
    script.ask('held', 'x', now, script.far)
    script.ask('held, shared', 'x', nowShared)
    await script.calm()
    await script.sayState()
    free.release()
    await script.calm()
    const a = script.ask('a', 'x', { mode: 'shared' }, script.far)
    await script.calm()
    const b = script.ask('b', 'x', nowShared)
    await script.calm()
    script.ask('beside shared', 'x', now)
    await script.calm()
    const c = script.ask('c', 'x')
    await script.calm()
    script.ask('behind', 'x', nowShared)
    await script.calm()
    for (const each of [a, b, c]) {
      each.release()
      await script.calm()
    }
    await script.sayState()
  },
  log: [
    'free: granted',
    ...['held: null', 'held: done none', 'held, shared: null', 'held, shared: done none'],
    'held: x exclusive; pending: nothing',
    ...['free: done undefined', 'a: granted', 'b: granted'],
    ...['beside shared: null', 'beside shared: done none', 'behind: null', 'behind: done none'],
    ...['a: done undefined', 'b: done undefined', 'c: granted', 'c: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const outcomes: Scenario = {
  title: 'what the callback comes to is what the request comes to',
  async run(script) {
    const name = `${script.prefix}x`
    const mine = new Error('mine')
    const ways: Record<string, () => unknown> = {
      value: () => 7,
      nothing: () => {},
      promise: () => Promise.resolve('later'),
      thenable: () => ({
        // biome-ignore lint/suspicious/noThenProperty: the scenario tests a thenable.
        then: (resolve: (value: string) => void) => resolve('then'),
      }),
      throws: () => {
        throw mine
      },
      rejects: () => Promise.reject(mine),
      'throws text': () => {
        throw 'text'
      },
      'throws nothing': () => Promise.reject(),
      'throws a thenable': () => {
        throw {
          // biome-ignore lint/suspicious/noThenProperty: the test fails if it is called.
          then: () => script.say('THEN RAN'),
          toString: () => 'thenable',
        }
      },
    }
    for (const [label, way] of Object.entries(ways)) {
      await script.outcome(label, script.locks.request(name, way))
    }
    const same = await script.locks.request(name, ways['rejects']!).catch((error) => error)
    script.say(`the very error: ${same === mine}`)
    await script.locks.request(name, async () => {
      for (const [label, way] of Object.entries(ways)) {
        const request = script.far.request(name, { ifAvailable: true }, (lock) => {
          script.say(String(lock))
          return way()
        })
        await script.outcome(label, request)
      }
    })
  },
  log: [...settled, 'the very error: true', ...settled.flatMap((line) => ['null', line])],
}

const given: Scenario = {
  title: 'a callback is given the lock and nothing else, in a task of its own',
  async run(script) {
    const name = `${script.prefix}x`
    const promise = script.locks.request(
      name,
      { mode: 'shared' },
      function (this: unknown, ...args: unknown[]) {
        script.say(`${args.length} argument, this is ${String(this)}`)
        const lock = args[0] as Lock
        script.say(`${lock.name === name} ${lock.mode}`)
        try {
          ;(lock as { mode: string }).mode = 'exclusive'
        } catch (error) {
          script.say((error as Error).name)
        }
        script.say(lock.mode)
        return 'fine'
      },
    )
    script.say(`asked: ${promise instanceof Promise}`)
    queueMicrotask(() => script.say('microtask'))
    await script.outcome('x', promise)
    await script.calm()
  },
  log: [
    ...['asked: true', 'microtask', '1 argument, this is undefined', 'true shared', 'TypeError'],
    ...['shared', 'x: done fine'],
  ],
}

const tasks: Scenario = {
  title: 'shared requests that are granted together do not run into each other',
  async run(script) {
    const name = `${script.prefix}x`
    const gate = script.ask('gate', 'x')
    await script.calm()
    const both = ['a', 'b'].map((label) =>
      script.locks.request(name, { mode: 'shared' }, async () => {
        script.say(`${label} begins`)
        for (let i = 0; i < 50; i++) await undefined
        script.say(`${label} has had its microtasks`)
        await newTask()
      }),
    )
    await script.calm()
    gate.release()
    await Promise.all(both)
    await script.calm()
  },
  log: [
    ...['gate: granted', 'gate: done undefined', 'a begins', 'a has had its microtasks'],
    ...['b begins', 'b has had its microtasks'],
  ],
}

const order: Scenario = {
  title:
    'shared requests that are granted together begin in the order of asking, however asked for',
  async run(script) {
    const gate = script.ask('gate', 'x')
    await script.calm()
    const both = [
      script.ask('first', 'x', { mode: 'shared', abortable: true }),
      script.ask('second', 'x', { mode: 'shared' }),
    ]
    await script.calm()
    gate.release()
    await script.calm()
    for (const { release } of both) release()
    await script.calm()
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
  given,
  tasks,
  order,
]
