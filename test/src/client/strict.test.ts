/**
 * Tests that each function with options refuses every misspelt option and suggests the right name,
 * and refuses values of the wrong type.
 */
import { once } from 'node:events'
import { rootCertificates } from 'node:tls'
import {
  exponentialBackoff,
  fixedInterval,
  HoldfastError,
  type Lock,
  linearBackoff,
  type Session,
} from '@holdfast/client'
import { connectIn, type Environment, platformEnvironment } from '@holdfast/client/internal'
import { openTelemetry } from '@holdfast/client/opentelemetry'
import { expect } from 'chai'
import {
  acquireLock,
  makeClientFakes,
  openScriptedSession,
  url,
} from '../support/scriptedSession.js'

type Options = Record<string, unknown>

interface Call {
  /** The function, as the error messages name it. */
  readonly name: string
  /** Each option with a valid value. */
  readonly options: Options
  /** Calls the function on this session or this lock, with exactly these options. */
  readonly call: (options: never, scene: { session: Session; lock: Lock }) => unknown
}

const { signal } = new AbortController()
const onContended = () => {}
const onQueued = () => {}
const singleflightOptions = {
  ttl: 5_000,
  signal,
  mode: 'shared',
  metadata: { a: 1 },
  maxHold: 9_000,
}
const tryLockOptions = { ...singleflightOptions, onContended }
const lockOptions = { ...tryLockOptions, timeout: 5_000, steal: false, onQueued }
const permitOptions = { ttl: 5_000, signal, metadata: { a: 1 }, permits: 2, capacity: 9 }
const tryLockSetOptions = { ttl: 5_000, signal, metadata: { a: 1 }, maxHold: 9_000, onContended }
const lockSetOptions = { ...tryLockSetOptions, timeout: 5_000, onQueued }
const strategyOptions = { maxRetries: 1, max: 5, jitter: 'full' }

/**
 * An environment that checks the option `proxy` as the client does in Node, but connects without a
 * proxy.
 */
function withProxies(environment: Environment): Environment {
  const webSocketFor: Environment['webSocketFor'] = (options) => {
    platformEnvironment.webSocketFor!(options)
    return environment.WebSocket
  }
  return { ...environment, webSocketFor }
}

/** Some functions have two entries, because some of their options exclude each other. */
const calls: readonly Call[] = [
  {
    name: 'connect',
    options: {
      token: 't',
      name: 'n',
      lease: 5_000,
      grace: 'lease',
      signal,
      reconnect: false,
      allowInsecure: true,
      tracer: openTelemetry(),
      warnings: false,
      unref: true,
      WebSocket: class {},
    },
    call: (options) => connectIn(url, options, makeClientFakes().environment),
  },
  {
    name: 'connect',
    options: { proxy: 'http://127.0.0.1:1', unref: true, ca: rootCertificates[0] },
    call: (options) => connectIn(url, options, withProxies(makeClientFakes().environment)),
  },
  {
    name: 'lock',
    options: lockOptions,
    call: (options, { session }) => session.lock('k', options),
  },
  {
    name: 'tryLock',
    options: tryLockOptions,
    call: (options, { session }) => session.tryLock('k', options),
  },
  {
    name: 'withLock',
    options: lockOptions,
    call: (options, { session }) => session.withLock('k', () => {}, options),
  },
  {
    name: 'lock',
    options: { ...permitOptions, timeout: 5_000 },
    call: (options, { session }) => session.lock('k', options),
  },
  {
    name: 'tryLock',
    options: permitOptions,
    call: (options, { session }) => session.tryLock('k', options),
  },
  {
    name: 'lockAll',
    options: lockSetOptions,
    call: (options, { session }) => session.lockAll(['k', 'l'], options),
  },
  {
    name: 'tryLockAll',
    options: tryLockSetOptions,
    call: (options, { session }) => session.tryLockAll(['k', 'l'], options),
  },
  {
    name: 'withLockAll',
    options: lockSetOptions,
    call: (options, { session }) => session.withLockAll(['k', 'l'], () => {}, options),
  },
  {
    name: 'a key of lockAll',
    options: { key: 'k', permits: 2, capacity: 9 },
    call: (item, { session }) => session.lockAll([item]),
  },
  {
    name: 'singleflightLock',
    options: { ...singleflightOptions, timeout: 5_000 },
    call: (options, { session }) => session.singleflightLock('k', options),
  },
  {
    name: 'query',
    options: { key: 'k', limit: 5, kind: 'locks', after: 'k', afterFence: 7 },
    call: (options, { session }) => session.query(options),
  },
  {
    name: 'query',
    options: { prefix: 'k' },
    call: (options, { session }) => session.query(options),
  },
  {
    name: 'query',
    options: { kind: 'sessions', session: 's' },
    call: (options, { session }) => session.query(options),
  },
  {
    name: 'watch',
    options: { key: 'k', queue: true },
    call: (options, { session }) => session.watch(options, () => {}),
  },
  {
    name: 'watch',
    options: { prefix: 'k' },
    call: (options, { session }) => session.watch(options, () => {}),
  },
  {
    name: 'revoke',
    options: { fence: 1, reason: 'stuck' },
    call: (options, { session }) => session.revoke('k', options),
  },
  { name: 'refresh', options: { signal }, call: (options, { lock }) => lock.refresh(5, options) },
  {
    name: 'autoRefresh',
    options: { interval: 5, timeout: 5 },
    call: (options, { lock }) => lock.autoRefresh(options),
  },
  {
    name: 'fixedInterval',
    options: { interval: 5, ...strategyOptions },
    call: (options) => fixedInterval(options),
  },
  {
    name: 'exponentialBackoff',
    options: { initial: 5, multiplier: 2, ...strategyOptions },
    call: (options) => exponentialBackoff(options),
  },
  {
    name: 'linearBackoff',
    options: { initial: 5, increment: 5, ...strategyOptions },
    call: (options) => linearBackoff(options),
  },
]

