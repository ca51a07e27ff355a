/**
 * `npm run planted`: hunts every planted bug, or those that are named, and prints the seed that
 * caught each.
 *
 *   npm run planted -- --seeds 1000 --events 2000 grant-before-the-deadline
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { hunt, readMutants } from './planted.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '2000' },
  },
})

const task = {
  seeds: Number(values.seeds),
  from: Number(values.from),
  events: Number(values.events),
}
const all = readMutants()
const wanted =
  positionals.length === 0
    ? all
    : all.filter((planted) => positionals.some((name) => planted.name.includes(name)))
if (wanted.length === 0) {
  console.error(`there is no ${positionals.join(' ')}; there are ${all.map(({ name }) => name)}`)
  process.exit(64)
}
let missed = 0
for (const planted of wanted) {
  const { seed, rule, seconds } = await hunt(planted, task)
  const time = `${seconds.toFixed(1)} s`.padStart(8)
  if (seed === undefined) missed++
  console.log(
    seed === undefined
      ? `${planted.name.padEnd(36)} NOT CAUGHT in ${task.seeds} seeds, ${time}`
      : `${planted.name.padEnd(36)} seed ${String(seed).padStart(4)} ${time}  ${rule}`,
  )
}
process.exitCode = missed === 0 ? 0 : 1
