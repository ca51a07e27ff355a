/** Runs a world of the kind that the options ask for: with cells, or without. */
import { simulateCells } from './cells/simulateCells.js'
import { type Result, type SimulationOptions, simulate } from './simulate.js'

export function runWorld(seed: number, options: SimulationOptions): Promise<Result> {
  return options.cells === undefined ? simulate(seed, options) : simulateCells(seed, options)
}
