/** When a lock is released, and what has happened before. */
import { newTask } from '../script.js'
import type { Scenario } from './scenario.js'

const before: Scenario = {
  title: 'the lock is released before the request settles',
  async run(script) {
    const name = `${script.prefix}x`
    const mine = new Error('mine')
    const ways: (() => unknown)[] = [
      async () => 'fine',
      () => Promise.reject(mine),
      () => 'at once',
    ]
    for (const end of ways) {
      await script.outcome('x', script.locks.request(name, end))
      await script.sayState()
      const free = await script.far.request(name, { ifAvailable: true }, (lock) => lock !== null)
      script.say(`free: ${free}`)
    }
  },
  log: ['x: done fine', 'x: failed Error mine', 'x: done at once'].flatMap((line) => [
    line,
    'held: nothing; pending: nothing',
    'free: true',
  ]),
}

const first: Scenario = {
  title: 'whoever held hears of it before the next one is called',
  async run(script) {
    const a = script.ask('a', 'x')
    const b = script.ask('b', 'x')
    await script.calm()
    const name = `${script.prefix}x`
    const c = script.locks.request(name, () => script.say('c: granted'))
    void c.then(async () => {
      for (let i = 0; i < 50; i++) await undefined
      script.say('c: had its microtasks')
    })
    const d = script.ask('d', 'x')
    await script.calm()
    a.release()
    await script.calm()
    b.release()
    await script.calm()
    d.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'a: done undefined', 'b: granted', 'b: done undefined', 'c: granted'],
    ...['c: had its microtasks', 'd: granted', 'd: done undefined'],
  ],
}

const long: Scenario = {
  title:
    'the lock is held until what the callback returned has settled, whatever it does meanwhile',
  async run(script) {
    const name = `${script.prefix}x`
    let end = (_: unknown) => {}
    const chain = new Promise((resolve) => {
      end = resolve
    })
    const a = script.locks.request(name, async () => {
      await newTask()
      await chain
      await newTask()
      return chain
    })
    const b = script.ask('b', 'x')
    await script.calm()
    script.say('still')
    end('the end')
    await script.outcome('a', a)
    await script.calm()
    b.release()
    await script.calm()
  },
  log: ['still', 'a: done the end', 'b: granted', 'b: done undefined'],
}

export const releasingScenarios: readonly Scenario[] = [before, first, long]
