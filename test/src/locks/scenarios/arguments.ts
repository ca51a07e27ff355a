/**
 * Scenarios about the arguments of `request` in the Web Locks API. `request` converts and checks
 * its arguments in the order of the specification. `request` throws no error, but returns a promise
 * that rejects.
 */
import { nameOf, type Script } from '../script.js'
import type { Scenario } from './scenario.js'

/** Calls `request` with any arguments, and logs the outcome. */
async function tryArguments(script: Script, label: string, ...args: unknown[]): Promise<void> {
  const request = script.locks.request.bind(script.locks) as (
    ...args: unknown[]
  ) => Promise<unknown>
  try {
    await script.recordOutcome(label, request(...args))
  } catch (error) {
    script.record(`${label}: THROWN ${nameOf(error)}`)
  }
}

/** Makes a callback that must not run, and logs a line if it runs. */
function callbackThatMustNotRun(script: Script): () => void {
  return () => script.record('THE CALLBACK RAN')
}

const wrongTypes: Scenario = {
  title: 'request rejects arguments of a wrong type with a TypeError',
  async run(script) {
    const mustNotRun = callbackThatMustNotRun(script)
    const name = `${script.prefix}a`
    await tryArguments(script, 'nothing')
    await tryArguments(script, 'no callback', name)
    await tryArguments(script, 'options, no callback', name, {})
    for (const callback of [undefined, null, {}, 'text', 1]) {
      await tryArguments(script, `callback ${String(callback)}`, name, callback)
      await tryArguments(script, `options, callback ${String(callback)}`, name, {}, callback)
    }
    for (const options of ['text', 1, true, Symbol('s')]) {
      await tryArguments(script, `options ${String(options)}`, name, options, mustNotRun)
    }
    for (const mode of ['foo', '', null, 'Exclusive', 1]) {
      await tryArguments(script, `mode ${String(mode)}`, name, { mode }, mustNotRun)
    }
    const signals = [
      'text',
      12.34,
      false,
      {},
      Symbol('s'),
      () => {},
      null,
      globalThis,
      new Event('a'),
    ]
    for (const signal of signals) {
      await tryArguments(script, `signal ${typeof signal}`, name, { signal }, mustNotRun)
    }
    await tryArguments(script, 'name symbol', Symbol('s'), mustNotRun)
  },
  log: [
    'nothing',
    'no callback',
    'options, no callback',
    ...['undefined', 'null', '[object Object]', 'text', '1'].flatMap((callback) => [
      `callback ${callback}`,
      `options, callback ${callback}`,
    ]),
    ...['text', '1', 'true', 'Symbol(s)'].map((options) => `options ${options}`),
    ...['foo', '', 'null', 'Exclusive', '1'].map((mode) => `mode ${mode}`),
    // The types of the values in `signals`, in order.
    ...'string number boolean object symbol function object object object'
      .split(' ')
      .map((signal) => `signal ${signal}`),
    'name symbol',
  ].map((label) => `${label}: failed TypeError`),
}

const conversions: Scenario = {
  title: 'request converts names, options and modes as WebIDL says',
  async run(script) {
    const describeLock = (lock: Lock | null) => `${lock?.name} ${lock?.mode}`
    for (const name of [12, null, undefined, true, ['a', 'b'], { toString: () => 'mine' }]) {
      await tryArguments(script, 'name', name, describeLock)
    }
    for (const options of [undefined, null, {}, () => {}, [], new Date(0)]) {
      await tryArguments(script, 'options', 'a', options, describeLock)
    }
    await tryArguments(script, 'mode', 'a', { mode: ['shared'] }, describeLock)
    await tryArguments(
      script,
      'undefined members',
      'a',
      { mode: undefined, signal: undefined },
      describeLock,
    )
    await tryArguments(script, 'truthiness', 'a', { ifAvailable: 'yes', steal: 0 }, describeLock)
    await tryArguments(script, 'fourth argument', 'a', {}, describeLock, 'ignored')
  },
  log: [
    ...['12', 'null', 'undefined', 'true', 'a,b', 'mine'].map(
      (name) => `name: done ${name} exclusive`,
    ),
    // One line for each of the six values of the options.
    ...Array.from({ length: 6 }, () => 'options: done a exclusive'),
    'mode: done a shared',
    'undefined members: done a exclusive',
    'truthiness: done a exclusive',
    'fourth argument: done a exclusive',
  ],
}

