/**
 * Runs a world (a simulated system). If the options ask for cells, each broker is a cell, which
 * serves a part of the keys.
 */
import { simulateCells } from './cells/simulateCells.js'
import { type Result, type SimulationOptions, simulate } from './simulate.js'

export function runWorld(seed: number, options: SimulationOptions): Promise<Result> {
  return options.cells === undefined ? simulate(seed, options) : simulateCells(seed, options)
}
