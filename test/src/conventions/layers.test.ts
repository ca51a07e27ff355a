/**
 * Checks the imports of every source file with dependency-cruiser. The folders of a package are
 * layers, and a layer may import only earlier layers. The tests also check the rules with planted
 * files: files that break a rule, and similar files that break no rule.
 */
import { assert } from 'chai'
import {
  type Cruise,
  cruisePlanted,
  cruiseSources,
  entriesOf,
  layers,
  packageSources,
  undeclared,
  unreachable,
} from './layers.js'
import { manifest, packages } from './repository.js'

/** How long dependency-cruiser may take on a machine with a high load, in ms. */
const cruiseTimeoutMs = 300_000

/** The npm packages that the package.json beside `src` allows a source file to import. */
function declaredBy(file: string): string[] {
  const [folder = ''] = file.split('/')
  const { dependencies, optionalDependencies, devDependencies, peerDependencies } = manifest(folder)
  // The bundle of the dashboard contains these libraries, so users do not install them.
  const bundled = file.startsWith('server/src/dashboard/') ? devDependencies : {}
  // Only the entry for React needs the peer dependencies.
  const forReact = file.startsWith('client/src/react/') ? peerDependencies : {}
  return Object.keys({ ...dependencies, ...optionalDependencies, ...bundled, ...forReact })
}

describe('the imports of the packages', () => {
  let sources: Cruise

  before(async function () {
    this.timeout(cruiseTimeoutMs)
    const rules = packages.map((folder) => unreachable(folder, entriesOf(folder)))
    sources = await cruiseSources(rules)
  })

  it('are read by dependency-cruiser in every source file', () => {
    assert.sameMembers(
      sources.modules.map(({ source }) => source),
      packageSources(),
    )
    // dependency-cruiser must also read the imports of types.
    const imports = sources.modules.flatMap(({ dependencies }) => dependencies)
    assert.isTrue(imports.some(({ dependencyTypes }) => dependencyTypes.includes('type-only')))
  })

  it('go from later layers to earlier layers, without cycles', () => {
    const found = sources.violations.map(({ rule, from, to }) => `${rule}: ${from} -> ${to}`)
    assert.deepEqual(found, [])
  })

  it('use only packages that the package.json of the importing package declares', () => {
    assert.deepEqual(undeclared(sources.modules, declaredBy), [])
  })

  it('are in files that belong to a layer', () => {
    const layerPatterns = Object.entries(layers).map(
      ([folder, names]) => new RegExp(`^${folder}/(${names.join('|')})(/|\\.ts$)`),
    )
    // The dashboard runs in a browser and is not part of the broker, so it has no layer.
    const outsideLayers = packageSources().filter(
      (path) =>
        !path.startsWith('server/src/dashboard/') &&
        !layerPatterns.some((pattern) => pattern.test(path)),
    )
    assert.deepEqual(outsideLayers, [])
  })
})