const unsupported: Scenario = {
  title: 'request rejects a name that begins with a dash, and options that exclude each other',
  async run(script) {
    const mustNotRun = callbackThatMustNotRun(script)
    const { signal } = new AbortController()
    await tryArguments(script, 'dash', '-', mustNotRun)
    await tryArguments(script, 'dash and more', '-a', mustNotRun)
    await tryArguments(
      script,
      'steal, ifAvailable',
      'a',
      { steal: true, ifAvailable: true },
      mustNotRun,
    )
    await tryArguments(script, 'steal, shared', 'a', { steal: true, mode: 'shared' }, mustNotRun)
    await tryArguments(script, 'steal, signal', 'a', { steal: true, signal }, mustNotRun)
    await tryArguments(
      script,
      'ifAvailable, signal',
      'a',
      { ifAvailable: true, signal },
      mustNotRun,
    )
    const ok = () => 'fine'
    await tryArguments(script, 'dash elsewhere', 'a-', ok)
    await tryArguments(
      script,
      'ifAvailable, shared',
      'a',
      { ifAvailable: true, mode: 'shared' },
      ok,
    )
  },
  log: [
    'dash: failed DOMException NotSupportedError',
    'dash and more: failed DOMException NotSupportedError',
    'steal, ifAvailable: failed DOMException NotSupportedError',
    'steal, shared: failed DOMException NotSupportedError',
    'steal, signal: failed DOMException NotSupportedError',
    'ifAvailable, signal: failed DOMException NotSupportedError',
    'dash elsewhere: done fine',
    'ifAvailable, shared: done fine',
  ],
}

const order: Scenario = {
  title: 'request checks its arguments in the order of the specification',
  async run(script) {
    const mustNotRun = callbackThatMustNotRun(script)
    const aborted = AbortSignal.abort(new Error('mine'))
    const throwingName = {
      toString: () => {
        throw new Error('name')
      },
    }
    // The log shows the order in which `request` reads these properties.
    const options = {
      get ifAvailable() {
        script.record('reads ifAvailable')
        return false
      },
      get mode() {
        script.record('reads mode')
        return {
          toString() {
            script.record('converts mode')
            return 'shared'
          },
        }
      },
      get signal() {
        script.record('reads signal')
        return undefined
      },
      get steal() {
        script.record('reads steal')
        return false
      },
    }
    await tryArguments(script, 'read', 'a', options, () => 'fine')
    const throwingOptions = {
      get mode() {
        throw new Error('mode')
      },
    }
    // Each call has two wrong arguments. The error shows which of them `request` checks first.
    await tryArguments(script, 'name before options', throwingName, throwingOptions, mustNotRun)
    await tryArguments(script, 'options before callback', 'a', throwingOptions, undefined)
    await tryArguments(script, 'callback before name', '-a', { signal: aborted }, undefined)
    await tryArguments(script, 'mode before signal', 'a', { mode: 'x', signal: 1 }, mustNotRun)
    await tryArguments(script, 'name before signal', '-a', { signal: aborted }, mustNotRun)
    const conflictingOptions = { signal: aborted, ifAvailable: true }
    await tryArguments(script, 'options before signal', 'a', conflictingOptions, mustNotRun)
  },
  log: [
    ...['reads ifAvailable', 'reads mode', 'converts mode', 'reads signal', 'reads steal'],
    'read: done fine',
    'name before options: failed Error name',
    'options before callback: failed Error mode',
    'callback before name: failed TypeError',
    'mode before signal: failed TypeError',
    'name before signal: failed DOMException NotSupportedError',
    'options before signal: failed DOMException NotSupportedError',
  ],
}

export const argumentScenarios: readonly Scenario[] = [wrongTypes, conversions, unsupported, order]
