/**
 * `npm run crashes` kills a broker with a journal (a command log on disk) again and again. Each
 * round kills the broker at the next named point of its work. The broker reaches some points many
 * times; at such a point the round chooses one of these visits at random. After each kill, the
 * program starts the broker again. At the end the program prints the number of crashes, and the
 * lies: answers of the broker that are false after the restart.
 *
 *   npm run crashes -- --rounds 100 --seed 17
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { Random, seed } from '../support/counts.js'
import { numberOption } from '../support/numberOption.js'
import { crashAtPoints } from './crashes.js'
import { crashPoints } from './points.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string', default: String(seed) },
  },
})

const startedAt = Date.now()
let round = 0
const { crashes, lies, grants } = await crashAtPoints(
  numberOption('rounds', values.rounds, { min: 1 }),
  // Every number is a valid seed, also a negative number.
  new Random(numberOption('seed', values.seed, { min: Number.NEGATIVE_INFINITY })),
  crashPoints,
  (point, visit) => console.log(`${String(++round).padStart(5)}  ${point}, at visit ${visit}`),
)
for (const [point, times] of crashes) console.log(`${point.padEnd(36)} ${times}`)
for (const lie of lies) console.log(lie)
const seconds = ((Date.now() - startedAt) / 1_000).toFixed(0)
console.log(`seed ${values.seed}: ${grants} grants, ${lies.length} lies, ${seconds} s`)
process.exitCode = lies.length === 0 ? 0 : 1
