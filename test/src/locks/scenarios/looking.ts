/** `query` and names: what `query` lists, and which names are equal. */
import type { Script } from '../script.js'
import type { Scenario } from './scenario.js'

const shape: Scenario = {
  title: 'query tells name, mode and client of each lock and each request',
  async run(script) {
    const own = await script.look()
    script.say(`${own.held.length} ${own.pending.length}`)
    const asked = [
      script.ask('a', 'x', { mode: 'shared' }),
      script.ask('b', 'x', { mode: 'shared' }),
      script.ask('c', 'x'),
    ]
    await script.calm()
    const state = await script.locks.query()
    const { held = [], pending = [] } = state
    script.say(`arrays: ${Array.isArray(state.held)} ${Array.isArray(state.pending)}`)
    const mine = [...held, ...pending].filter(({ name }) => name?.startsWith(script.prefix))
    for (const info of mine) {
      const { name, mode, clientId, ...more } = info
      script.say(`${name?.slice(script.prefix.length)} ${mode} ${JSON.stringify(more)}`)
      script.say(`client: ${typeof clientId === 'string' && clientId !== ''}`)
    }
    script.say(`clients: ${new Set(mine.map(({ clientId }) => clientId)).size}`)
    const again = await script.locks.query()
    script.say(`a new answer: ${again !== state}`)
    for (const each of asked) {
      each.release()
      await script.calm()
    }
    await script.sayState()
  },
  log: [
    ...['0 0', 'a: granted', 'b: granted', 'arrays: true true'],
    ...['x shared {}', 'client: true', 'x shared {}', 'client: true'],
    ...['x exclusive {}', 'client: true', 'clients: 1', 'a new answer: true'],
    ...['a: done undefined', 'b: done undefined', 'c: granted', 'c: done undefined'],
    'held: nothing; pending: nothing',
  ],
}

const pendingOrder: Scenario = {
  title: 'what is pending for a name is listed in the order of asking',
  async run(script) {
    const gate = script.ask('gate', 'x')
    await script.calm()
    const modes = ['shared', 'exclusive', 'exclusive', 'shared', 'exclusive'] as const
    const asked = []
    for (const [i, mode] of modes.entries()) {
      asked.push(script.ask(`${i}`, 'x', { mode }, i % 2 === 0 ? script.locks : script.far))
      await script.calm()
    }
    await script.sayState()
    for (const each of [gate, ...asked]) {
      each.release()
      await script.calm()
    }
  },
  log: [
    'gate: granted',
    'held: x exclusive; pending: x shared, x exclusive, x exclusive, x shared, x exclusive',
    'gate: done undefined',
    ...['0', '1', '2', '3', '4'].flatMap((each) => [`${each}: granted`, `${each}: done undefined`]),
  ],
}

const inside: Scenario = {
  title: 'query can be called anywhere, also while holding',
  async run(script) {
    const name = `${script.prefix}x`
    await script.locks.request(name, async () => {
      await script.sayState()
    })
    await script.sayState()
    await script.locks.request(name, { ifAvailable: true }, () => script.sayState())
  },
  log: [
    'held: x exclusive; pending: nothing',
    'held: nothing; pending: nothing',
    'held: x exclusive; pending: nothing',
  ],
}

const deadlock: Scenario = {
  title: 'query shows who waits for whom, also when nobody will ever get on',
  async run(script) {
    const a = script.ask('a', 'x')
    const b = script.ask('b', 'y', {}, script.far)
    await script.calm()
    const c = script.ask('c', 'y', { abortable: true })
    const d = script.ask('d', 'x', { abortable: true }, script.far)
    await script.calm()
    const { held, pending } = await script.look()
    script.say(`held: ${held.join(', ')}; pending: ${pending.sort().join(', ')}`)
    const state = await script.locks.query()
    const clientOf = (list: LockInfo[] = [], name: string) =>
      list.find((each) => each.name === script.prefix + name)?.clientId
    script.say(`crossed: ${clientOf(state.held, 'x') === clientOf(state.pending, 'y')}`)
    script.say(`crossed: ${clientOf(state.held, 'y') === clientOf(state.pending, 'x')}`)
    c.abort()
    d.abort()
    await script.calm()
    a.release()
    await script.calm()
    b.release()
    await script.calm()
  },
  log: [
    ...['a: granted', 'b: granted'],
    'held: x exclusive, y exclusive; pending: x exclusive, y exclusive',
    ...['crossed: true', 'crossed: true'],
    ...['c', 'd'].map((each) => `${each}: failed DOMException AbortError`),
    ...['a: done undefined', 'b: done undefined'],
  ],
}

/** Names that are all different, although many look alike or are equal in UTF-8. */
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

/** The name in ASCII. */
function spell(name: string): string {
  return JSON.stringify(name).replace(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

async function holdAll(script: Script): Promise<void> {
  const ends: (() => void)[] = []
  const settled = names.map((name) => {
    return script.locks.request(name, { ifAvailable: true }, (lock) => {
      script.say(`${spell(name)}: ${lock?.name === name}`)
      return new Promise<void>((resolve) => ends.push(resolve))
    })
  })
  await script.calm()
  const { held = [] } = await script.far.query()
  const listed = new Set(held.map(({ name }) => name))
  script.say(`listed: ${names.filter((name) => listed.has(name)).length}`)
  for (const name of names) {
    const state = await script.far.request(name, { ifAvailable: true }, (lock) => String(lock))
    if (state !== 'null') script.say(`${spell(name)} is held twice`)
  }
  for (const end of ends) end()
  await Promise.all(settled)
}

const wellFormed = names.filter((name) => !/\p{Cs}/u.test(name)).length

const anyName: Scenario = {
  title: 'a name may be anything, and two names are the same only if every unit is',
  run: holdAll,
  log: [...names.map((name) => `${spell(name)}: true`), `listed: ${names.length}`],
  chromium: {
    why: 'its query spells lone surrogates as U+FFFD, though it tells them apart when it locks',
    log: [...names.map((name) => `${spell(name)}: true`), `listed: ${wellFormed}`],
  },
}

export const lookingScenarios: readonly Scenario[] = [
  shape,
  pendingOrder,
  inside,
  deadlock,
  anyName,
]
