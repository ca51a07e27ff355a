/** `signal`: cancels a waiting request, and never a held lock. */
import type { Scenario } from './scenario.js'

const already: Scenario = {
  title: 'a signal that is aborted already rejects with its reason, whatever that is',
  async run(script) {
    const name = `${script.prefix}x`
    const no = () => script.say('THE CALLBACK RAN')
    const mine = new Error('mine')
    for (const reason of [
      undefined,
      mine,
      'text',
      0,
      null,
      false,
      new DOMException('', 'DataError'),
    ]) {
      const signal = AbortSignal.abort(reason)
      await script.outcome('x', script.locks.request(name, { signal }, no))
    }
    const signal = AbortSignal.abort(mine)
    const same = await script.locks.request(name, { signal }, no).catch((error) => error)
    script.say(`the very reason: ${same === mine}`)
    await script.calm()
    await script.sayState()
  },
  log: [
    'x: failed DOMException AbortError',
    ...['Error mine', 'text', '0', 'null', 'false', 'DOMException DataError'].map(
      (reason) => `x: failed ${reason}`,
    ),
    'the very reason: true',
    'held: nothing; pending: nothing',
  ],
}

const pending: Scenario = {
  title: 'an abort while waiting leaves the queue and lets those behind pass',
  async run(script) {
    const shared = { mode: 'shared' } as const
    const a = script.ask('a', 'x', shared)
    const b = script.ask('b', 'x', { abortable: true })
    await script.calm()
    const c = script.ask('c', 'x', { ...shared, abortable: true }, script.far)
    const d = script.ask('d', 'x', { abortable: true }, script.far)
    await script.calm()
    await script.sayState()
    b.abort()
    await script.calm()
    await script.sayState()
    d.abort('enough')
    await script.calm()
    d.abort('again')
    for (const each of [a, c]) each.release()
    await script.calm()
    await script.sayState()
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
    why: 'it looks at the queue again only when a lock is released, not when a request is aborted',
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

const atOnce: Scenario = {
  title: 'an abort in the turn of the request wins over a lock that is free',
  async run(script) {
    const a = script.ask('a', 'x', { abortable: true })
    const b = script.ask('b', 'x')
    a.abort()
    await script.calm()
    b.release()
    await script.calm()
    await script.sayState()
  },
  log: [
    ...['a: failed DOMException AbortError', 'b: granted', 'b: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const late: Scenario = {
  title: 'an abort after the callback has begun changes nothing',
  async run(script) {
    const a = script.ask('a', 'x', { abortable: true })
    await script.calm()
    a.abort()
    await script.calm()
    await script.sayState()
    a.release('fine')
    await script.calm()
    const b = script.ask('b', 'x', { abortable: true })
    await script.calm()
    b.release('fine')
    b.abort()
    await script.calm()
    b.abort()
    const controller = new AbortController()
    const inside = script.locks.request(
      `${script.prefix}x`,
      { signal: controller.signal },
      async () => {
        controller.abort('inside')
        return 'fine'
      },
    )
    await script.outcome('c', inside)
    await script.sayState()
  },
  log: [
    'a: granted',
    'held: x exclusive; pending: nothing',
    ...['a: done fine', 'b: granted', 'b: done fine', 'c: done fine'],
    'held: nothing; pending: nothing',
  ],
}

const many: Scenario = {
  title: 'one signal for many requests gives up all that wait, in their order',
  async run(script) {
    const { locks, prefix } = script
    const gate = script.ask('gate', 'x')
    const other = script.ask('other', 'y')
    await script.calm()
    const controller = new AbortController()
    const { signal } = controller
    const no = () => script.say('THE CALLBACK RAN')
    const asked = ['x', 'y', 'x'].map((name, i) =>
      script.outcome(`${i}`, locks.request(prefix + name, { signal }, no)),
    )
    await script.calm()
    controller.abort(new DOMException('', 'TimeoutError'))
    await Promise.all(asked)
    await script.calm()
    await script.sayState()
    gate.release()
    await script.calm()
    other.release()
    await script.calm()
  },
  log: [
    ...['gate: granted', 'other: granted'],
    ...['0', '1', '2'].map((label) => `${label}: failed DOMException TimeoutError`),
    'held: x exclusive, y exclusive; pending: nothing',
    ...['gate: done undefined', 'other: done undefined'],
  ],
}

const unused: Scenario = {
  title: 'a signal that is never aborted changes nothing',
  async run(script) {
    const a = script.ask('a', 'x', { abortable: true })
    const b = script.ask('b', 'x', { abortable: true })
    await script.calm()
    a.release(1)
    await script.calm()
    b.fail(new Error('mine'))
    await script.calm()
  },
  log: ['a: granted', 'a: done 1', 'b: granted', 'b: failed Error mine'],
}

export const signalScenarios: readonly Scenario[] = [already, pending, atOnce, late, many, unused]
