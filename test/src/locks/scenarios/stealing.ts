/** `steal`: holders lose the lock, and waiters keep waiting. */
import type { Scenario } from './scenario.js'

const free: Scenario = {
  title: 'a steal of what nobody holds is a request like any other',
  async run(script) {
    const a = script.ask('a', 'x', { steal: true })
    await script.calm()
    const b = script.ask('b', 'x')
    await script.calm()
    a.release(1)
    await script.calm()
    b.release(2)
    await script.calm()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: done 2'],
}

const robbed: Scenario = {
  title: 'a steal rejects the request of whoever held, and is granted before those who wait',
  async run(script) {
    const a = script.ask('a', 'x')
    const other = script.ask('other', 'y')
    await script.calm()
    const b = script.ask('b', 'x', { mode: 'shared' })
    await script.calm()
    const c = script.ask('c', 'x', { mode: 'shared' }, script.far)
    await script.calm()
    const thief = script.ask('thief', 'x', { steal: true }, script.far)
    await script.calm()
    await script.sayState()
    a.release('too late')
    await script.calm()
    await script.sayState()
    thief.release('loot')
    await script.calm()
    for (const each of [b, c]) {
      each.release()
      await script.calm()
    }
    other.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'other: granted', 'a: failed DOMException AbortError', 'thief: granted'],
    'held: x exclusive, y exclusive; pending: x shared, x shared',
    'held: x exclusive, y exclusive; pending: x shared, x shared',
    ...['thief: done loot', 'b: granted', 'c: granted', 'b: done undefined', 'c: done undefined'],
    'other: done undefined',
  ],
}

const allShared: Scenario = {
  title: 'a steal takes shared locks from all who hold them',
  anyOrder: true,
  async run(script) {
    const shared = { mode: 'shared' } as const
    const readers = ['a', 'b', 'c'].map((label) => script.ask(label, 'x', shared))
    await script.calm()
    const thief = script.ask('thief', 'x', { steal: true })
    await script.calm()
    await script.sayState()
    for (const reader of readers) reader.fail(new Error('nobody hears this'))
    await script.calm()
    thief.release()
    await script.calm()
    await script.sayState()
  },
  log: [
    ...['a: granted', 'b: granted', 'c: granted'],
    ...['a', 'b', 'c'].map((label) => `${label}: failed DOMException AbortError`),
    ...['thief: granted', 'held: x exclusive; pending: nothing', 'thief: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const again: Scenario = {
  title: 'a steal can be stolen, by whoever comes next',
  async run(script) {
    script.ask('a', 'x')
    await script.calm()
    script.ask('b', 'x', { steal: true })
    await script.calm()
    const c = script.ask('c', 'x', { steal: true }, script.far)
    await script.calm()
    const d = script.ask('d', 'x')
    await script.calm()
    c.release()
    await script.calm()
    d.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'a: failed DOMException AbortError', 'b: granted'],
    ...['b: failed DOMException AbortError', 'c: granted', 'c: done undefined'],
    ...['d: granted', 'd: done undefined'],
  ],
}

const goesOn: Scenario = {
  title: 'the callback of whoever was robbed goes on, and changes nothing any more',
  async run(script) {
    const name = `${script.prefix}x`
    let wake = () => {}
    const sleep = new Promise<void>((resolve) => {
      wake = resolve
    })
    const victim = script.locks.request(name, async (lock) => {
      await sleep
      script.say(`goes on with ${lock?.mode}`)
      return 'too late'
    })
    const outcome = script.outcome('victim', victim)
    await script.calm()
    const thief = script.ask('thief', 'x', { steal: true })
    await script.calm()
    await outcome
    wake()
    await script.calm()
    const next = await script.far.request(name, { ifAvailable: true }, (lock) => String(lock))
    script.say(`next: ${next}`)
    thief.release('loot')
    await script.calm()
  },
  log: [
    ...['victim: failed DOMException AbortError', 'thief: granted', 'goes on with exclusive'],
    ...['next: null', 'thief: done loot'],
  ],
}

const fromWithin: Scenario = {
  title: 'a client can steal from itself, in the callback that holds',
  async run(script) {
    const name = `${script.prefix}x`
    const outer = script.locks.request(name, async () => {
      const inner = await script.locks.request(name, { steal: true }, (lock) => `${lock?.mode}`)
      script.say(`inner: ${inner}`)
      return 'outer'
    })
    await script.outcome('outer', outer)
    await script.calm()
    await script.sayState()
  },
  log: [
    ...['outer: failed DOMException AbortError', 'inner: exclusive'],
    'held: nothing; pending: nothing',
  ],
}

const atOnce: Scenario = {
  title: 'a steal in the turn of a request leaves that no time to begin',
  anyOrder: true,
  async run(script) {
    script.ask('a', 'x')
    script.ask('b', 'x', { steal: true })
    const c = script.ask('c', 'x', { steal: true })
    await script.calm()
    await script.sayState()
    c.release('loot')
    await script.calm()
  },
  log: [
    ...['a: failed DOMException AbortError', 'b: failed DOMException AbortError', 'c: granted'],
    ...['held: x exclusive; pending: nothing', 'c: done loot'],
  ],
  chromium: {
    why: 'it is told of each grant before the steal that follows, and we of both at once',
    log: [
      ...['a: granted', 'b: granted', 'a: failed DOMException AbortError'],
      ...['c: granted', 'b: failed DOMException AbortError'],
      ...['held: x exclusive; pending: nothing', 'c: done loot'],
    ],
  },
}

export const stealingScenarios: readonly Scenario[] = [
  free,
  robbed,
  allShared,
  again,
  goesOn,
  fromWithin,
  atOnce,
]
