/**
 * Tests the reporter that prints the results of the tests. Mocha runs planted tests with this
 * reporter. CI and developers read the exit code and the last lines, so these must be right. A run
 * of all tests uses several lanes at the same time. Each lane runs groups of test folders, and only
 * one group at a time.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assert } from 'chai'
import { root } from './repository.js'

interface Run {
  readonly code: number | null
  readonly lines: readonly string[]
}

const mocha = join(root, 'node_modules/mocha/bin/mocha.js')
const reporter = join(root, 'test/dist/support/reporter.js')
const needs = pathToFileURL(join(root, 'test/dist/support/needs.js')).href

/** Runs Node with these arguments in the folder `cwd`, and waits for its exit. */
async function runNode(args: readonly string[], cwd: string): Promise<Run> {
  const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, lines: output.trimEnd().split('\n') }
}

describe('a run of the tests', () => {
  let folder: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-reporter-'))
  })

  after(() => rm(folder, { recursive: true, force: true }))

  /** Runs mocha on a test file with this source. */
  async function runOf(source: string, ...options: readonly string[]): Promise<Run> {
    const file = join(folder, 'planted.test.mjs')
    await writeFile(file, source)
    const args = [mocha, '--no-config', '--no-package', '--reporter', reporter, ...options, file]
    return runNode(args, folder)
  }

  it('prints a last line that has only the counts', async () => {
    const { code, lines } = await runOf(`it('a', () => {}); it('b', () => {})`)
    assert.equal(lines.at(-1), '2 passed, 0 failed, 0 skipped')
    assert.equal(code, 0)
  })

  it('names and counts the failed tests at the end, and fails', async () => {
    const { code, lines } = await runOf(`it('a', () => {}); it('b', () => { throw Error('no') })`)
    assert.deepEqual(lines.slice(-2), ['failed: b: no', '1 passed, 1 failed, 0 skipped'])
    assert.equal(code, 1)
  })

  it('prints each skipped test with the reason', async () => {
    const { code, lines } = await runOf(`
      import { skip } from '${needs}'
      describe('s', () => {
        before(function () { skip(this, 'no moon tonight') })
        describe('inner', () => { it('a', () => {}) })
      })
      it('b', function () { skip(this, 'no sun') })
      it('c', () => {})`)
    assert.include(lines, 'skipped: s inner a: no moon tonight')
    assert.include(lines, 'skipped: b: no sun')
    assert.equal(lines.at(-1), '1 passed, 0 failed, 2 skipped')
    assert.equal(code, 0)
  })

  it('fails if a test is skipped without a reason', async () => {
    const { code, lines } = await runOf(`it.skip('a', () => {}); it('b', () => {})`)
    assert.include(lines, 'skipped: a: WITHOUT A REASON')
    // The skipped test also counts as failed.
    assert.equal(lines.at(-1), '1 passed, 1 failed, 1 skipped')
    assert.equal(code, 1)
  })

  it('fails if a handle is left open', async () => {
    const leak = `it('a', () => { setInterval(() => {}, 60_000) })`
    // The reporter gives the handle only 1 ms to close.
    const { code, lines } = await runOf(leak, '--reporter-option', 'settleMs=1')
    assert.match(lines.at(-2) ?? '', /something is still open: .*Timeout/)
    assert.equal(lines.at(-1), '1 passed, 1 failed, 0 skipped')
    assert.equal(code, 1)
  })

  it('fails if a test ends the process, even with exit code 0', async () => {
    const { code, lines } = await runOf(`it('a', () => {}); it('b', () => process.exit(0))`)
    assert.equal(lines.at(-1), '1 passed, 1 failed, 0 skipped')
    assert.equal(code, 1)
  })

  it('fails if a rejection is not handled', async () => {
    // The test `b` keeps the process alive until Node reports the rejection.
    const { code, lines } = await runOf(`it('a', () => { Promise.reject(new Error('not handled')) })
      it('b', () => new Promise((resolve) => setImmediate(resolve)))`)
    assert.notEqual(code, 0)
    assert.match(lines.at(-1) ?? '', /, 1 failed, /)
  })

  describe('in lanes', () => {
    /** Runs two groups of planted tests: `lanes.mjs` lists the group `table`, but not `other`. */
    async function lanesOf(tableSource: string, otherSource: string): Promise<Run> {
      const dist = await mkdtemp(join(folder, 'dist-'))
      for (const [name, source] of Object.entries({ table: tableSource, other: otherSource })) {
        await mkdir(join(dist, name))
        await writeFile(join(dist, name, 'planted.test.js'), source)
      }
      await writeFile(join(dist, 'package.json'), '{"type":"module"}')
      const lanes = pathToFileURL(join(root, 'test/tools/lanes.mjs')).href
      const options = ['--no-config', '--no-package', '--reporter', reporter]
      const script = `import { runInLanes } from ${JSON.stringify(lanes)}
        const args = ${JSON.stringify([mocha, options, dist])}
        process.exitCode = await runInLanes(...args)`
      return runNode(['--input-type=module', '-e', script], root)
    }

    it('prints the sums of the counts on the last line', async () => {
      const { code, lines } = await lanesOf(
        `it('a', () => {})`,
        `it('b', () => {}); it('c', () => {})`,
      )
      assert.equal(lines.at(-1), '3 passed, 0 failed, 0 skipped')
      assert.equal(lines.filter((line) => / passed, /.test(line)).length, 1)
      assert.equal(code, 0)
    })

    it('fails if a test of one group fails', async () => {
      const failing = `it('a', () => { throw Error('no') })`
      for (const [tableSource, otherSource] of [
        [failing, `it('b', () => {})`],
        [`it('b', () => {})`, failing],
      ]) {
        const { code, lines } = await lanesOf(tableSource!, otherSource!)
        assert.deepEqual(lines.slice(-2), ['failed: a: no', '1 passed, 1 failed, 0 skipped'])
        assert.equal(code, 1)
      }
    })

    it('fails if a group ends without counts', async () => {
      const { code, lines } = await lanesOf(
        `it('a', () => process.kill(process.pid, 'SIGKILL'))`,
        `it('b', () => {})`,
      )
      assert.equal(lines.at(-2), 'failed: the group "table" ended without its counts')
      assert.equal(lines.at(-1), '1 passed, 1 failed, 0 skipped')
      assert.equal(code, 1)
    })
  })
})
