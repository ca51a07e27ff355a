/**
 * `npm run soak`: runs a broker, client processes that stay (residents), and client processes that
 * come and go (visitors). Measures whether the memory or the open file descriptors of a process
 * grow.
 *
 *   npm run soak -- --hours 24         runs for a day; prints a line each minute
 *   npm run soak -- --warm-up 2        the samples of the first two hours do not count
 *   npm run soak -- --sample 10        a sample each 10 s
 *   npm run soak -- --visitor-pause 5  a pause of 5 s between two visitors
 *   npm run soak -- --residents 2      two residents
 *   npm run soak -- --users 4          each resident has four concurrent users
 *   npm run soak -- --pause 100        a user pauses for 100 ms on average between two actions
 *   npm run soak -- --seed 17          repeats the random choices of the run with this seed
 *   npm run soak -- --preload FILE     the broker first loads FILE, such as a module that leaks
 *
 * A soak succeeds if every slope (the growth per hour) is within its bound and every action was
 * done. The clients must also leave nothing behind in the broker. The exit code is 0 for success,
 * 64 for wrong usage, and 1 otherwise.
 */
import { resolve } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { markdownTable } from 'markdown-table'
import { seed as processSeed, Random } from '../support/counts.js'
import { numberOption, optionalNumber, usageExitCode } from '../support/numberOption.js'
import { formatQuantity, type Growth, minSamples } from './slopes.js'
import { missingActions, Soak, type SoakResult } from './soak.js'

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '1' },
    'warm-up': { type: 'string' },
    sample: { type: 'string', default: '10' },
    'visitor-pause': { type: 'string', default: '10' },
    residents: { type: 'string', default: '2' },
    users: { type: 'string', default: '4' },
    pause: { type: 'string', default: '100' },
    seed: { type: 'string' },
    preload: { type: 'string' },
  },
})

const msPerHour = 3_600_000

const durationMs = numberOption('hours', values.hours) * msPerHour
// The caches of V8 and of the allocator grow for some minutes. So the first quarter of a run, but
// at most one hour, does not count.
const warmUpHours =
  optionalNumber('warm-up', values['warm-up']) ?? Math.min(durationMs / 4 / msPerHour, 1)
const warmUpMs = warmUpHours * msPerHour
const sampleMs = numberOption('sample', values.sample, { min: 0.01 }) * 1_000
// On a busy machine some samples come late, so a run plans twice as many as the verdict needs.
if ((durationMs - warmUpMs) / sampleMs < 2 * minSamples) {
  console.error(
    `The run has fewer than ${2 * minSamples} samples after the warm-up: give more --hours, or a smaller --sample`,
  )
  process.exit(usageExitCode)
}
const seed = optionalNumber('seed', values.seed, { min: Number.NEGATIVE_INFINITY }) ?? processSeed
const soak = new Soak({
  durationMs,
  warmUpMs,
  sampleMs,
  // A line each minute, or four lines in a run of less than four minutes.
  lineMs: Math.min(60_000, durationMs / 4),
  visitorPauseMs: numberOption('visitor-pause', values['visitor-pause']) * 1_000,
  residents: numberOption('residents', values.residents, { min: 1 }),
  usersPerResident: numberOption('users', values.users, { min: 1 }),
  pauseMs: numberOption('pause', values.pause, { min: 1 }),
  random: new Random(seed),
  brokerModules: values.preload === undefined ? [] : [pathToFileURL(resolve(values.preload)).href],
  print: console.log,
})
const started = new Date()
console.log(
  `A soak of ${durationMs / msPerHour} h begins at ${started.toISOString()}; seed ${seed}`,
)
try {
  report(await soak.run())
} catch (error) {
  console.error(`The soak failed: ${(error as Error).stack}`)
  process.exitCode = 1
}

function report({ growths, counts, visitors, leftovers }: SoakResult): void {
  const mostFrequentFirst = [...counts].sort(([, a], [, b]) => b - a)
  console.log(`Actions: ${mostFrequentFirst.map(([name, count]) => `${name} ${count}`).join(', ')}`)
  console.log(`${visitors} visitors came and left; seed ${seed}`)
  const head = ['process', 'quantity', 'from', 'to', 'slope per hour', 'bound per hour', '']
  console.log(markdownTable([head, ...growths.map(rowOf)]))
  for (const leftover of leftovers) console.log(`LEFT BEHIND ${leftover} after all clients left`)
  const missing = missingActions(counts)
  if (missing.length > 0) console.log(`NEVER DONE ${missing.join(', ')}`)
  const beyond = growths.filter(({ isWithin }) => !isWithin)
  console.log(
    beyond.length === 0
      ? 'Every slope is within its bound'
      : `${beyond.length} of ${growths.length} slopes are beyond their bounds`,
  )
  process.exitCode = beyond.length + leftovers.length + missing.length === 0 ? 0 : 1
}

function rowOf(growth: Growth): string[] {
  const { process: name, quantity, first, last, slopePerHour, allowedPerHour, isWithin } = growth
  const amounts = [first, last, slopePerHour, allowedPerHour]
  const texts = amounts.map((amount) => formatQuantity(quantity, amount))
  return [name, quantity, ...texts, isWithin ? 'within' : 'BEYOND']
}
