/**
 * Runs the tests in three lanes at the same time. A lane is a process that runs some folders of
 * tests. Lanes save time because most tests with real processes wait more than they compute. The
 * last lane prints its output at once, and the output of the other lanes follows at the end. The
 * last lines have the time of each lane, the failed tests of all lanes, and the sums of the counts.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'

/** The folders of `test/src` by lane; all other folders are in the last lane. */
const lanes = {
  computing: [
    ...['table', 'shared', 'protocol', 'client', 'server', 'sim', 'locks', 'conventions'],
    ...['dashboard', 'react', 'bench', 'soak'],
  ],
  commands: ['ops', 'deploy', 'examples', 'demo', 'demo-browser', 'consumers', 'mutants'],
  waiting: [],
}

const noTests = { passed: 0, failed: 0, skipped: 0, failures: [] }

/** Runs mocha with these arguments in all lanes. Resolves with the exit code of the whole run. */
export async function runInLanes(mocha, args, dist) {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-tests-'))
  const names = Object.keys(lanes)
  const last = names.at(-1)
  const start = (name) => {
    const countsFile = join(scratch, `${name}.json`)
    const output = name === last ? 'inherit' : openSync(join(scratch, name), 'w')
    const files = foldersOf(name, dist).map((folder) => join(dist, folder, '**/*.test.js'))
    if (files.length === 0) return { name, code: 0, counts: noTests, seconds: 0 }
    const startedAt = performance.now()
    const options = ['--reporter-option', `countsFile=${countsFile}`]
    const child = spawn(process.execPath, [mocha, ...args, ...options, ...files], {
      stdio: ['ignore', output, output],
    })
    process.on('SIGTERM', () => child.kill())
    return new Promise((resolve) => {
      child.once('exit', (code) => {
        const seconds = Math.round((performance.now() - startedAt) / 1000)
        resolve({ name, code, counts: countsIn(countsFile, name), seconds })
      })
    })
  }
  const results = await Promise.all(names.map(start))
  for (const name of names) {
    const output = join(scratch, name)
    if (existsSync(output)) process.stdout.write(readFileSync(output))
  }
  rmSync(scratch, { recursive: true })
  const times = results.map(({ name, seconds }) => `${name} ${seconds} s`)
  process.stdout.write(`time of each lane: ${times.join(', ')}\n`)
  for (const failure of results.flatMap(({ counts }) => counts.failures)) {
    process.stdout.write(`failed: ${failure}\n`)
  }
  const sum = (key) => results.reduce((total, { counts }) => total + counts[key], 0)
  const counts = ['passed', 'failed', 'skipped'].map((key) => `${sum(key)} ${key}`)
  process.stdout.write(`${counts.join(', ')}\n`)
  return results.every(({ code }) => code === 0) && sum('failed') === 0 ? 0 : 1
}

/** The folders of a lane that have tests. */
function foldersOf(name, dist) {
  const named = Object.values(lanes).flat()
  return readdirSync(dist, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .filter(
      (folder) =>
        lanes[name].includes(folder) || (lanes[name].length === 0 && !named.includes(folder)),
    )
    .filter((folder) =>
      readdirSync(join(dist, folder), { recursive: true }).some((file) =>
        file.endsWith('.test.js'),
      ),
    )
}

/** The counts of a lane. A lane without counts has crashed, which counts as one failed test. */
function countsIn(file, lane) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { ...noTests, failed: 1, failures: [`the lane "${lane}" ended without its counts`] }
  }
}
