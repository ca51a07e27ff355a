/**
 * `npm test`: sets the clone up, lints it and runs the tests with small counts, or with full counts
 * if `--full` is set. Other arguments go to mocha. An argument may also be the source of a test
 * file: `npm test -- test/src/conventions/docs.test.ts --grep links`.
 */
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { runInLanes } from './lanes.mjs'
import { root, run, setUp } from './setup.mjs'

const args = process.argv.slice(2)
const full = args.includes('--full')
if (full) process.env.HOLDFAST_FULL = '1'

await setUp('test')
await run(join(root, 'node_modules/@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', root)

const isTest = (argument) => /\.test\.[jt]s$/.test(argument)
const toBuilt = (file) => file.replace('test/src/', 'test/dist/').replace(/\.ts$/, '.js')
const testFiles = args.filter(isTest).map(toBuilt)
const mocha = join(root, 'node_modules/mocha/bin/mocha.js')
process.chdir(root)
const ownOptions = ['--forbid-only', ...(full ? ['--timeout', '600000'] : [])]
const others = args.filter((argument) => argument !== '--full' && !isTest(argument))
if (testFiles.length === 0 && others.length === 0) {
  if (!full) {
    // Needs a package that only the set-up installs.
    const { bundlePrograms } = await import('./programs.mjs')
    await bundlePrograms()
  }
  process.exitCode = await runInLanes(mocha, ownOptions, 'test/dist')
} else {
  const options = [...ownOptions, ...others]
  const files = testFiles.length > 0 ? testFiles : ['test/dist/**/*.test.js']
  process.argv.splice(1, Number.POSITIVE_INFINITY, mocha, ...options, ...files)
  await import(pathToFileURL(mocha).href)
}
