/**
 * Holds the sources to the architecture's walls and to the budget. A rule is worth what it catches:
 * each is also shown a few planted lines that break it, and some that only look as if they did.
 */
import { assert } from 'chai'
import { homeless, opensWithComment, shortFiles, shortFunctions, shortLines } from './budget.js'
import { noCircles, reached } from './graph.js'
import { catches, file, holds } from './planting.js'
import {
  filesOf,
  filesUnder,
  type Manifest,
  manifest,
  packages,
  read,
  root,
  type SourceFile,
} from './repository.js'
import {
  browserSafe,
  declaredOnly,
  lightShared,
  meetInShared,
  oneClock,
  oneOutput,
  oneSocketLibrary,
  pureCore,
} from './walls.js'

/** Files that may be longer than the budget, and why. */
const longFiles: Readonly<Record<string, string>> = {
  'server/src/core/table.ts': 'one state machine; its parts would share all of its state',
}

const products = packages.flatMap((folder) => filesUnder(`${folder}/src`, '.ts', '.tsx'))
const tests = filesUnder('test', '.ts', '.mjs')
const written = filesUnder(
  '',
  '.ts',
  '.tsx',
  '.mjs',
  '.json',
  '.md',
  '.js',
  '.html',
  '.css',
  '.yml',
  'run',
)

const dependencies = Object.fromEntries(
  packages.map((folder) => {
    const { dependencies = {}, optionalDependencies = {} } = manifest(folder)
    return [folder, Object.keys({ ...dependencies, ...optionalDependencies })]
  }),
)

const bundled = Object.keys(manifest('server').devDependencies ?? {})

/** Where the bundle of the dashboard begins. */
const pageEntries: Readonly<Record<string, string>> = { server: 'server/src/dashboard/main.tsx' }

/** The source files that a package's manifest opens to the outside. */
function entriesOf(folder: string): string[] {
  const { exports = {}, imports = {}, bin = {} }: Manifest = manifest(folder)
  const started = Object.values(bin).map((launcher) => startedBy(folder, launcher))
  return [...filesOf({ exports, imports }), ...started]
    .filter((target) => target.endsWith('.js'))
    .map((target) => target.replace(/^\.\/dist/, `${folder}/src`).replace(/\.js$/, '.ts'))
    .concat(pageEntries[folder] ?? [])
}

/** What a shell script that starts Node names as its script. */
function startedBy(folder: string, launcher: string): string {
  const script = /\/\.\.(\/dist\/[\w/]+\.js)"/.exec(read(`${folder}/${launcher}`).text)?.[1]
  return `.${script}`
}

/** The source files that are started as threads, by the URL that a source file names. */
function threadsOf(folder: string): string[] {
  return within(folder, products).flatMap(({ path, text }) =>
    [...text.matchAll(/new URL\('\.\/(\w+)\.js', import\.meta\.url\)/g)].map(
      ([, name]) => `${path.slice(0, path.lastIndexOf('/'))}/${name}.ts`,
    ),
  )
}