/** Values of many types, also of types that JSON does not have. */
const values = [null, true, 7, -1, 1.5, 'x', '', [], [1], {}, () => {}, Symbol('s'), 7n]
/** For some options, the check that tells which of the `values` are valid. */
const validityChecks: Record<string, (value: unknown) => boolean> = {
  name: (value) => value === 'x',
  token: (value) => value === 'x',
  key: (value) => value === 'x',
  prefix: (value) => value === 'x' || value === '',
  reason: (value) => value === 'x',
  session: (value) => value === 'x',
  after: (value) => value === 'x' || value === '',
  reconnect: Array.isArray,
  allowInsecure: (value) => value === true,
  warnings: (value) => value === true,
  unref: (value) => value === true,
  queue: (value) => value === true,
  steal: (value) => value === true,
  WebSocket: (value) => typeof value === 'function',
  metadata: (value) => !['function', 'symbol', 'bigint'].includes(typeof value),
  multiplier: (value) => value === 7 || value === 1.5,
  onContended: (value) => typeof value === 'function',
  onQueued: (value) => typeof value === 'function',
  initial: (value) => value === 7 || value === 1.5,
  increment: (value) => value === 7 || value === 1.5,
  max: (value) => value === 7 || value === 1.5,
  'fixedInterval.interval': (value) => value === 7 || value === 1.5,
}
/** The check of all other options: each of the `values` except 7 is invalid for them. */
const isPositiveInteger = (value: unknown) => value === 7

/** Misspellings of a name: a letter removed or doubled, an s added, letters swapped, other case. */
function misspellings(name: string): string[] {
  const words = new Set([
    name.toUpperCase(),
    `${name}s`,
    `${name[0]!.toUpperCase()}${name.slice(1)}`,
  ])
  for (let i = 0; i < name.length; i++) {
    words.add(name.slice(0, i) + name.slice(i + 1))
    words.add(name.slice(0, i) + name[i]! + name.slice(i))
    const [a = '', b = ''] = name.slice(i)
    words.add(name.slice(0, i) + b + a + name.slice(i + 2))
  }
  words.delete(name)
  return [...words].filter((word) => word !== '')
}

/** The error with which an action fails in this turn; undefined if the action does not fail. */
async function refusalOf(act: () => unknown): Promise<HoldfastError | undefined> {
  try {
    await Promise.race([act(), new Promise((resolve) => setImmediate(resolve))])
    return undefined
  } catch (error) {
    expect(error).to.be.instanceOf(HoldfastError)
    return error as HoldfastError
  }
}

