/**
 * Tests the packages as a user installs them. Each runtime, bundler and test runner must load the
 * packages and acquire a lock at a real broker. Each compiler must accept the types of the
 * packages. These tests run only in a full run, because they install many tools. A journal is a
 * record on disk of all changes of locks.
 */
import { mkdtemp, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { createBroker, type HoldfastBroker } from '@holdfast/server'
import { assert } from 'chai'
import { isFullRun } from '../support/counts.js'
import { skip } from '../support/needs.js'
import { compile, compilers } from './compilers.js'
import { installTools, type Outcome, openProject, type Project } from './stage.js'

describe('the installed packages', function () {
  this.timeout(600_000)
  if (!isFullRun) {
    it('load and acquire locks', function () {
      skip(this, 'installs bundlers and compilers: run npm run test:ci')
    })
    return
  }
  let project: Project
  let broker: HoldfastBroker
  let url: string

  before(async function () {
    const problem = await installTools()
    if (problem !== undefined) {
      if (process.env['CI'] === 'true') throw new Error(problem)
      skip(this, problem)
    }
    project = await openProject()
    broker = createBroker()
    url = (await broker.listen({ port: 0, host: '127.0.0.1' })).url
  })

  after(async () => {
    await broker?.close()
    await project?.remove()
  })

  /**
   * Expects that the program exits 0, ends its output with "held and unlocked", and was granted one
   * lock.
   */
  async function expectOneLock(running: Promise<Outcome>): Promise<void> {
    const statsBefore = broker.stats()
    const { code, output } = await running
    const { totalLocks, failedLocks, activeLocks } = broker.stats()
    assert.equal(code, 0, output)
    assert.match(output, /held and unlocked\s*$/)
    assert.equal(totalLocks - statsBefore.totalLocks, 1, output)
    assert.deepEqual([failedLocks, activeLocks], [0, 0])
  }

  function expectSuccess({ code, output }: Outcome): void {
    assert.equal(code, 0, output)
  }

  describe('in a runtime', () => {
    for (const program of ['lock.mjs', 'lock.cjs']) {
      it(`run ${program} in Node`, () => expectOneLock(project.node(`programs/${program}`, url)))

      it(`run ${program} in Bun`, async function () {
        if ((await project.tool('bun', '--version').catch(() => undefined))?.code !== 0) {
          skip(this, 'the npm package of Bun has no program for this machine')
        }
        await expectOneLock(project.tool('bun', `programs/${program}`, url))
      })

      it(`run ${program} in Deno`, async function () {
        if ((await project.tool('deno', '--version').catch(() => undefined))?.code !== 0) {
          skip(this, 'the npm package of Deno has no program for this machine')
        }
        await expectOneLock(project.tool('deno', 'run', '-A', `programs/${program}`, url))
      })
    }

    it('load a broker by require() that writes a journal and a snapshot of its locks', async () => {
      const dir = await mkdtemp(join(project.out, 'journal-'))
      const { code, output } = await project.node('programs/journal.cjs', dir)
      assert.equal(output, 'held, unlocked and written to the journal\n')
      assert.equal(code, 0)
    })

    it('recognise errors across CommonJS and ES modules', async () => {
      const { code, output } = await project.node('programs/both.mjs')
      assert.equal(output, 'recognised\n')
      assert.equal(code, 0)
    })

    it('run a broker in memory without the optional package lmdb', async () => {
      const [installed, moved] = ['lmdb', 'lmdb-away'].map((name) =>
        join(project.folder, 'node_modules', name),
      ) as [string, string]
      await rename(installed, moved)
      try {
        const { code, output } = await project.node('programs/memory.mjs')
        assert.equal(output, 'held and unlocked\n')
        assert.equal(code, 0)
      } finally {
        await rename(moved, installed)
      }
    })
  })

  describe('with a bundler', () => {
    for (const bundler of ['esbuild', 'webpack', 'rollup', 'vite']) {
      it(`run in Node from the bundle of ${bundler}`, async () => {
        const out = await mkdtemp(join(project.out, `${bundler}-`))
        expectSuccess(await project.node(`bundlers/${bundler}.mjs`, out))
        const bundles = (await readdir(out)).filter((name) => /\.[cm]js$/.test(name))
        assert.isNotEmpty(bundles)
        for (const bundle of bundles) await expectOneLock(project.node(join(out, bundle), url))
        if (bundler !== 'vite') return
        // Vite also makes a bundle for browsers, which must contain no code for Node. Only the code
        // for Node calls `getBuiltinModule`, to load the modules of Node.
        const browserBundle = await readFile(join(out, 'browser/vite.js'), 'utf8')
        assert.notInclude(browserBundle, 'getBuiltinModule')
      })
    }
  })

  describe('in a test runner', () => {
    it('acquire a lock in jest, which loads the packages by require()', async () => {
      expectSuccess(await project.tool('jest', '--rootDir', 'jest'))
    })

    it('acquire a lock in vitest when Node loads the packages', async () => {
      expectSuccess(await project.tool('vitest', 'run', '--root', 'vitest'))
    })

    it('acquire a lock in vitest when Vite transforms the packages', async () => {
      const inlined = ['--config', 'inlined.config.mjs']
      expectSuccess(await project.tool('vitest', 'run', '--root', 'vitest', ...inlined))
    })
  })

  describe('with a compiler', () => {
    for (const { version, resolutions } of compilers) {
      for (const resolution of resolutions) {
        it(`compile with TypeScript ${version}, ${resolution}`, async () => {
          const { code, output } = await compile(project, version, resolution)
          assert.equal(output, '')
          assert.equal(code, 0)
        })
      }
    }
  })

  describe('with the package checkers', () => {
    for (const name of ['shared', 'client', 'server']) {
      it(`pass the checks of publint and attw: ${name}`, async () => {
        const { folder, packed } = project.tarballs
        const filename =
          packed.find((tarball) => tarball.name === `@holdfast/${name}`)?.filename ?? ''
        const tarball = join(folder, filename)
        expectSuccess(await project.tool('publint', 'run', '--strict', tarball))
        expectSuccess(await project.tool('attw', tarball))
      })
    }
  })
})