describe('the rules for imports', () => {
  it('catch an import of a later layer, even an import of a type', async () => {
    const { violations } = await cruisePlanted({
      'server/src/config/planted.ts': `import type { Log } from '../log/log.js'\nexport type L = Log`,
      'server/src/broker/good.ts': `import type { Log } from '../log/log.js'\nexport type L = Log`,
      'server/src/log/log.ts': 'export interface Log {}',
    })
    assert.deepEqual(violations, [
      {
        rule: 'server/src/config imports no later layer',
        from: 'server/src/config/planted.ts',
        to: 'server/src/log/log.ts',
      },
    ])
  })

  it('catch a cycle of folders without a cycle of files', async () => {
    const { violations } = await cruisePlanted({
      'server/src/broker/one/a.ts': `import type { B } from '../two/b.js'\nexport type A = B`,
      'server/src/broker/two/b.ts': 'export interface B {}',
      'server/src/broker/two/c.ts': `import { d } from '../one/d.js'\nexport const c = d`,
      'server/src/broker/one/d.ts': 'export const d = 1',
    })
    const rules = new Set(violations.map(({ rule }) => rule))
    assert.deepEqual([...rules], ['no folder imports itself through other folders'])
  })

  it('catch a cycle of files in one folder, even if they import only types', async () => {
    const { violations } = await cruisePlanted({
      'server/src/broker/a.ts': `import type { B } from './b.js'\nexport interface A { b: B }`,
      'server/src/broker/b.ts': `import type { A } from './a.js'\nexport interface B { a: A }`,
      'server/src/broker/c.ts': `import type { A } from './a.js'\nexport type C = A`,
    })
    // `c.ts` imports a file of the cycle, but is not part of the cycle.
    const rules = new Set(violations.map(({ rule }) => rule))
    assert.deepEqual([...rules], ['no file imports itself through other files'])
  })

  it('catch a file that no entry of the package loads', async () => {
    const { violations } = await cruisePlanted(
      {
        'client/src/index.ts': `export type { A } from './options.js'`,
        'client/src/options.ts': 'export interface A {}',
        'client/src/connect.ts': `import './options.js'`,
      },
      [unreachable('client', ['client/src/index.ts'])],
    )
    assert.deepEqual(
      violations.map(({ to }) => to),
      ['client/src/connect.ts'],
    )
  })

  it('catch an import of a package that package.json does not declare', async () => {
    const { modules } = await cruisePlanted({
      'server/src/a.ts': `import chai from 'chai'\nimport '@holdfast/client'`,
      'server/src/b.ts': `import { WebSocket } from 'ws'\nimport { join } from 'node:path'`,
      'server/src/c.ts': `import { validate } from '@holdfast/shared/clientChecks'`,
    })
    assert.sameMembers(
      undeclared(modules, () => ['ws', '@holdfast/shared']),
      ['server/src/a.ts imports chai', 'server/src/a.ts imports @holdfast/client'],
    )
  })

  it('allow the devDependencies of the server only in the dashboard', async () => {
    // esbuild is a dependency of `test`, because the bundle does not contain esbuild.
    const { modules } = await cruisePlanted({
      'server/src/dashboard/a.ts': `import { render } from 'preact'`,
      'server/src/dashboard/b.ts': `import 'esbuild'`,
      'server/src/broker/c.ts': `import { render } from 'preact'`,
    })
    assert.sameMembers(undeclared(modules, declaredBy), [
      'server/src/dashboard/b.ts imports esbuild',
      'server/src/broker/c.ts imports preact',
    ])
  })

  it('allow React only in client/src/react', async () => {
    const { modules } = await cruisePlanted({
      'client/src/react/a.ts': `import { useState } from 'react'`,
      'client/src/locks/b.ts': `import { useState } from 'react'`,
    })
    assert.sameMembers(undeclared(modules, declaredBy), ['client/src/locks/b.ts imports react'])
  })
})

/** Lines for planted files. Each line gets a file of its own. */
interface Planting {
  /** How the paths of the files begin. */
  readonly at: string
  /** Lines that a rule forbids. */
  readonly bad?: readonly string[]
  /** Lines that all rules allow. */
  readonly good?: readonly string[]
}

interface PlantedLine {
  readonly title: string
  readonly path: string
  readonly line: string
  readonly isBad: boolean
}

/** The files that planted lines import. */
const targets = {
  'shared/src/messages/checkClientMessage.ts': 'export type R = 1\nexport const validate = 1',
  'server/src/core/records.ts': 'export class Lock {}',
  'server/src/index.ts': 'export const createBroker = 1',
  'server/src/dashboard/theme.ts': 'export const theme = 1',
  'server/src/limits.ts': 'export const limits = 1',
  'client/src/limits.ts': 'export const limits = 1',
}

