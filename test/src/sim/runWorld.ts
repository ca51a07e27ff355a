/**
 * Runs a world (a simulated system) with cells, which are independent clusters of brokers, if the
 * options ask for cells; otherwise a world without cells.
 */
import { simulateCells } from './cells/simulateCells.js'
import { type Result, type SimulationOptions, simulate } from './simulate.js'

export function runWorld(seed: number, options: SimulationOptions): Promise<Result> {
  return options.cells === undefined ? simulate(seed, options) : simulateCells(seed, options)
}