/** Opens a session that holds a lock. */
async function scene(): Promise<{ session: Session; lock: Lock }> {
  const opened = await openScriptedSession()
  return { session: opened.session, lock: await acquireLock(opened, { ttl: 9_000, at: 50_000 }) }
}

describe('the checks of options and arguments', () => {
  it('the error of refresh shows the right arguments if the first argument is an object', async () => {
    const { lock } = await scene()
    const refusal = await refusalOf(() => lock.refresh({ ttl: 5 } as never))
    expect(refusal?.code).to.equal('INVALID_OPTION')
    expect(refusal?.message).to.include('refresh(ttl, { signal })')
  })

  for (const { name, options, call } of calls) {
    // Without this, a call that refuses its options for another reason would pass the other tests.
    it(`${name} accepts its options`, async () => {
      const error = await refusalOf(async () => call(options as never, await scene()))
      expect(error?.message).to.equal(undefined)
    })

    it(`${name} refuses each misspelt option, and suggests the right name`, async () => {
      const target = await scene()
      for (const rightName of Object.keys(options)) {
        for (const wrongName of misspellings(rightName)) {
          if (wrongName in options) continue
          const { [rightName]: value, ...others } = options
          const misspelt = { ...others, [wrongName]: value }
          const error = await refusalOf(() => call(misspelt as never, target))
          const reported = `${error?.code} ${error?.message}`
          const expected = `INVALID_OPTION ${name} has no option "${wrongName}"`
          expect(reported, wrongName).to.include(expected)
          expect(reported, wrongName).to.include(`did you mean "${rightName}"?`)
        }
      }
    })

    it(`${name} refuses values of the wrong type`, async () => {
      const target = await scene()
      for (const option of Object.keys(options)) {
        const isValid =
          validityChecks[`${name}.${option}`] ?? validityChecks[option] ?? isPositiveInteger
        for (const value of values) {
          if (isValid(value)) continue
          const changed = { ...options, [option]: value }
          const error = await refusalOf(() => call(changed as never, target))
          expect(error?.code, `${option}: ${String(value)}`).to.match(/^INVALID_/)
        }
      }
    })

    it(`${name} refuses options that are not an object`, async () => {
      const target = await scene()
      for (const value of [null, 7, true, [], () => {}]) {
        const error = await refusalOf(() => call(value as never, target))
        expect(error?.code, String(value)).to.equal('INVALID_OPTION')
      }
    })
  }

  it('the error names the option, the allowed values and the refused value', async () => {
    const { session, lock } = await scene()
    const msFrom = (min: number) => `an integer of ms from ${min} to 2^31 - 1`
    // An error message must describe this object, although `String` throws for it.
    const unprintable = Object.create(null)
    const cases: [() => unknown, string][] = [
      [() => session.lock('k', { ttl: 0 }), `INVALID_TTL ttl must be ${msFrom(1)}, not 0`],
      [() => lock.refresh('9' as never), `INVALID_TTL ttl must be ${msFrom(1)}, not "9"`],
      [
        () => session.lock('k', { timeout: -1 }),
        `INVALID_TIMEOUT timeout must be ${msFrom(0)}, not -1`,
      ],
      [
        () => session.singleflightLock('k', { timeout: 0 }),
        `INVALID_TIMEOUT timeout must be ${msFrom(1)}, not 0`,
      ],
      [
        () => lock.autoRefresh({ interval: 5, timeout: 0 }),
        `INVALID_TIMEOUT timeout must be ${msFrom(1)}, not 0`,
      ],
      [
        () => lock.autoRefresh({ interval: Number.NaN, timeout: 5 }),
        `INVALID_INTERVAL interval must be ${msFrom(1)}, not NaN`,
      ],
      [
        () => lock.autoRefresh({ interval: 5_000, timeout: 4_000 }),
        'INVALID_INTERVAL interval + timeout must be below the ttl of 9000 ms, not 9000 ms',
      ],
      [
        () => session.lock('k', { capacity: '3' as never }),
        'INVALID_OPTION capacity must be an integer from 1 to 1000000, not "3"',
      ],
      [
        () => session.lock('k', { capacity: 3, permits: unprintable }),
        'INVALID_OPTION permits must be an integer from 1 to the capacity 3, not an object',
      ],
      [
        () => session.barrier('k', { parties: 'x'.repeat(99) as never }),
        `INVALID_OPTION parties must be an integer from 2 to 1000, not "${'x'.repeat(40)}…"`,
      ],
      [
        () => session.once('k', () => 1, { keep: 0 }),
        `INVALID_OPTION keep must be ${msFrom(1)}, not 0`,
      ],
      [
        () => session.query({ kind: unprintable }),
        'INVALID_OPTION kind must be locks, barriers, results or sessions, not an object',
      ],
      [
        () => session.query({ limit: 1.5 }),
        'INVALID_OPTION limit must be an integer from 1 to 1000, not 1.5',
      ],
      [
        () => session.revoke('k', { fence: undefined as never, reason: 'r' }),
        'INVALID_OPTION fence must be the fence of a lock, not undefined',
      ],
      [
        () => session.lock(''),
        'INVALID_KEY invalid key ""; use 1 to 512 bytes of UTF-8 without control characters',
      ],
      // The first element of the list is a hole.
      [
        () => session.lockAll(new Array(2).fill('k', 1)),
        'INVALID_OPTION lockAll takes keys, or objects with a key',
      ],
    ]
    for (const [act, expected] of cases) {
      const error = await refusalOf(act)
      expect(`${error?.code} ${error?.message}`).to.equal(expected)
    }
  })

  it('withLock and watch refuse a callback that is not a function', async () => {
    const { session, socket } = await openScriptedSession()
    const swapped = session.withLock('k', {} as never, (() => {}) as never)
    expect((await refusalOf(() => swapped))?.code).to.equal('INVALID_OPTION')
    const missing = session.withLock('k', undefined as never)
    expect((await refusalOf(() => missing))?.message).to.equal('callback must be a function')
    expect((await refusalOf(() => session.watch('k', 7 as never)))?.code).to.equal('INVALID_OPTION')
    // The client has sent nothing but its hello.
    expect(socket.sent).to.have.length(1)
  })

  it('a strategy refuses a wrong random function, and openTelemetry a wrong tracer', async () => {
    for (const act of [
      () => fixedInterval({ interval: 5 }, 0.5 as never),
      () => openTelemetry({} as never),
      () => openTelemetry(null as never),
    ]) {
      expect((await refusalOf(act))?.code).to.equal('INVALID_OPTION')
    }
  })

  it('session.locks.request ignores unknown options, as the Web Locks specification says', async () => {
    const { session, socket } = await openScriptedSession()
    void session.locks.request('k', { ifavailable: true } as never, () => {}).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))
    expect(socket.sent.at(-1)).to.deep.equal({ type: 'lock', id: 1, key: 'k' })
  })

  // This test omits `session.once`, for which every text is valid: a text that is not an event is
  // the key of a function that must run once.
  it('on and off refuse a misspelt event and a listener that is no function', async () => {
    const { session, socket } = await openScriptedSession()
    for (const method of ['on', 'off'] as const) {
      for (const [wrongName, rightName] of [
        ['lsot', 'lost'],
        ['Closed', 'closed'],
        ['jeopary', 'jeopardy'],
      ]) {
        const error = await refusalOf(() =>
          session[method](wrongName as never, (() => {}) as never),
        )
        expect(error?.message).to.equal(
          `a session has no event "${wrongName}": did you mean "${rightName}"?`,
        )
      }
      // Every object inherits the name `toString`.
      const inherited = await refusalOf(() =>
        session[method]('toString' as never, (() => {}) as never),
      )
      expect(inherited?.message).to.include('a session has no event "toString": it has jeopardy,')
      for (const wrongListener of [7, undefined, {}]) {
        const refusal = await refusalOf(() => session[method]('lost', wrongListener as never))
        expect(refusal?.code).to.equal('INVALID_OPTION')
        expect(refusal?.message).to.include('the listener must be a function')
      }
    }
    // The function `once` of Node also listens to `error`, so the session must accept this event.
    const closed = once(session as never, 'closed')
    void session.close()
    socket.end(1000)
    await closed
  })
})
