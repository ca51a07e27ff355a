/**
 * `npm run sim`: runs many simulated worlds, or runs one world and shows its trace.
 *
 *   npm run sim -- --seeds 5000 --events 2000      5000 worlds; the first seed is 1, or --from
 *   npm run sim -- --seconds 60                    as many worlds as the time allows
 *   npm run sim -- --brokers 3 --seeds 1000        with 3 brokers that share a command log
 *   npm run sim -- --cells 3 --seeds 1000          with 3 cells, each with a part of the keys
 *   npm run sim -- --seed 17 --trace               one world, with its trace even if it succeeds
 *   npm run sim -- --actions once,scope            each world has at least these actions
 *   npm run sim -- --seed 17 --clients 0,2 --faults 3,7 --events 400 --lines 1000
 *                                                  one world with only these clients and faults;
 *                                                  keeps the last 1000 lines of its trace
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { numberOption, optionalNumber, usageExitCode } from '../support/numberOption.js'
import { type Action, actions } from './plan.js'
import { runWorld } from './runWorld.js'
import { Shrinker } from './shrink.js'
import type { Result, SimulationOptions } from './simulate.js'
import { WorldBatch } from './worldBatch.js'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '1' },
    cells: { type: 'string' },
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '2000' },
    seconds: { type: 'string' },
    actions: { type: 'string' },
    clients: { type: 'string' },
    faults: { type: 'string' },
    lines: { type: 'string', default: '60' },
    trace: { type: 'boolean', default: false },
  },
})

const options: SimulationOptions = {
  events: numberOption('events', values.events, { min: 1 }),
  brokers: numberOption('brokers', values.brokers, { min: 1 }),
  // The simulation spares one cell from faults, and the faults need another cell.
  cells: optionalNumber('cells', values.cells, { min: 2 }),
  needs: { actions: actionsFrom(values.actions) },
  clients: numberSetFrom('clients', values.clients),
  faults: numberSetFrom('faults', values.faults),
  lines: numberOption('lines', values.lines),
}

const seed = optionalNumber('seed', values.seed)
if (seed !== undefined) {
  const result = await runWorld(seed, options)
  printResult(result, { withTrace: values.trace })
  process.exitCode = result.violation === undefined ? 0 : 1
} else {
  const batch = new WorldBatch(options)
  const failedWorld = await batch.run({
    from: numberOption('from', values.from),
    seeds: optionalNumber('seeds', values.seeds, { min: 1 }),
    seconds: optionalNumber('seconds', values.seconds),
    onProgress: (line) => console.log(line),
  })
  for (const line of batch.countLines()) console.log(line)
  if (failedWorld !== undefined) {
    process.exitCode = 1
    console.log(
      `seed ${failedWorld.seed} breaks the rule "${failedWorld.violation?.rule}"; shrinking`,
    )
    const smallest = await new Shrinker(failedWorld, options).run()
    printResult(smallest.result, { withTrace: true })
    console.log(`repeat with: npm run sim -- ${optionsFor(failedWorld.seed, smallest.options)}`)
  }
}

function numberSetFrom(name: string, list: string | undefined): ReadonlySet<number> | undefined {
  if (list === undefined) return undefined
  return new Set(list === '' ? [] : list.split(',').map((text) => numberOption(name, text)))
}

/** The actions in a list. Exits with 64 if an action is unknown. */
function actionsFrom(list: string | undefined): Action[] | undefined {
  const names = list?.split(',')
  const unknown = names?.find((name) => !(actions as readonly string[]).includes(name))
  if (unknown !== undefined) {
    console.error(`Unknown action "${unknown}": use ${actions.join(', ')}`)
    process.exit(usageExitCode)
  }
  return names as Action[] | undefined
}

/** The options of the command that repeats a world. */
function optionsFor(
  seed: number,
  { brokers = 1, cells, events, needs, clients, faults }: SimulationOptions,
): string {
  const parts = [`--seed ${seed}`, `--events ${events}`]
  if (brokers > 1) parts.push(`--brokers ${brokers}`)
  if (cells !== undefined) parts.push(`--cells ${cells}`)
  if (needs?.actions !== undefined) parts.push(`--actions ${needs.actions}`)
  if (clients !== undefined) parts.push(`--clients "${[...clients]}"`)
  if (faults !== undefined) parts.push(`--faults "${[...faults]}"`)
  return parts.join(' ')
}

/** Prints the result of one world, with its trace if the world broke a rule or if `withTrace`. */
function printResult(result: Result, { withTrace }: { withTrace: boolean }): void {
  if (withTrace || result.violation !== undefined) console.log(result.lines.join('\n'))
  const { violation } = result
  const end = `${result.events} events, ${(result.time / 1000).toFixed(1)} s, hash ${result.hash}`
  console.log(`seed ${result.seed}: ${end}, faults ${result.faults}`)
  if (violation !== undefined) {
    const { rule, detail, time, event } = violation
    console.log(`BROKEN at ${time.toFixed(3)}, event ${event}: ${rule}\n  ${detail}`)
  }
}
