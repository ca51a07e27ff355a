/**
 * Runs the tests in two lanes at once, each in a process of its own, because most tests that start
 * real processes wait more than they compute. The second lane's output comes as it happens, that of
 * the first one when the second is over; the counts of both are the last line.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'

/** Folders of `test/src` whose tests compute, on clocks and sockets of their own. */
const computing = ['table', 'shared', 'protocol', 'client', 'server', 'sim', 'locks', 'house']

/** Runs mocha with these arguments; resolves with its exit code. */
export async function runInLanes(mocha, args, dist) {
  const folders = readdirSync(dist, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
  const pattern = (folder) => join(dist, folder, '**/*.test.js')
  const isComputing = (folder) => computing.includes(folder)
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-tests-'))
  const start = (name, files, stdout) => {
    const countsFile = join(scratch, `${name}.json`)
    const options = ['--reporter-option', `countsFile=${countsFile}`]
    const child = spawn(process.execPath, [mocha, ...args, ...options, ...files], {
      stdio: ['ignore', stdout, stdout],
    })
    process.on('SIGTERM', () => child.kill())
    return new Promise((resolve) => {
      child.once('exit', (code) => resolve({ code, counts: countsIn(countsFile) }))
    })
  }
  const output = join(scratch, 'output')
  const lanes = await Promise.all([
    start('computing', folders.filter(isComputing).map(pattern), openSync(output, 'w')),
    start('waiting', folders.filter((folder) => !isComputing(folder)).map(pattern), 'inherit'),
  ])
  process.stdout.write(readFileSync(output))
  rmSync(scratch, { recursive: true })
  const sum = (key) => lanes.reduce((total, { counts }) => total + counts[key], 0)
  const counts = ['passed', 'failed', 'skipped'].map((key) => `${sum(key)} ${key}`)
  process.stdout.write(`${counts.join(', ')}\n`)
  return lanes.every(({ code }) => code === 0) && sum('failed') === 0 ? 0 : 1
}

/** What a lane has counted; a lane that ended without counting has failed. */
function countsIn(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }
  }
}
