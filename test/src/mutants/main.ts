/**
 * `npm run mutants`: hunts every mutant, or the mutants whose names contain one of the arguments,
 * and prints the seed that caught each. Exits with 1 if the simulation did not catch a mutant.
 *
 *   npm run mutants -- --seeds 3000 --events 2000 cluster-snapshot
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { mutants } from './catalogue/index.js'
import { type Catch, hunt, isCaught } from './hunt.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '3000' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '2000' },
  },
})

const order = {
  seeds: Number(values.seeds),
  from: Number(values.from),
  events: Number(values.events),
}
const wanted = mutants.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
)
if (wanted.length === 0) {
  const names = mutants.map(({ name }) => name).join('\n  ')
  console.error(
    `No mutant has ${positionals.join(' or ')} in its name. The mutants are\n  ${names}`,
  )
  process.exit(64)
}
const width = Math.max(...wanted.map(({ name }) => name.length))
let count = 0
for (const mutant of wanted) {
  const caught = await hunt(mutant, order)
  if (isCaught(caught)) count++
  const time = `${caught.seconds.toFixed(1)} s`.padStart(8)
  console.log(`${mutant.name.padEnd(width)} ${time}  ${resultOf(caught)}`)
}
console.log(`${count} of ${wanted.length} mutants caught`)
process.exitCode = count === wanted.length ? 0 : 1

function resultOf({ seed, rule, error, seeds }: Catch): string {
  if (seed === undefined) return `NOT CAUGHT in ${seeds} worlds`
  if (error !== undefined) return `DOES NOT FIT, it throws ${error}`
  return `seed ${String(seed).padStart(4)}: ${rule}`
}
