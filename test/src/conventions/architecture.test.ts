/**
 * Checks that the sources keep the rules of this project. `holds` checks the sources. `catches`
 * checks the rule itself, with a planted file at a path: first the lines that the rule must find
 * there, then the lines that it must allow.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { assert } from 'chai'
import { catches, file, holds } from './planting.js'
import { filesUnder, packages, root } from './repository.js'
import {
  browserSafe,
  hasNoLocalPath,
  oneClock,
  oneOutput,
  opensWithComment,
  pureCore,
  shortLines,
} from './sourceRules.js'

const products = packages.flatMap((folder) => filesUnder(`${folder}/src`, '.ts', '.tsx'))
const tests = filesUnder('test', '.ts', '.mjs')
const textFiles = filesUnder(
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
  // The script `.ci/run`.
  'run',
)

describe('the sources', () => {
  it('use no clock, randomness, timer or promise in the lock table (server/src/core)', () => {
    holds(pureCore, products)
    catches(
      pureCore,
      'server/src/core/planted.ts',
      [
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
        `const s = AbortSignal.timeout(1)`,
      ],
      [
        `const most = Math.max(1, 2)`,
        `const since = request.process.Date // Date.now()`,
        `const words = { Date: 'setTimeout' }`,
      ],
    )
  })

  it('get time and randomness from one place in each package', () => {
    holds(oneClock, products)
    const directUses = [
      `const now = performance.now()`,
      `const timer = setTimeout(run, 1)`,
      `const at = new Date()`,
      `const r = Math.random()`,
      `const s = AbortSignal.timeout(5)`,
    ]
    const allowedLines = [`const now = clock.monotonic()`, `let s: AbortSignal | undefined`]
    catches(oneClock, 'server/src/broker/planted.ts', directUses, allowedLines)
    catches(oneClock, 'client/src/planted.ts', directUses, allowedLines)
    catches(oneClock, 'shared/src/planted.ts', directUses, allowedLines)
    catches(oneClock, 'server/src/platform/environment.ts', [], directUses)
    const directUsesInPage = [`const now = performance.now()`, `requestAnimationFrame(run)`]
    const allowedInPage = [`const now = environment.now()`]
    catches(oneClock, 'server/src/dashboard/feed/planted.ts', directUsesInPage, allowedInPage)
    catches(oneClock, 'server/src/dashboard/pageEnvironment.ts', [], directUsesInPage)
  })

  it('use no globals of Node in files that run in a browser', () => {
    holds(browserSafe, products)
    const usesOfNode = [
      `const quiet = process.env.QUIET`,
      `const bytes = Buffer.from('x')`,
      `const g = global`,
    ]
    catches(browserSafe, 'client/src/session/planted.ts', usesOfNode, [
      `import { X } from '#websocket'`,
      `declare global { interface X {} }`,
    ])
    catches(browserSafe, 'client/src/platform/webSocket/node.ts', [], usesOfNode)
    catches(browserSafe, 'client/src/platform/webSocket/nodeFrames.ts', [], usesOfNode)
    catches(browserSafe, 'server/src/dashboard/ui/planted.tsx', usesOfNode, [
      `const a = <b>{1}</b>`,
    ])
    catches(browserSafe, 'shared/src/index.ts', usesOfNode, [])
  })

  it('let the command `holdfast` print from only one file', () => {
    holds(oneOutput, products)
    catches(
      oneOutput,
      'server/src/cli/planted.ts',
      [`console.log(key)`, `process.stdout.write(key)`, `process.stderr.write(key)`],
      [`process.stdout.on('error', () => {})`, `print(key)`],
    )
  })
})

describe('the text of the repository', () => {
  it('has at most 500 lines a file, 70 lines a function, no import cycle and no inline type import', () => {
    const lines = (count: number) => `/** Planted. */\n${'f()\n'.repeat(count - 1)}`
    const starts = ['function f()', 'const f = () =>', 'const o = { m()', 'class C { #m()']
    const functions = (count: number) =>
      starts.map((start) => {
        // A method also needs the closing brace of its object or class, on the same line. The
        // pattern matches the two starts with a method: they begin with `c`, and have a brace.
        const end = /^c.*\{/.test(start) ? '}' : ''
        return `${start} {\n${'f()\n'.repeat(count - 2)}}${end}`
      })
    const found = lint({
      'server/src/short.ts': lines(500),
      'server/src/long.ts': lines(501),
      ...plantedFiles(functions(70), (index) => `server/src/short${index}.ts`),
      ...plantedFiles(functions(71), (index) => `server/src/long${index}.ts`),
      'server/src/cycleA.ts': `import type { B } from './cycleB.js'\nexport type A = B | 1`,
      'server/src/cycleB.ts': `import type { A } from './cycleA.js'\nexport type B = A | 2`,
      'server/src/core/type.ts': `import { type M } from '@holdfast/shared'\nexport type N = M`,
    })
    assert.sameMembers(found, [
      'server/src/long.ts: noExcessiveLinesPerFile',
      ...starts.map((_, index) => `server/src/long${index}.ts: noExcessiveLinesPerFunction`),
      'server/src/cycleA.ts: noImportCycles',
      'server/src/cycleB.ts: noImportCycles',
      // The compiler would keep `import { type M }` as an import without names, at run time.
      'server/src/core/type.ts: useImportType',
    ])
  })

  it('has at most 100 columns', () => {
    holds(shortLines, [...products, ...tests])
    assert.isEmpty(shortLines([file('a.ts', 'x'.repeat(100))]))
    assert.deepEqual(shortLines([file('a.ts', `\n${'x'.repeat(101)}`)]), ['a.ts:2: 101 columns'])
    // A long text is allowed, because the formatter cannot break the text.
    assert.isEmpty(shortLines([file('a.ts', `const text = '${'x'.repeat(101)}'`)]))
  })

  it('opens each file with a comment that says what the file is for', () => {
    holds(opensWithComment, [...products, ...tests])
    const opening = '/** Says what it is for, and why. */\n'
    assert.isEmpty(
      opensWithComment([file('a.ts', opening), file('b.ts', `#!/usr/bin/env node\n${opening}`)]),
    )
    // The comment needs five words, and must be the first text of the file.
    for (const text of ['', 'const a = 1', '/** Index. */', `const a = 1\n${opening}`]) {
      assert.lengthOf(opensWithComment([file('a.ts', text)]), 1, text)
    }
  })

  it('contains no path of the computer of its author', () => {
    // The path without the slash at its end.
    const folders = [root.replace(/.$/, '')]
    holds(hasNoLocalPath(folders), textFiles)
    // Joined from parts, because this file must contain no such path either.
    const home = ['', 'home', 'ann', 'holdfast'].join('/')
    assert.lengthOf(
      hasNoLocalPath(['/srv/x'])([file('a.md', `see ${home}`), file('b.md', '/srv/x/y')]),
      2,
    )
    assert.isEmpty(hasNoLocalPath(['/srv/x'])([file('a.md', 'https://example.org/home/ann /srv')]))
  })
})

/** The rules of Biome that these files break, as "path: rule". Writes the files to a new folder. */
function lint(files: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-lint-'))
  try {
    copyFileSync(join(root, 'biome.json'), join(folder, 'biome.json'))
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
    const args = [biome, 'lint', '--vcs-enabled=false', '--reporter=github', '.']
    const { stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
    // The planted files use nothing that they declare, so the rules about unused code do not count.
    return [...stdout.matchAll(/title=lint\/\w+\/(?!noUnused)(\w+),file=([^,]+),/g)].map(
      ([, rule, path]) => `${relative(folder, resolve(folder, path ?? ''))}: ${rule}`,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Planted files with these texts. The path of a file depends on the index of its text. */
function plantedFiles(
  texts: readonly string[],
  pathOf: (index: number) => string,
): Record<string, string> {
  return Object.fromEntries(texts.map((text, index) => [pathOf(index), text]))
}
