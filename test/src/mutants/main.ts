/**
 * `npm run mutants` hunts every mutant (planted bug), or the mutants whose names contain one of the
 * arguments. For each mutant, the program prints what caught the mutant: a test, or the seed of a
 * world (a random history of the simulation). The program exits with 1 if a mutant was not caught,
 * and with 64 if no mutant has a matching name.
 *
 *   npm run mutants -- --from 1 --seeds 3000 --events 2000 cluster-snapshot
 *
 * `--from` is the first seed, `--seeds` the number of seeds, and `--events` the number of events in
 * each world.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { numberOption, usageExitCode } from '../support/numberOption.js'
import { mutants } from './catalogue/index.js'
import { type HuntResult, hunt, isCaught } from './hunt.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '3000' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '2000' },
  },
})

const worldRange = {
  seeds: numberOption('seeds', values.seeds, { min: 1 }),
  from: numberOption('from', values.from),
  events: numberOption('events', values.events, { min: 1 }),
}
const selected = mutants.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
)
if (selected.length === 0) {
  const names = mutants.map(({ name }) => name).join('\n  ')
  console.error(
    `No mutant has ${positionals.join(' or ')} in its name. The mutants are\n  ${names}`,
  )
  process.exit(usageExitCode)
}
const nameWidth = Math.max(...selected.map(({ name }) => name.length))
let caughtCount = 0
for (const mutant of selected) {
  const result = await hunt(mutant, worldRange)
  if (isCaught(result)) caughtCount++
  const time = `${result.seconds.toFixed(1)} s`.padStart(8)
  console.log(`${mutant.name.padEnd(nameWidth)} ${time}  ${describeResult(result)}`)
}
console.log(`${caughtCount} of ${selected.length} mutants caught`)
process.exitCode = caughtCount === selected.length ? 0 : 1

/** Says what caught the mutant, if anything did. `rule` was broken in the world of `seed`. */
function describeResult({ seed, rule, test, error, seeds }: HuntResult): string {
  if (error !== undefined) return `DOES NOT FIT: the mutant throws ${error}`
  if (test !== undefined) return `test: ${test}`
  // A hunt with a test file runs no worlds, so it has tried 0 seeds.
  if (seed === undefined) return seeds === 0 ? 'NOT CAUGHT' : `NOT CAUGHT in ${seeds} worlds`
  return `seed ${String(seed).padStart(4)}: ${rule}`
}