describe('the walls', () => {
  it('the table imports nothing but types and a roster, and knows no clock, chance, timer or later', () => {
    holds(pureCore, products)
    catches(
      pureCore,
      'server/src/core/planted.ts',
      [
        `import { createHash } from 'node:crypto'`,
        `import { errorCodes } from '@holdfast/shared'`,
        `import { type Mode } from '@holdfast/shared'`,
        `export * from '../broker/broker.js'`,
        `const now = Date.now()`,
        `const later = (date: Date) => date`,
        `const { now } = performance`,
        `const chance = Math.random()`,
        `const { random } = Math`,
        `setTimeout(() => {}, 1)`,
        `queueMicrotask(run)`,
        `process.nextTick(run)`,
        `const d = globalThis['Date']`,
        `console.log(1)`,
        `async function f() {}`,
        `const p = Promise.resolve()`,
        `type P = Promise<void>`,
        `const id = crypto.randomUUID()`,
        `const m = await import('./table.js')`,
        `const s = AbortSignal.timeout(1)`,
      ],
      [
        `import type { Mode } from '@holdfast/shared'`,
        `import { Lock } from './records.js'`,
        `import { Roster } from '@holdfast/shared/idTable'`,
        `const most = Math.max(1, 2)`,
        `const since = request.process.Date // Date.now()`,
        `const words = { Date: 'setTimeout' }`,
      ],
    )
  })

  it('time and chance come from one place in each package', () => {
    holds(oneClock, products)
    const bad = [
      `const now = performance.now()`,
      `const timer = setTimeout(run, 1)`,
      `const at = new Date()`,
      `const r = Math.random()`,
      `import { randomBytes } from 'node:crypto'`,
      `import { setTimeout as sleep } from 'timers/promises'`,
      `import { nanoid } from 'nanoid'`,
      `const s = AbortSignal.timeout(5)`,
    ]
    const good = [`const now = clock.monotonic()`, `let s: AbortSignal | undefined`]
    catches(oneClock, 'server/src/broker/planted.ts', bad, good)
    catches(oneClock, 'client/src/planted.ts', bad, good)
    catches(oneClock, 'shared/src/planted.ts', bad, good)
    catches(oneClock, 'server/src/platform/environment.ts', [], bad)
  })

  it('the client runs in a browser: one of its files knows Node', () => {
    holds(browserSafe, products)
    const bad = [
      `import { once } from 'node:events'`,
      `import { readFileSync } from 'fs'`,
      `import type { Socket } from 'node:net'`,
      `import { WebSocket } from 'ws'`,
      `const quiet = process.env.QUIET`,
      `const bytes = Buffer.from('x')`,
      `const g = global`,
    ]
    catches(browserSafe, 'client/src/session/planted.ts', bad, [
      `import { X } from '#websocket'`,
      `declare global { interface X {} }`,
    ])
    catches(browserSafe, 'client/src/websocket/node.ts', [], bad)
  })

  it('client and server meet only in shared', () => {
    holds(meetInShared, products)
    catches(
      meetInShared,
      'client/src/planted.ts',
      [
        `import { createBroker } from '@holdfast/server'`,
        `import { createBroker } from '../../server/src/index.js'`,
        `import { validate } from '@holdfast/shared/clientChecks'`,
        `import type { Lock } from '@holdfast/server/core'`,
      ],
      [
        `import { HoldfastError } from '@holdfast/shared'`,
        `import { Roster } from '@holdfast/shared/idTable'`,
        `import { a } from './b.js'`,
      ],
    )
    const client = [`import { connect } from '@holdfast/client'`]
    catches(meetInShared, 'server/src/broker/planted.ts', client, [
      `import { validate } from '@holdfast/shared/clientChecks'`,
    ])
    catches(meetInShared, 'server/src/cli/run.ts', [], client)
    catches(meetInShared, 'shared/src/planted.ts', client, [])
  })

  it('the command line prints from one file', () => {
    holds(oneOutput, products)
    catches(
      oneOutput,
      'server/src/cli/planted.ts',
      [`console.log(key)`, `process.stdout.write(key)`, `process.stderr.write(key)`],
      [`process.stdout.on('error', () => {})`, `print(key)`],
    )
  })

  it('one file of the server imports ws', () => {
    holds(oneSocketLibrary, products)
    const one = file('server/src/a.ts', `import { WebSocketServer } from 'ws'`)
    const two = file('server/src/b.ts', `import type { WebSocket } from 'ws'`)
    assert.lengthOf(oneSocketLibrary([one, two]), 2)
    assert.isEmpty(oneSocketLibrary([one]))
  })

  it('what a browser loads of shared is without superstruct and Node', () => {
    holds(lightShared, products)
    catches(
      lightShared,
      'shared/src/index.ts',
      [
        `import { object } from 'superstruct'`,
        `export { validate } from './messages/clientChecks.js'`,
        `import { hash } from 'node:crypto'`,
      ],
      [
        `import type { Struct } from 'superstruct'`,
        `export type { R } from './messages/clientChecks.js'`,
      ],
    )
    catches(
      lightShared,
      'shared/src/messages/clientSchemas.ts',
      [],
      [`import { object } from 'superstruct'`],
    )
  })

  it('a package declares what it imports', () => {
    holds(declaredOnly(dependencies, bundled), products)
    const wall = declaredOnly({ server: ['ws', '@holdfast/shared'] })
    catches(
      wall,
      'server/src/planted.ts',
      [`import chai from 'chai'`, `import '@holdfast/client'`],
      [
        `import { WebSocket } from 'ws'`,
        `import { validate } from '@holdfast/shared/clientChecks'`,
        `import { join } from 'node:path'`,
      ],
    )
  })

  it('every source file is reached from an entry of its package', () => {
    const led = products.filter(({ path }) => !path.endsWith('.d.ts'))
    for (const folder of packages) {
      holds(reached([...entriesOf(folder), ...threadsOf(folder)]), within(folder, led))
    }
    const planted = [
      file('client/src/index.ts', `export type { A } from './a.js'`),
      file('client/src/a.ts', ''),
      file('client/src/dead.ts', `import './a.js'`),
    ]
    assert.deepEqual(reached(['client/src/index.ts'])(planted), [
      'client/src/dead.ts: nothing leads here',
    ])
  })

  it('no file needs itself over others', () => {
    for (const folder of packages) holds(noCircles, within(folder))
    const planted = [
      file('client/src/a.ts', `import { b } from './b.js'`),
      file('client/src/b.ts', `import { a } from './a.js'`),
      file('client/src/c.ts', `import type { d } from './d.js'`),
      file('client/src/d.ts', `import { c } from './c.js'`),
    ]
    assert.deepEqual(noCircles(planted), [
      'client/src/a.ts -> client/src/b.ts -> client/src/a.ts: a circle',
    ])
  })
})

