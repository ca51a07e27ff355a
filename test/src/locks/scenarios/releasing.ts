/**
 * Scenarios about when a lock is released, and about the events before and after its release. `a`,
 * `b` and so on are the labels of requests; `x` is the name of the lock.
 */
import { untilNextTask } from '../script.js'
import type { Scenario } from './scenario.js'

const releaseFirst: Scenario = {
  title: 'the lock is released before the request settles',
  async run(script) {
    const name = `${script.prefix}x`
    const customError = new Error('mine')
    const callbacks: (() => unknown)[] = [
      async () => 'fine',
      () => Promise.reject(customError),
      () => 'at once',
    ]
    for (const callback of callbacks) {
      await script.recordOutcome('a', script.locks.request(name, callback))
      await script.recordState()
      const free = await script.otherLocks.request(
        name,
        { ifAvailable: true },
        (lock) => lock !== null,
      )
      script.record(`free: ${free}`)
    }
  },
  log: ['a: done fine', 'a: failed Error mine', 'a: done at once'].flatMap((line) => [
    line,
    'held: nothing; pending: nothing',
    'free: true',
  ]),
}

const holderFirst: Scenario = {
  title: 'the request of the former holder settles before the callback of the next holder runs',
  async run(script) {
    const a = script.request('a', 'x')
    const b = script.request('b', 'x')
    await script.untilQuiet()
    const name = `${script.prefix}x`
    const c = script.locks.request(name, () => script.record('c: granted'))
    void c.then(async () => {
      // The callback of `d` runs in a later task, so all these microtasks must come first.
      for (let i = 0; i < 50; i++) await undefined
      script.record('c: had its microtasks')
    })
    const d = script.request('d', 'x')
    await script.untilQuiet()
    a.release()
    await script.untilQuiet()
    b.release()
    await script.untilQuiet()
    d.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'a: done undefined', 'b: granted', 'b: done undefined', 'c: granted'],
    ...['c: had its microtasks', 'd: granted', 'd: done undefined'],
  ],
}

const heldUntilSettled: Scenario = {
  title: 'a lock is held until the promise that the callback returned has settled',
  async run(script) {
    const name = `${script.prefix}x`
    let resolveEnded = (_: unknown) => {}
    const ended = new Promise((resolve) => {
      resolveEnded = resolve
    })
    const a = script.locks.request(name, async () => {
      await untilNextTask()
      await ended
      await untilNextTask()
      return ended
    })
    const b = script.request('b', 'x')
    await script.untilQuiet()
    // The log has no `b: granted` before this line.
    script.record('still held')
    resolveEnded('the end')
    await script.recordOutcome('a', a)
    await script.untilQuiet()
    b.release()
    await script.untilQuiet()
  },
  log: ['still held', 'a: done the end', 'b: granted', 'b: done undefined'],
}

export const releasingScenarios: readonly Scenario[] = [releaseFirst, holderFirst, heldUntilSettled]
