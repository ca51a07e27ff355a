/**
 * The Markdown pages must be true: the targets of links, the named npm scripts and the imported
 * names exist. The tables of limits and error codes are complete. Also tests the parsers of pages.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { settingsFrom } from '@holdfast/server/internal'
import { errorCodes } from '@holdfast/shared'
import { assert } from 'chai'
import {
  anchors,
  firstCommandsByTerminal,
  firstExample,
  localLinks,
  namedImports,
  namedScripts,
} from './docs.js'
import { filesUnder, manifest, packages, read, root } from './repository.js'

const pages = filesUnder('', '.md')
const scripts = Object.keys(manifest('').scripts ?? {})

/** Makes a page for the test of the parsers. */
function page(text: string, path = 'docs/page.md'): { path: string; text: string } {
  return { path, text }
}

describe('the pages', () => {
  it('include a README for each package and the usual pages of a project', () => {
    const usual = [
      'README.md',
      'ARCHITECTURE.md',
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'SECURITY.md',
    ]
    for (const name of [...usual, ...packages.map((folder) => `${folder}/README.md`)]) {
      assert.isTrue(existsSync(join(root, name)), name)
    }
  })

  for (const docPage of pages) {
    it(`${docPage.path}: the targets of the links exist`, () => {
      for (const { path, heading } of localLinks(docPage)) {
        assert.isTrue(existsSync(join(root, path)), `to ${path}`)
        if (heading !== undefined) assert.include(anchors(read(path)), heading, `in ${path}`)
      }
    })

    it(`${docPage.path}: the npm scripts in the text exist`, () => {
      assert.includeMembers(scripts, namedScripts(docPage))
    })

    it(`${docPage.path}: the packages export the names that the examples import`, async () => {
      for (const { from, names } of namedImports(docPage)) {
        assert.includeMembers(Object.keys(await import(from)), names, from)
      }
    })
  }

  it('of a package link only to files in the tarball of the package', () => {
    for (const folder of packages) {
      const inTarball = new RegExp(
        `^${folder}/(dist|src|docs|deploy|grafana|PROTOCOL|README|LICENSE)`,
      )
      // Of the files in `src`, a tarball has only the TypeScript sources.
      const packed = filesUnder(folder, '.md').filter(
        ({ path }) => !path.startsWith(`${folder}/src/`),
      )
      assert.isNotEmpty(packed)
      for (const docPage of packed) {
        for (const { path } of localLinks(docPage)) assert.match(path, inTarball, docPage.path)
      }
    }
  })

  it('show the same first commands in the READMEs of the repository, client and server', () => {
    const [first, ...others] = ['README.md', 'client/README.md', 'server/README.md'].map((path) =>
      firstCommandsByTerminal(read(path)),
    )
    // The first command, which `slice` omits, is `git clone` with the address of the repository.
    assert.deepEqual(first?.[0]?.slice(1), ['cd holdfast', 'npm start'])
    for (const other of others) assert.deepEqual(other, first)
  })

  it('do not tell users to install Holdfast from a registry, because no package is published', () => {
    for (const { path, text } of pages) {
      assert.notMatch(text, /^\s*(npm (i|install|add)|npx -p) .*@holdfast\//m, path)
    }
  })

  it('list every limit of the broker with its default', () => {
    const rows = rowsOf(read('server/README.md').text, /^`\w+`$/)
    for (const [name, value] of Object.entries(settingsFrom({}).limits)) {
      const row = rows.find(([cell]) => cell === `\`${name}\``)
      // Only the default of `memoryBytes` depends on the machine.
      const shown = name === 'memoryBytes' ? "half of V8's heap limit" : value.toLocaleString('en')
      assert.equal(row?.[1], shown, name)
    }
  })

  it('list every error code with its meaning, and no others', () => {
    const rows = rowsOf(read('shared/README.md').text, /^`[A-Z_]+`$/)
    const expected = Object.entries(errorCodes).map(([code, meaning]) => [`\`${code}\``, meaning])
    assert.sameDeepMembers(rows, expected)
  })
})

describe('the parsers of pages', () => {
  it('find links, anchors, scripts, imports, commands and examples', () => {
    const links = localLinks(
      page('[a](../x.md#the-end) `[b](c)` [d](https://e.org)\n```\n[f](g)\n```'),
    )
    assert.deepEqual(links, [{ path: 'x.md', heading: 'the-end' }])
    assert.deepEqual(anchors(page('# One `two`, *three*\n## §5. Time: what')), [
      'one-two-three',
      '5-time-what',
    ])
    assert.deepEqual(namedScripts(page('`npm run test:ci`, or npm start')), ['test:ci', 'start'])
    assert.deepEqual(
      namedImports(
        page("`import { a } from '@holdfast/a'`\n```js\nimport { b, c } from '@holdfast/d/e'\n```"),
      ),
      [{ from: '@holdfast/d/e', names: ['b', 'c'] }],
    )
    assert.isUndefined(firstCommandsByTerminal(page('```sh\na\n```')))
    // The parser returns only the first two blocks after the mark, as one list each.
    const shellBlocks = '```sh\na # b\n```\ntext\n```sh\nc "#d"\ne    # f\n```\n```sh\ng\n```\n'
    const commands = page(`<!-- first commands -->\n${shellBlocks}`)
    assert.deepEqual(firstCommandsByTerminal(commands), [['a'], ['c "#d"', 'e']])
    assert.isUndefined(firstExample(page('```js\nf()\n```')))
    const marked = page('```sh\nx\n```\n<!-- first example -->\n\n```js\nf()\n\ng()\n```\n')
    assert.deepEqual(firstExample(marked), { language: 'js', code: 'f()\n\ng()' })
  })
})

/** The table rows whose first cell matches, as lists of cells. */
function rowsOf(text: string, firstCell: RegExp): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter(([cell = '']) => firstCell.test(cell))
}