describe('the budget', () => {
  it('500 lines a file', () => {
    holds(shortFiles(longFiles), [...products, ...tests])
    const [short, long] = [file('a.ts', 'x\n'.repeat(500)), file('b.ts', 'x\n'.repeat(501))]
    assert.deepEqual(shortFiles({})([short, long]), ['b.ts:501: more than 500 lines'])
    assert.deepEqual(shortFiles({ 'b.ts': 'it is one list' })([short, long]), [])
    assert.lengthOf(shortFiles({ 'a.ts': 'no longer' })([short]), 1)
  })

  it('70 lines a function', () => {
    holds(shortFunctions, products)
    const body = (lines: number) => `{\n${'f()\n'.repeat(lines - 2)}}`
    for (const open of ['function f()', 'const f = () =>', 'const o = { m()', 'class C { #m()']) {
      const close = /^c.*\{/.test(open) ? '}' : ''
      assert.isEmpty(shortFunctions([file('a.ts', `${open} ${body(70)}${close}`)]), open)
      assert.lengthOf(shortFunctions([file('a.ts', `${open} ${body(71)}${close}`)]), 1, open)
    }
  })

  it('100 columns', () => {
    holds(shortLines, [...products, ...tests])
    assert.isEmpty(shortLines([file('a.ts', 'x'.repeat(100))]))
    assert.deepEqual(shortLines([file('a.ts', `\n${'x'.repeat(101)}`)]), ['a.ts:2: 101 columns'])
    assert.isEmpty(shortLines([file('a.ts', `const text = '${'x'.repeat(101)}'`)]))
  })

  it('a file opens by saying what it is for', () => {
    holds(opensWithComment, [...products, ...tests])
    const said = '/** Says what it is for, and why. */\n'
    assert.isEmpty(
      opensWithComment([file('a.ts', said), file('b.ts', `#!/usr/bin/env node\n${said}`)]),
    )
    for (const text of ['', 'const a = 1', '/** Index. */', `const a = 1\n${said}`]) {
      assert.lengthOf(opensWithComment([file('a.ts', text)]), 1, text)
    }
  })

  it('nothing tells of the machine it was written on', () => {
    const places = [root.replace(/.$/, '')]
    holds(homeless(places), written)
    const home = ['', 'home', 'ann', 'holdfast'].join('/')
    assert.lengthOf(
      homeless(['/srv/x'])([file('a.md', `see ${home}`), file('b.md', '/srv/x/y')]),
      2,
    )
    assert.isEmpty(homeless(['/srv/x'])([file('a.md', 'https://example.org/home/ann /srv')]))
  })
})

function within(folder: string, files = products): SourceFile[] {
  return files.filter(({ path }) => path.startsWith(`${folder}/`))
}
