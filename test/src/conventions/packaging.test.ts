/**
 * Tests the packages as a user installs them. A quick run checks which files npm would pack, and
 * that all export paths can be imported. A full run also makes the tarballs, installs them in an
 * empty folder and runs the command `holdfast`. `src/consumers` tests the packages with compilers,
 * bundlers and test runners.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { assert } from 'chai'
import { isFullRun } from '../support/counts.js'
import { runNpm } from './npm.js'
import { filesOf, filesUnder, manifest, packages } from './repository.js'
import { installIn, type Packed, packOnce, tarballContents } from './tarballs.js'

const require = createRequire(import.meta.url)

const folderOf = (name: string): string => name.replace('@holdfast/', '')

/** The files that a tarball may have, in addition to the files in `otherFiles`. */
const allowed =
  /^(package\.json|README\.md|LICENSE|src\/.*\.ts|dist\/.*\.((js|d\.ts)(\.map)?|cjs|d\.cts))$/

/** The built page of the dashboard. The tarball has no other files of the dashboard. */
const dashboardFiles = ['index.html', 'app.js', 'app.css', 'icon.svg', 'licences.txt'].map(
  (name) => `dist/dashboard/page/${name}`,
)

const manual = 'dist/man/holdfast.1'

/** The files with which operators deploy the broker, and the documentation for operators. */
const operatorFiles = [...filesUnder('server/deploy', ''), ...filesUnder('server/docs', '.md')].map(
  ({ path }) => path.slice('server/'.length),
)
/** The documentation of the client. */
const clientDocs = filesUnder('client/docs', '.md').map(({ path }) => path.slice('client/'.length))

/** The licences of the libraries in two bundles: the client, and the client for several cells. */
const bundleLicences = ['holdfast', 'holdfast-cells'].map(
  (name) => `dist/bundle/${name}.licences.txt`,
)

const otherFiles = [
  ...bundleLicences,
  ...['PROTOCOL.md', 'bin/holdfast', 'grafana/holdfast.json', manual],
  ...dashboardFiles,
  ...operatorFiles,
  ...clientDocs,
]

/** Checks that a tarball has all necessary files and no other files. */
function checkFiles({ name, files }: Packed): void {
  const folder = folderOf(name)
  const paths = files.map(({ path }) => path)
  const unexpected = paths.filter((path) => !allowed.test(path) && !otherFiles.includes(path))
  assert.isEmpty(unexpected, `${name} must not ship these files`)
  assert.include(paths, 'README.md', name)
  const { main = '', types = '', exports = {}, imports = {}, bin = {} } = manifest(folder)
  const targets = filesOf({ main, types, exports, imports, bin })
  for (const target of targets) assert.include(paths, target.replace('./', ''), name)
  if (folder === 'client') assert.includeMembers(paths, [...bundleLicences, ...clientDocs])
  if (folder === 'server')
    assert.includeMembers(paths, [...dashboardFiles, manual, ...operatorFiles])
  const otherDashboardFiles = /^(src\/dashboard|dist\/dashboard\/(?!page\/))/
  assert.isEmpty(paths.filter((path) => otherDashboardFiles.test(path)))
  for (const { path } of filesUnder(`${folder}/src`, '.ts')) {
    const source = path.slice(folder.length + 1)
    if (source.endsWith('.d.ts') || source.startsWith('src/dashboard/')) continue
    const built = source.replace('src/', 'dist/').replace(/\.ts$/, '')
    assert.includeMembers(paths, [source, `${built}.js`, `${built}.d.ts`, `${built}.js.map`])
  }
}

describe('the packages', () => {
  it('ship their sources, their built files and their types, and no other files', () => {
    const packed = tarballContents()
    assert.sameMembers(
      packed.map(({ name }) => folderOf(name)),
      [...packages],
    )
    for (const tarball of packed) checkFiles(tarball)
  })

  for (const folder of packages) {
    const { name, exports = {} } = manifest(folder)
    for (const exportPath of Object.keys(exports).filter((path) => !path.endsWith('.json'))) {
      it(`can be imported as ${exportPath.replace('.', name)}`, async () => {
        const names = Object.keys(await import(exportPath.replace('.', name)))
        assert.isNotEmpty(names)
      })

      it(`export the same names to require() and import: ${exportPath.replace('.', name)}`, async () => {
        const names = Object.keys(await import(exportPath.replace('.', name)))
        const required = Object.keys(require(exportPath.replace('.', name)))
        assert.sameMembers(required, names)
      })
    }
  }
})

if (isFullRun) {
  describe('the packages, installed from their tarballs', function () {
    this.timeout(300_000)
    let installFolder: string
    let packed: readonly Packed[]

    before(async () => {
      const tarballs = await packOnce()
      packed = tarballs.packed
      installFolder = join(tarballs.folder, 'empty')
      await installIn(installFolder, tarballs)
    })

    it('ship a new build with the licence, and no files of a former build', () => {
      for (const tarball of packed) {
        checkFiles(tarball)
        const paths = tarball.files.map(({ path }) => path)
        assert.include(paths, 'LICENSE', tarball.name)
        // `packOnce` puts this file into each package before the build.
        assert.notInclude(paths, 'dist/leftover.js', tarball.name)
      }
    })

    it('have a command that prints its version', () => {
      const output = runNpm(installFolder, 'exec', '--no', '--', 'holdfast', '--version')
      assert.equal(output.trim(), manifest('server').version)
    })

    it('have a command that serves until SIGTERM', async () => {
      // The test does not use npx, which may start a shell that does not pass the signal on.
      const command = join(installFolder, 'node_modules/.bin/holdfast')
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