/** The planted lines by the titles of their tests. */
const plantings: Readonly<Record<string, readonly Planting[]>> = {
  'imports of values (not types) in the core': [
    {
      at: 'server/src/core/',
      bad: [
        `import { createHash } from 'node:crypto'`,
        `import { errorCodes } from '@holdfast/shared'`,
        `export * from '../limits.js'`,
        `const m = await import('./records.js')`,
      ],
      good: [
        `import type { Mode } from '@holdfast/shared'`,
        `import { Lock } from './records.js'`,
        `import { IdTable } from '@holdfast/shared/idTable'`,
      ],
    },
  ],
  'imports of time, randomness and threads': [
    ...['server/src/broker/', 'client/src/', 'shared/src/'].map((at) => ({
      at,
      bad: [
        `import { randomBytes } from 'node:crypto'`,
        `import { setTimeout as sleep } from 'timers/promises'`,
        `import { nanoid } from 'nanoid'`,
        `import { Worker } from 'node:worker_threads'`,
      ],
    })),
    {
      at: 'server/src/cli/',
      good: [`import { randomBytes } from 'node:crypto'`, `import { nanoid } from 'nanoid'`],
    },
    { at: 'server/src/log/journal/', good: [`import { Worker } from 'node:worker_threads'`] },
  ],
  'imports of Node in the client': [
    {
      at: 'client/src/session/',
      bad: [
        `import { once } from 'node:events'`,
        `import { readFileSync } from 'fs'`,
        `import type { Socket } from 'node:net'`,
        `import { WebSocket } from 'ws'`,
      ],
    },
  ],
  'imports between packages': [
    {
      at: 'client/src/',
      bad: [
        `import { createBroker } from '@holdfast/server'`,
        `import { createBroker } from '../../server/src/index.js'`,
        `import { validate } from '@holdfast/shared/clientChecks'`,
        `import type { Lock } from '@holdfast/server/core'`,
      ],
      good: [
        `import { HoldfastError } from '@holdfast/shared'`,
        `import { IdTable } from '@holdfast/shared/idTable'`,
        `import { limits } from './limits.js'`,
      ],
    },
    {
      at: 'server/src/broker/',
      bad: [
        `import { connect } from '@holdfast/client'`,
        `import { theme } from '../dashboard/theme.js'`,
      ],
      good: [`import { validate } from '@holdfast/shared/clientChecks'`],
    },
    {
      at: 'server/src/cli/',
      bad: [`import { connect } from '@holdfast/client'`],
      good: [
        `import type { Session } from '@holdfast/client'`,
        `const { connect } = await import('@holdfast/client')`,
      ],
    },
    { at: 'shared/src/', bad: [`import { connect } from '@holdfast/client'`] },
    {
      at: 'server/src/dashboard/',
      bad: [
        `import { limits } from '../limits.js'`,
        `import { createBroker } from '../index.js'`,
        `import type { Lock } from '../core/records.js'`,
        `import { isKey } from '@holdfast/shared'`,
        `import { SessionController } from '@holdfast/client/internal'`,
        `import { once } from 'node:events'`,
      ],
      good: [`import { connect } from '@holdfast/client'`, `import { theme } from './theme.js'`],
    },
    { at: 'server/src/cli/', bad: [`import { theme } from '../dashboard/theme.js'`] },
  ],
  'imports of ws in the server': [
    {
      at: 'server/src/broker/',
      bad: [`import { WebSocketServer } from 'ws'`, `import type { WebSocket } from 'ws'`],
    },
    // The rule allows the files in `http` whose names begin with `webSocket`.
    { at: 'server/src/http/webSocket', good: [`import { WebSocketServer } from 'ws'`] },
  ],
  'imports in shared that a browser must not load': [
    {
      at: 'shared/src/',
      bad: [
        `import { object } from 'superstruct'`,
        `export { validate } from './messages/checkClientMessage.js'`,
        `import { hash } from 'node:crypto'`,
      ],
      good: [
        `import type { Struct } from 'superstruct'`,
        `export type { R } from './messages/checkClientMessage.js'`,
      ],
    },
  ],
}

// The title of each test continues this title.
describe('the rules for imports catch only forbidden', () => {
  const files: Record<string, string> = { ...targets }
  const planted: PlantedLine[] = []
  /** The rules that each planted file breaks, by the path of the file. */
  const brokenRules = new Map<string, string[]>()

  for (const [title, places] of Object.entries(plantings)) {
    for (const { at, bad = [], good = [] } of places) {
      for (const line of [...bad, ...good]) {
        const path = `${at}planted${planted.length}.ts`
        files[path] = `${line}\nexport {}`
        planted.push({ title, path, line, isBad: bad.includes(line) })
      }
    }
  }

  before(async function () {
    this.timeout(cruiseTimeoutMs)
    const { violations } = await cruisePlanted(files)
    for (const { from, rule } of violations) {
      brokenRules.set(from, [...(brokenRules.get(from) ?? []), rule])
    }
  })

  for (const title of Object.keys(plantings)) {
    it(title, () => {
      for (const { path, line, isBad } of planted.filter((each) => each.title === title)) {
        const rules = brokenRules.get(path) ?? []
        if (isBad) assert.isNotEmpty(rules, `not caught in ${path}: ${line}`)
        else assert.deepEqual(rules, [], `caught in ${path}: ${line}`)
      }
    })
  }
})
