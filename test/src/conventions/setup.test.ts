/**
 * Tests the set-up, which installs and builds a clone before commands such as `npm start`.
 * `isInstalled` compares node_modules with the lock file. `fingerprintOf` shows whether files have
 * changed since the last build. `removeStale` removes built files whose sources were deleted.
 */
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assert } from 'chai'
import { root } from './repository.js'

/** The functions of `setup.mjs`. A project is a folder with a build: a package, or `test`. */
interface SetUp {
  isInstalled(folder: string): boolean
  removeStale(projectFolder: string): void
  fingerprintOf(folder: string, projectName: string): string
}

describe('the set-up', () => {
  let folder: string
  let setUp: SetUp

  before(async () => {
    setUp = await import(pathToFileURL(join(root, 'test/tools/setup.mjs')).href)
  })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-setup-'))
  })

  afterEach(() => rm(folder, { recursive: true, force: true }))

  /** Writes a file in `folder`. Content other than text is written as JSON. */
  async function write(path: string, content: unknown = ''): Promise<void> {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  }

  describe('fingerprintOf', () => {
    it('changes with each file that a build reads or writes, and with no other file', async () => {
      // The client is built from its own files and from the package `shared`.
      const files = ['shared/src/a/b.ts', 'shared/dist/a/b.js', 'client/package.json']
      for (const file of files) await write(file, 'one')
      let fingerprint = setUp.fingerprintOf(folder, 'client')
      assert.equal(setUp.fingerprintOf(folder, 'client'), fingerprint)
      await write('README.md', 'page')
      await write('server/src/c.ts', 'a source of another project')
      assert.equal(setUp.fingerprintOf(folder, 'client'), fingerprint)
      for (const file of [...files, 'client/src/new.ts', 'test/tools/build.mjs']) {
        await write(file, 'changed')
        const next = setUp.fingerprintOf(folder, 'client')
        assert.notEqual(next, fingerprint, file)
        fingerprint = next
      }
      await rm(join(folder, 'shared/dist/a/b.js'))
      assert.notEqual(setUp.fingerprintOf(folder, 'client'), fingerprint)
    })
  })

  describe('isInstalled', () => {
    const ws = { version: '8.0.0' }
    const workspace = { resolved: 'client', link: true }
    const forMac = { version: '1.0.0', optional: true }

    /** Calls isInstalled with `locked` in the lock file and `found` in node_modules. */
    async function isInstalled(locked: object, found: object): Promise<boolean> {
      await write('package-lock.json', { packages: { '': {}, ...locked } })
      await write('node_modules/.package-lock.json', { packages: found })
      return setUp.isInstalled(folder)
    }

    it('returns false without node_modules', async () => {
      await write('package-lock.json', { packages: { '': {} } })
      assert.isFalse(setUp.isInstalled(folder))
    })

    it('returns true if only optional packages are missing', async () => {
      const required = { 'node_modules/ws': ws, 'node_modules/@holdfast/client': workspace }
      assert.isTrue(await isInstalled({ ...required, 'node_modules/mac': forMac }, required))
    })

    it('returns false if a package is missing, differs, or is not locked', async () => {
      const locked = { 'node_modules/ws': ws }
      assert.isFalse(await isInstalled(locked, {}))
      assert.isFalse(await isInstalled(locked, { 'node_modules/ws': { version: '8.0.1' } }))
      assert.isFalse(await isInstalled(locked, { ...locked, 'node_modules/old': ws }))
      assert.isFalse(await isInstalled(locked, { 'node_modules/ws': { ...ws, link: true } }))
    })

    it('returns false after an interrupted installation', async () => {
      await write('package-lock.json', { packages: { '': {} } })
      await write('node_modules/.package-lock.json', '{"packages":')
      assert.isFalse(setUp.isInstalled(folder))
    })

    it('returns true for this clone', () => {
      assert.isTrue(setUp.isInstalled(root))
    })
  })

  describe('removeStale', () => {
    const endings = ['.js', '.js.map', '.d.ts', '.d.ts.map']

    it('removes the built files whose source is gone, and no other file', async () => {
      for (const ending of endings) {
        await write(`dist/kept/a${ending}`)
        await write(`dist/gone/b${ending}`)
        await write(`dist/c${ending}`)
      }
      await write('dist/.tsbuildinfo')
      await write('src/kept/a.ts')
      setUp.removeStale(folder)
      assert.sameMembers(await readdir(join(folder, 'dist')), ['.tsbuildinfo', 'kept'])
      assert.sameMembers(
        await readdir(join(folder, 'dist/kept')),
        endings.map((ending) => `a${ending}`),
      )
    })

    it('does nothing before the first build', async () => {
      await write('src/a.ts')
      setUp.removeStale(folder)
      assert.deepEqual(await readdir(folder), ['src'])
    })

    it('removes no file of a complete build', async () => {
      for (const part of ['src', 'dist']) {
        await cp(join(root, 'shared', part), join(folder, part), { recursive: true })
      }
      const built = await readdir(join(folder, 'dist'), { recursive: true })
      setUp.removeStale(folder)
      assert.deepEqual(await readdir(join(folder, 'dist'), { recursive: true }), built)
    })
  })
})
