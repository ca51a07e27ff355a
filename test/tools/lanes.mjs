/**
 * Runs the tests in several lanes at the same time, because most tests with real processes wait
 * more than they compute. A lane runs one group of test folders after the other. When a lane is
 * free, it starts the next group of the list below, so that all lanes end at nearly the same time.
 * The output of a group is printed when the group ends. The last lines have the time of each group,
 * the failed tests of all groups, and the sums of the counts.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'

/**
 * How many groups run at the same time. The tests of a quick run wait for half of their time, so
 * two more groups than processors keep all processors busy. A full run computes more, and a fourth
 * group on two processors would only delay its tests of timing.
 */
const laneCount = availableParallelism() + (process.env.HOLDFAST_FULL === '1' ? 1 : 2)

/**
 * The folders of `test/src` in groups, in the order in which the groups start. Long groups start
 * before short groups. Groups that compute (`table`, `mutants`) start beside groups that wait
 * (`log`, `ops`), because three groups that compute would slow each other down. A group is one
 * process, so that its test files load the packages and start Chromium only once.
 */
const groups = [
  ['table', 'locks'],
  ['mutants', 'demo'],
  ['log'],
  ['ops'],
  ['browser', 'dashboard', 'react', 'demo-browser', 'examples'],
  ['e2e'],
  ['protocol', 'shared', 'client'],
  ['faults'],
  ['sim', 'server'],
  ['consumers', 'deploy'],
  ['chaos'],
  ['conventions'],
  ['bench', 'soak'],
]

const noTests = { passed: 0, failed: 0, skipped: 0, failures: [] }

/** Runs mocha with these arguments in all lanes. Resolves with the exit code of the whole run. */
export async function runInLanes(mocha, args, dist) {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-tests-'))
  const waiting = groupsIn(dist)
  const results = []
  process.once('SIGTERM', () => waiting.splice(0))
  const runLane = async () => {
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
      results.push(await runGroup(group, { mocha, args, dist, scratch }))
    }
  }
  await Promise.all(Array.from({ length: laneCount }, runLane))
  rmSync(scratch, { recursive: true })
  const times = results.map(({ name, seconds }) => `${name} ${seconds} s`)
  process.stdout.write(`time of each group: ${times.join(', ')}\n`)
  for (const failure of results.flatMap(({ counts }) => counts.failures)) {
    process.stdout.write(`failed: ${failure}\n`)
  }
  const sum = (key) => results.reduce((total, { counts }) => total + counts[key], 0)
  const counts = ['passed', 'failed', 'skipped'].map((key) => `${sum(key)} ${key}`)
  process.stdout.write(`${counts.join(', ')}\n`)
  return results.every(({ code }) => code === 0) && sum('failed') === 0 ? 0 : 1
}

/** Runs mocha on the folders of a group, and prints its output when it has ended. */
async function runGroup(folders, { mocha, args, dist, scratch }) {
  const name = folders[0]
  const countsFile = join(scratch, `${name}.json`)
  const outputFile = join(scratch, name)
  const output = openSync(outputFile, 'w')
  const files = folders.map((folder) => join(dist, folder, '**/*.test.js'))
  const options = ['--reporter-option', `countsFile=${countsFile}`]
  const startedAt = performance.now()
  const child = spawn(process.execPath, [mocha, ...args, ...options, ...files], {
    stdio: ['ignore', output, output],
  })
  const kill = () => child.kill()
  process.on('SIGTERM', kill)
  const code = await new Promise((resolve) => child.once('exit', resolve))
  process.off('SIGTERM', kill)
  closeSync(output)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  process.stdout.write(`\n${folders.join(', ')}: ${seconds} s\n`)
  process.stdout.write(readFileSync(outputFile))
  return { name, code, counts: countsIn(countsFile, name), seconds }
}

/** The groups of folders that have tests. A folder that no group names is a group of its own. */
function groupsIn(dist) {
  const found = readdirSync(dist, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .filter((folder) =>
      readdirSync(join(dist, folder), { recursive: true }).some((file) =>
        file.endsWith('.test.js'),
      ),
    )
  const named = groups.flat()
  const others = found.filter((folder) => !named.includes(folder)).map((folder) => [folder])
  return [...groups, ...others]
    .map((group) => group.filter((folder) => found.includes(folder)))
    .filter((group) => group.length > 0)
}

/** The counts of a group. A group without counts has crashed, which counts as one failed test. */
function countsIn(file, group) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { ...noTests, failed: 1, failures: [`the group "${group}" ended without its counts`] }
  }
}
