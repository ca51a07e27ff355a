/** The set-up before every run: what it takes for installed, and what it removes as stale. */
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assert } from 'chai'
import { root } from './repository.js'

interface SetUp {
  isInstalled(folder: string): boolean
  removeStale(project: string): void
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

  async function write(path: string, content: unknown = ''): Promise<void> {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  }

  describe('of what is installed', () => {
    const ws = { version: '8.0.0' }
    const own = { resolved: 'client', link: true }
    const forMac = { version: '1.0.0', optional: true }

    async function isInstalled(wanted: object, found: object): Promise<boolean> {
      await write('package-lock.json', { packages: { '': {}, ...wanted } })
      await write('node_modules/.package-lock.json', { packages: found })
      return setUp.isInstalled(folder)
    }

    it('sees that nothing is', async () => {
      await write('package-lock.json', { packages: { '': {} } })
      assert.isFalse(setUp.isInstalled(folder))
    })

    it('sees that all is, and does not ask for what is for other platforms', async () => {
      const wanted = { 'node_modules/ws': ws, 'node_modules/@holdfast/client': own }
      assert.isTrue(await isInstalled({ ...wanted, 'node_modules/mac': forMac }, wanted))
    })

    it('sees what is missing, of another version, or too much', async () => {
      const wanted = { 'node_modules/ws': ws }
      assert.isFalse(await isInstalled(wanted, {}))
      assert.isFalse(await isInstalled(wanted, { 'node_modules/ws': { version: '8.0.1' } }))
      assert.isFalse(await isInstalled(wanted, { ...wanted, 'node_modules/old': ws }))
      assert.isFalse(await isInstalled(wanted, { 'node_modules/ws': { ...ws, link: true } }))
    })

    it('sees an installation that was broken off', async () => {
      await write('package-lock.json', { packages: { '': {} } })
      await write('node_modules/.package-lock.json', '{"packages":')
      assert.isFalse(setUp.isInstalled(folder))
    })

    it('is content with this clone', () => {
      assert.isTrue(setUp.isInstalled(root))
    })
  })

  describe('of what was built', () => {
    const built = ['.js', '.js.map', '.d.ts', '.d.ts.map']

    it('removes what no source makes, and nothing else', async () => {
      for (const ending of built) {
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
        built.map((ending) => `a${ending}`),
      )
    })

    it('has nothing to remove before the first build', async () => {
      await write('src/a.ts')
      setUp.removeStale(folder)
      assert.deepEqual(await readdir(folder), ['src'])
    })

    it('leaves a whole build as it is', async () => {
      for (const part of ['src', 'dist']) {
        await cp(join(root, 'shared', part), join(folder, part), { recursive: true })
      }
      const before = await readdir(join(folder, 'dist'), { recursive: true })
      setUp.removeStale(folder)
      assert.deepEqual(await readdir(join(folder, 'dist'), { recursive: true }), before)
    })
  })
})
