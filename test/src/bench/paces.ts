/**
 * The paces, which define the length of a run. Each system that the bench compares runs for one
 * slice of time in each round. The type `Pace` explains the fields.
 */
import type { Pace } from './job.js'

/** The pace of a single run, unless a flag asks for another pace. */
export const normalPace: Pace = {
  name: 'normal',
  rounds: 7,
  sliceMs: 500,
  warmUpMs: 800,
  sizeDivisor: 1,
}

/**
 * The pace of each run if `--runs` asks for several runs, which then need fewer rounds each. The
 * name and the slices are those of `normalPace`.
 */
export const repeatedPace: Pace = { ...normalPace, rounds: 3 }

/** The pace of `npm run bench -- --quick`. */
export const quickPace: Pace = {
  name: 'quick',
  rounds: 2,
  sliceMs: 200,
  warmUpMs: 200,
  sizeDivisor: 20,
}

/** The pace of the tests of the bench, which assert no figure. */
export const smokePace: Pace = {
  name: 'smoke',
  rounds: 1,
  sliceMs: 100,
  warmUpMs: 20,
  sizeDivisor: 1_000,
}
