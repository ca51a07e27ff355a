/**
 * Scenarios about `query`, which lists locks and requests, and about the equality of names. `a`,
 * `b` and so on are the labels of requests; `x` and `y` are names of locks.
 */
import type { Script } from '../script.js'
import type { Scenario } from './scenario.js'

const fieldsOfQuery: Scenario = {
  title: 'query shows the name, the mode and the client of each lock and each request',
  async run(script) {
    // The locks and requests whose names have the prefix of this script.
    const ownLocks = await script.listOwn()
    script.record(`${ownLocks.held.length} ${ownLocks.pending.length}`)
    const requests = [
      script.request('a', 'x', { mode: 'shared' }),
      script.request('b', 'x', { mode: 'shared' }),
      script.request('c', 'x'),
    ]
    await script.untilQuiet()
    const state = await script.locks.query()
    const { held = [], pending = [] } = state
    script.record(`arrays: ${Array.isArray(state.held)} ${Array.isArray(state.pending)}`)
    const ownInfos = [...held, ...pending].filter(({ name }) => name?.startsWith(script.prefix))
    for (const info of ownInfos) {
      const { name, mode, clientId, ...more } = info
      script.record(`${name?.slice(script.prefix.length)} ${mode} ${JSON.stringify(more)}`)
      script.record(`client: ${typeof clientId === 'string' && clientId !== ''}`)
    }
    script.record(`clients: ${new Set(ownInfos.map(({ clientId }) => clientId)).size}`)
    const secondState = await script.locks.query()
    script.record(`a new object: ${secondState !== state}`)
    for (const request of requests) {
      request.release()
      await script.untilQuiet()
    }
    await script.recordState()
  },
  log: [
    ...['0 0', 'a: granted', 'b: granted', 'arrays: true true'],
    ...['x shared {}', 'client: true', 'x shared {}', 'client: true'],
    ...['x exclusive {}', 'client: true', 'clients: 1', 'a new object: true'],
    ...['a: done undefined', 'b: done undefined', 'c: granted', 'c: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const pendingOrder: Scenario = {
  title: 'query lists the pending requests of a name in the order of the requests',
  async run(script) {
    const gate = script.request('gate', 'x')
    await script.untilQuiet()
    const modes = ['shared', 'exclusive', 'exclusive', 'shared', 'exclusive'] as const
    const requests = []
    // The two clients make the requests by turns.
    for (const [i, mode] of modes.entries()) {
      requests.push(
        script.request(`${i}`, 'x', {
          mode,
          locks: i % 2 === 0 ? script.locks : script.otherLocks,
        }),
      )
      await script.untilQuiet()
    }
    await script.recordState()
    for (const request of [gate, ...requests]) {
      request.release()
      await script.untilQuiet()
    }
  },
  log: [
    'gate: granted',
    'held: x exclusive; pending: x shared, x exclusive, x exclusive, x shared, x exclusive',
    'gate: done undefined',
    ...['0', '1', '2', '3', '4'].flatMap((label) => [
      `${label}: granted`,
      `${label}: done undefined`,
    ]),
  ],
}

const queryInCallback: Scenario = {
  title: 'query may be called anywhere, also in the callback of a held lock',
  async run(script) {
    const name = `${script.prefix}x`
    await script.locks.request(name, async () => {
      await script.recordState()
    })
    await script.recordState()
    await script.locks.request(name, { ifAvailable: true }, () => script.recordState())
  },
  log: [
    'held: x exclusive; pending: nothing',
    'held: nothing; pending: nothing',
    'held: x exclusive; pending: nothing',
  ],
}

const deadlock: Scenario = {
  title: 'query shows which clients wait for each other in a deadlock',
  async run(script) {
    const a = script.request('a', 'x')
    const b = script.request('b', 'y', { locks: script.otherLocks })
    await script.untilQuiet()
    const c = script.request('c', 'y', { abortable: true })
    const d = script.request('d', 'x', { abortable: true, locks: script.otherLocks })
    await script.untilQuiet()
    const { held, pending } = await script.listOwn()
    script.record(`held: ${held.join(', ')}; pending: ${pending.sort().join(', ')}`)
    const state = await script.locks.query()
    const clientOf = (list: LockInfo[] = [], name: string) =>
      list.find((info) => info.name === script.prefix + name)?.clientId
    // Crossed: the client that holds one lock waits for the other lock.
    script.record(`crossed: ${clientOf(state.held, 'x') === clientOf(state.pending, 'y')}`)
    script.record(`crossed: ${clientOf(state.held, 'y') === clientOf(state.pending, 'x')}`)
    c.abort()
    d.abort()
    await script.untilQuiet()
    a.release()
    await script.untilQuiet()
    b.release()
    await script.untilQuiet()
  },
  log: [
    ...['a: granted', 'b: granted'],
    'held: x exclusive, y exclusive; pending: x exclusive, y exclusive',
    ...['crossed: true', 'crossed: true'],
    ...['c', 'd'].map((label) => `${label}: failed DOMException AbortError`),
    ...['a: done undefined', 'b: done undefined'],
  ],
}

/**
 * Names that all differ in UTF-16. Some look alike, and all lone surrogates become the same bytes
 * in UTF-8. The client escapes some names to keys with the prefix `~name:`. Other names look like
 * these keys.
 */
const names = [
  ...[
    '',
    '\0',
    '\0\0',
    '\uD800',
    '\uDC00',
    '\uDC00\uD800',
    '\uFFFD',
    '\u{10000}',
    'a',
    'A',
    ' ',
    ' a',
  ],
  ...[
    'é',
    'e\u0301',
    'a\0',
    '\n',
    '\r\n',
    '\u007F',
    '\u0080',
    '~name:',
    '~name:%0000',
    '%',
    '%0000',
  ],
  ...['~name:~name:', '~name:a', '%D800', 'a-', '%-', '/', '\\', '"', "'", '__proto__', '\u2028'],
  ...['constructor', '\u00ff'.repeat(100), '\0'.repeat(100), `${'\uD800'.repeat(100)}`, '锁', '🔒'],
]

/** Returns the name as a JSON string that has only ASCII characters. */
function inAscii(name: string): string {
  return JSON.stringify(name).replace(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/**
 * Holds the locks of all `names` at the same time, and logs whether each name came back unchanged.
 */
async function holdAll(script: Script): Promise<void> {
  const ends: (() => void)[] = []
  const settled = names.map((name) => {
    return script.locks.request(name, { ifAvailable: true }, (lock) => {
      script.record(`${inAscii(name)}: ${lock?.name === name}`)
      return new Promise<void>((resolve) => ends.push(resolve))
    })
  })
  await script.untilQuiet()
  const { held = [] } = await script.otherLocks.query()
  const listed = new Set(held.map(({ name }) => name))
  script.record(`listed: ${names.filter((name) => listed.has(name)).length}`)
  // A further request must get null, because the lock of each name is held.
  for (const name of names) {
    const secondLock = await script.otherLocks.request(name, { ifAvailable: true }, (lock) =>
      String(lock),
    )
    if (secondLock !== 'null') script.record(`${inAscii(name)} is held twice`)
  }
  for (const end of ends) end()
  await Promise.all(settled)
}

/** The number of names without lone surrogates. */
const wellFormedCount = names.filter((name) => !/\p{Cs}/u.test(name)).length

const anyName: Scenario = {
  title:
    'a name may be any string, and names that differ in one UTF-16 unit stand for different locks',
  run: holdAll,
  log: [...names.map((name) => `${inAscii(name)}: true`), `listed: ${names.length}`],
  chromium: {
    why: 'the query of Chromium shows lone surrogates as U+FFFD, though its locks distinguish them',
    log: [...names.map((name) => `${inAscii(name)}: true`), `listed: ${wellFormedCount}`],
  },
}

export const lookingScenarios: readonly Scenario[] = [
  fieldsOfQuery,
  pendingOrder,
  queryInCallback,
  deadlock,
  anyName,
]
