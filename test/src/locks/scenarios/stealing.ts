/**
 * Scenarios about the option `steal`: holders lose the lock, and waiting requests keep waiting.
 * `a`, `b` and so on are the labels of requests; `x` and `y` are names of locks. Requests with
 * `script.otherLocks` may come from another session.
 */
import type { Scenario } from './scenario.js'

const stealOfFreeLock: Scenario = {
  title: 'a steal of a free lock is granted like any other request',
  async run(script) {
    const a = script.request('a', 'x', { steal: true })
    await script.untilQuiet()
    const b = script.request('b', 'x')
    await script.untilQuiet()
    a.release(1)
    await script.untilQuiet()
    b.release(2)
    await script.untilQuiet()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: done 2'],
}

const stealFromHolder: Scenario = {
  title: 'a steal rejects the request of the holder, and is granted before waiting requests',
  async run(script) {
    const a = script.request('a', 'x')
    const other = script.request('other', 'y')
    await script.untilQuiet()
    const b = script.request('b', 'x', { mode: 'shared' })
    await script.untilQuiet()
    const c = script.request('c', 'x', { mode: 'shared', locks: script.otherLocks })
    await script.untilQuiet()
    const stealer = script.request('stealer', 'x', { steal: true, locks: script.otherLocks })
    await script.untilQuiet()
    await script.recordState()
    a.release('too late')
    await script.untilQuiet()
    await script.recordState()
    stealer.release('loot')
    await script.untilQuiet()
    for (const request of [b, c]) {
      request.release()
      await script.untilQuiet()
    }
    other.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'other: granted', 'a: failed DOMException AbortError', 'stealer: granted'],
    'held: x exclusive, y exclusive; pending: x shared, x shared',
    'held: x exclusive, y exclusive; pending: x shared, x shared',
    ...['stealer: done loot', 'b: granted', 'c: granted', 'b: done undefined', 'c: done undefined'],
    'other: done undefined',
  ],
}

const allShared: Scenario = {
  title: 'a steal takes a shared lock from all its holders',
  anyOrder: true,
  async run(script) {
    const shared = { mode: 'shared' } as const
    const readers = ['a', 'b', 'c'].map((label) => script.request(label, 'x', shared))
    await script.untilQuiet()
    const stealer = script.request('stealer', 'x', { steal: true })
    await script.untilQuiet()
    await script.recordState()
    for (const reader of readers) reader.fail(new Error('ignored after the steal'))
    await script.untilQuiet()
    stealer.release()
    await script.untilQuiet()
    await script.recordState()
  },
  log: [
    ...['a: granted', 'b: granted', 'c: granted'],
    ...['a', 'b', 'c'].map((label) => `${label}: failed DOMException AbortError`),
    ...['stealer: granted', 'held: x exclusive; pending: nothing', 'stealer: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const secondSteal: Scenario = {
  title: 'a stolen lock can be stolen again',
  async run(script) {
    // The steals end the requests a and b, so the scenario need not release their locks.
    script.request('a', 'x')
    await script.untilQuiet()
    script.request('b', 'x', { steal: true })
    await script.untilQuiet()
    const c = script.request('c', 'x', { steal: true, locks: script.otherLocks })
    await script.untilQuiet()
    const d = script.request('d', 'x')
    await script.untilQuiet()
    c.release()
    await script.untilQuiet()
    d.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'a: failed DOMException AbortError', 'b: granted'],
    ...['b: failed DOMException AbortError', 'c: granted', 'c: done undefined'],
    ...['d: granted', 'd: done undefined'],
  ],
}

const callbackContinues: Scenario = {
  title: 'the callback of the former holder continues, but has no further effect on the lock',
  async run(script) {
    const name = `${script.prefix}x`
    let wake = () => {}
    const sleep = new Promise<void>((resolve) => {
      wake = resolve
    })
    const victim = script.locks.request(name, async (lock) => {
      await sleep
      script.record(`callback continues, mode ${lock?.mode}`)
      return 'too late'
    })
    const outcome = script.recordOutcome('victim', victim)
    await script.untilQuiet()
    const stealer = script.request('stealer', 'x', { steal: true })
    await script.untilQuiet()
    await outcome
    wake()
    await script.untilQuiet()
    const laterRequest = await script.otherLocks.request(name, { ifAvailable: true }, (lock) =>
      String(lock),
    )
    script.record(`later request: ${laterRequest}`)
    stealer.release('loot')
    await script.untilQuiet()
  },
  log: [
    ...['victim: failed DOMException AbortError', 'stealer: granted'],
    ...['callback continues, mode exclusive', 'later request: null', 'stealer: done loot'],
  ],
}

const stealInOwnCallback: Scenario = {
  title: 'a client can steal its own lock in the callback that holds the lock',
  async run(script) {
    const name = `${script.prefix}x`
    const outer = script.locks.request(name, async () => {
      const inner = await script.locks.request(name, { steal: true }, (lock) => `${lock?.mode}`)
      script.record(`inner: ${inner}`)
      return 'outer'
    })
    await script.recordOutcome('outer', outer)
    await script.untilQuiet()
    await script.recordState()
  },
  log: [
    ...['outer: failed DOMException AbortError', 'inner: exclusive'],
    'held: nothing; pending: nothing',
  ],
}

/** `session.locks` gets all grants and steals together, so only the callback of `c` runs. */
const twoStealsAtOnce: Scenario = {
  title: 'a steal in the same task as a request rejects the request before its callback runs',
  anyOrder: true,
  async run(script) {
    script.request('a', 'x')
    script.request('b', 'x', { steal: true })
    const c = script.request('c', 'x', { steal: true })
    await script.untilQuiet()
    await script.recordState()
    c.release('loot')
    await script.untilQuiet()
  },
  log: [
    ...['a: failed DOMException AbortError', 'b: failed DOMException AbortError', 'c: granted'],
    ...['held: x exclusive; pending: nothing', 'c: done loot'],
  ],
  chromium: {
    why: 'Chromium runs the callback of each request before the next steal',
    log: [
      ...['a: granted', 'b: granted', 'a: failed DOMException AbortError'],
      ...['c: granted', 'b: failed DOMException AbortError'],
      ...['held: x exclusive; pending: nothing', 'c: done loot'],
    ],
  },
}

export const stealingScenarios: readonly Scenario[] = [
  stealOfFreeLock,
  stealFromHolder,
  allShared,
  secondSteal,
  callbackContinues,
  stealInOwnCallback,
  twoStealsAtOnce,
]
