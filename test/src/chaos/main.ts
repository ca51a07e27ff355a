/**
 * `npm run chaos`: three brokers over a real etcd, and everything that can happen to them.
 *
 *   npm run chaos -- --rounds 10                     every fault, ten times
 *   npm run chaos -- --only etcd-leader-stopped      only this one; more than one with commas
 *   npm run chaos -- --seed 17                       the same choices again, at other moments
 *   npm run chaos -- --proxies                       without network namespaces
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { markdownTable } from 'markdown-table'
import { seed as ownSeed, Random } from '../support/counts.js'
import { has } from '../support/needs.js'
import { type FaultOutcome, runFault } from './chaos.js'
import { faults } from './faults.js'
import { World } from './world.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    only: { type: 'string' },
    seed: { type: 'string' },
    proxies: { type: 'boolean', default: false },
  },
})

const only = values.only?.split(',')
const unknown = only?.find((name) => !faults.some((fault) => fault.name === name))
if (unknown !== undefined) {
  console.error(`there is no ${unknown}; there are ${faults.map(({ name }) => name).join(', ')}`)
  process.exit(64)
}
const seed = values.seed === undefined ? ownSeed : Number(values.seed)
const random = new Random(seed)
const world = await World.start(random, has('namespaces') && !values.proxies)
const outcomes: FaultOutcome[] = []
try {
  const chosen = faults.filter(
    ({ name, isPossible }) => (only?.includes(name) ?? true) && isPossible?.(world) !== false,
  )
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const fault of chosen) {
      const outcome = await runFault(world, fault, random)
      outcomes.push(outcome)
      const { servedDuringMs, servedAfterMs, allReadyMs, faults: wrong } = outcome
      const served = `all served ${ms(servedDuringMs)}, after its end ${ms(servedAfterMs)}`
      console.log(`${round} ${fault.name}: ${served}, all brokers ready ${ms(allReadyMs)}`)
      if (wrong.length > 0) break
    }
    if (outcomes.some(({ faults: wrong }) => wrong.length > 0)) break
  }
  const wrong = [...outcomes.flatMap((outcome) => outcome.faults), ...(await world.drain())]
  console.log(table(outcomes))
  console.log(`${world.tenures} tenures of shared locks; seed ${seed}`)
  for (const fault of wrong) console.log(`WRONG ${fault}`)
  process.exitCode = wrong.length === 0 ? 0 : 1
} finally {
  await world.close()
}

function ms(value: number | undefined): string {
  return value === undefined ? 'not at all' : `after ${Math.round(value)} ms`
}

function table(all: readonly FaultOutcome[]): string {
  const rows = faults.flatMap(({ name }) => {
    const own = all.filter(({ fault }) => fault === name)
    if (own.length === 0) return []
    const servedDuringMs = own.flatMap((outcome) => outcome.servedDuringMs ?? [])
    const lost = own.reduce((sum, { lostByAffected }) => sum + lostByAffected, 0)
    const times = [
      spread(servedDuringMs),
      spread(own.map(({ servedAfterMs }) => servedAfterMs)),
      spread(own.map(({ allReadyMs }) => allReadyMs)),
    ]
    return [[name, String(own.length), ...times, String(lost)]]
  })
  const head = ['fault', 'times', 'all served', 'after its end', 'all ready', 'lost by affected']
  return markdownTable([head, ...rows])
}

/** The median and the largest value. */
function spread(values: readonly number[]): string {
  if (values.length === 0) return '—'
  const sorted = [...values].sort((a, b) => a - b)
  return `${Math.round(sorted[sorted.length >> 1]!)} (${Math.round(sorted.at(-1)!)})`
}
