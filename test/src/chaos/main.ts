/**
 * `npm run chaos`: runs three brokers over a real etcd or PostgreSQL, and causes all faults of
 * `faults.ts`. In the output, a tenure is one use of a lock, from its grant to its release. A
 * leadership is the tenure of a leader in the election. An observation is a leader that an observer
 * has seen.
 *
 *   npm run chaos -- --rounds 10                     every fault, ten times
 *   npm run chaos -- --engine postgres               over PostgreSQL with a synchronous standby
 *   npm run chaos -- --only etcd-leader-stopped      only these faults, separated by commas
 *   npm run chaos -- --seed 17                       repeats the random choices of an earlier run
 *   npm run chaos -- --proxies                       proxies instead of network namespaces
 *   npm run chaos -- --history FILE                  also writes a file for `npm run check-history`
 */
import { writeFileSync } from 'node:fs'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { markdownTable } from 'markdown-table'
import { formatHistories } from '../faults/historyFile.js'
import { seed as processSeed, Random } from '../support/counts.js'
import { machineMeets } from '../support/needs.js'
import { numberOption, optionalNumber, usageExitCode } from '../support/numberOption.js'
import { type FaultOutcome, runFault } from './chaos.js'
import { faultsOf } from './faults.js'
import { type EngineName, engineNames } from './store.js'
import { World } from './world.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    engine: { type: 'string', default: 'etcd' },
    only: { type: 'string' },
    seed: { type: 'string' },
    history: { type: 'string' },
    proxies: { type: 'boolean', default: false },
  },
})

const engine = values.engine as EngineName
if (!engineNames.includes(engine)) {
  console.error(`There is no engine ${engine}; use ${engineNames.join(' or ')}`)
  process.exit(usageExitCode)
}
const faults = faultsOf(engine)
const only = values.only?.split(',')
const unknownFault = only?.find((name) => !faults.some((fault) => fault.name === name))
if (unknownFault !== undefined) {
  console.error(
    `Unknown fault ${unknownFault}. The faults are ${faults.map(({ name }) => name).join(', ')}`,
  )
  process.exit(usageExitCode)
}
const rounds = numberOption('rounds', values.rounds, { min: 1 })
const seed = optionalNumber('seed', values.seed, { min: Number.NEGATIVE_INFINITY }) ?? processSeed
const random = new Random(seed)
const world = await World.start(random, {
  engine,
  withNamespaces: machineMeets('namespaces') && !values.proxies,
})
const outcomes: FaultOutcome[] = []
try {
  const possibleFaults = faults.filter(
    ({ name, isPossible }) => (only?.includes(name) ?? true) && isPossible?.(world) !== false,
  )
  if (possibleFaults.length === 0)
    throw new Error('This machine can cause none of these faults, so the run would prove nothing')
  for (let round = 1; round <= rounds; round++) {
    for (const fault of possibleFaults) {
      const outcome = await runFault(world, fault, random)
      outcomes.push(outcome)
      const { servedDuringMs, servedAfterMs, allReadyMs, violations } = outcome
      console.log(
        `${round} ${fault.name}: all served ${formatDelay(servedDuringMs)}; ` +
          `since the end of the fault: all served ${formatDelay(servedAfterMs)}, ` +
          `all brokers ready ${formatDelay(allReadyMs)}`,
      )
      if (violations.length > 0) break
    }
    if (outcomes.some(({ violations }) => violations.length > 0)) break
  }
  const violations = [
    ...outcomes.flatMap((outcome) => outcome.violations),
    ...(await world.drain()),
  ]
  console.log(tableOf(outcomes))
  console.log(`${world.tenureCount} tenures of the keys that all workers use; seed ${seed}`)
  const stallMs = Math.max(...outcomes.map(({ longestStallMs }) => longestStallMs))
  const lostByStall = outcomes.reduce((sum, outcome) => sum + outcome.lostByStall, 0)
  console.log(
    `The process of the clients stood still for up to ${Math.round(stallMs)} ms; ` +
      `${lostByStall} clients lost their lock by such a stall`,
  )
  const { history, lossCount } = world.election
  console.log(
    `${history.tenures.length} leaderships, of which ${lossCount} were lost; ` +
      `${history.observations.length} observations`,
  )
  if (values.history !== undefined) writeFileSync(values.history, formatHistories(world.histories))
  for (const violation of violations) console.log(`VIOLATION ${violation}`)
  process.exitCode = violations.length === 0 ? 0 : 1
} finally {
  await world.close()
}

/** Formats a delay in ms, which is undefined if the expected event never happened. */
function formatDelay(value: number | undefined): string {
  return value === undefined ? 'not at all' : `after ${Math.round(value)} ms`
}

/**
 * Returns a Markdown table with one row for each fault. The last column counts the workers of
 * affected brokers that lost the lock that each worker keeps.
 */
function tableOf(allOutcomes: readonly FaultOutcome[]): string {
  const rows = faults.flatMap(({ name }) => {
    const outcomesOfFault = allOutcomes.filter(({ fault }) => fault === name)
    if (outcomesOfFault.length === 0) return []
    const servedDuringMs = outcomesOfFault.flatMap((outcome) => outcome.servedDuringMs ?? [])
    const lostCount = outcomesOfFault.reduce((sum, { lostByAffected }) => sum + lostByAffected, 0)
    const durations = [
      formatTimes(servedDuringMs),
      formatTimes(outcomesOfFault.map(({ servedAfterMs }) => servedAfterMs)),
      formatTimes(outcomesOfFault.map(({ allReadyMs }) => allReadyMs)),
    ]
    return [[name, String(outcomesOfFault.length), ...durations, String(lostCount)]]
  })
  const head = ['fault', 'times', 'all served', 'after its end', 'all ready', 'lost by affected']
  return markdownTable([head, ...rows])
}

/** Formats times in ms: the median, and the largest value in parentheses. */
function formatTimes(values: readonly number[]): string {
  if (values.length === 0) return '—'
  const sorted = [...values].sort((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)]!
  return `${Math.round(median)} (${Math.round(sorted.at(-1)!)})`
}
