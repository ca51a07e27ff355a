/**
 * The packages as somebody gets them. With small counts: what would be in the tarballs, and that
 * their entries open. With full counts: packed, installed in an empty folder and used there, on the
 * command line. What compilers, bundlers and test runners make of
 * the packages is in `src/consumers`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { full } from '../support/counts.js'
import { runNpm } from './npm.js'
import { filesOf, filesUnder, manifest, packages } from './repository.js'
import { contents, installIn, type Packed, packOnce } from './tarballs.js'

const require = createRequire(import.meta.url)

const folderOf = (name: string): string => name.replace('@holdfast/', '')

/** What may be in a tarball, beside what is named by itself. */
const allowed =
  /^(package\.json|README\.md|LICENSE|src\/.*\.ts|dist\/.*\.((js|d\.ts)(\.map)?|cjs|d\.cts))$/

/** What a browser loads of the dashboard; its sources and its modules stay here. */
const page = ['index.html', 'app.js', 'app.css', 'icon.svg', 'licences.txt'].map(
  (name) => `dist/dashboard/page/${name}`,
)

/** Made from the help of the command. */
const manual = 'dist/man/holdfast.1'

/** For operators: pages, and what they deploy. */
const deployed = [...filesUnder('server/deploy', ''), ...filesUnder('server/docs', '.md')].map(
  ({ path }) => path.slice('server/'.length),
)

/** The licences of the libraries in the client's bundle. */
const bundleLicences = 'dist/bundle/holdfast.licences.txt'

const others = [
  bundleLicences,
  ...['PROTOCOL.md', 'bin/holdfast', 'grafana/holdfast.json', manual],
  ...page,
  ...deployed,
]

function checkFiles({ name, files }: Packed): void {
  const folder = folderOf(name)
  const paths = files.map(({ path }) => path)
  const odd = paths.filter((path) => !allowed.test(path) && !others.includes(path))
  assert.isEmpty(odd, `${name} ships what it should not`)
  assert.include(paths, 'README.md', name)
  const { main = '', types = '', exports = {}, imports = {}, bin = {} } = manifest(folder)
  const named = filesOf({ main, types, exports, imports, bin })
  for (const target of named) assert.include(paths, target.replace('./', ''), name)
  if (folder === 'client') assert.include(paths, bundleLicences)
  if (folder === 'server') assert.includeMembers(paths, [...page, manual, ...deployed])
  const unwanted = /^(src\/dashboard|dist\/dashboard\/(?!page\/))/
  assert.isEmpty(paths.filter((path) => unwanted.test(path)))
  for (const { path } of filesUnder(`${folder}/src`, '.ts')) {
    const source = path.slice(folder.length + 1)
    if (source.endsWith('.d.ts') || source.startsWith('src/dashboard/')) continue
    const built = source.replace('src/', 'dist/').replace(/\.ts$/, '')
    assert.includeMembers(paths, [source, `${built}.js`, `${built}.d.ts`, `${built}.js.map`])
  }
}

describe('the packages', () => {
  it('would ship their sources, their build and their types, and nothing else', () => {
    const packed = contents()
    assert.sameMembers(
      packed.map(({ name }) => folderOf(name)),
      [...packages],
    )
    for (const each of packed) checkFiles(each)
  })

  for (const folder of packages) {
    const { name, exports = {} } = manifest(folder)
    for (const entry of Object.keys(exports).filter((each) => !each.endsWith('.json'))) {
      it(`open at ${entry.replace('.', name)}`, async () => {
        const names = Object.keys(await import(entry.replace('.', name)))
        assert.isNotEmpty(names)
      })

      it(`give require() the same names at ${entry.replace('.', name)}`, async () => {
        const names = Object.keys(await import(entry.replace('.', name)))
        const required = Object.keys(require(entry.replace('.', name)))
        assert.sameMembers(required, names)
      })
    }
  }
})

if (full) {
  describe('the packages, installed from their tarballs', function () {
    this.timeout(300_000)
    let empty: string
    let packed: readonly Packed[]

    before(async () => {
      const tarballs = await packOnce()
      packed = tarballs.packed
      empty = join(tarballs.folder, 'empty')
      await installIn(empty, tarballs)
    })

    it('ship a fresh build with the licence, nothing stale', () => {
      for (const each of packed) {
        checkFiles(each)
        const paths = each.files.map(({ path }) => path)
        assert.include(paths, 'LICENSE', each.name)
        assert.notInclude(paths, 'dist/leftover.js', each.name)
      }
    })

    it('have a command that says its version', () => {
      const said = runNpm(empty, 'exec', '--no', '--', 'holdfast', '--version')
      assert.equal(said.trim(), manifest('server').version)
    })

    it('have a command that serves until it is told to stop', async () => {
      // Not through npx: where a shell stays in between, it keeps the signal to itself.
      const command = join(empty, 'node_modules/.bin/holdfast')
      const served = spawn(command, ['serve', '--port', '0'], { stdio: ['ignore', 'pipe', 'pipe'] })
      const ended = once(served, 'close')
      const [line] = await once(createInterface(served.stdout), 'line')
      assert.match(String(line), /^holdfast is listening on ws:/)
      served.kill('SIGTERM')
      const [code] = await ended
      assert.equal(code, 0)
    })
  })
}
