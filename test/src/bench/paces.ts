/**
 * The paces, which define how long a run takes. A run has rounds; in each round, each compared
 * system runs for one slice of time. The type `Pace` explains the fields.
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

/** The pace if `--runs` asks for several runs. Each run then needs fewer rounds. */
export const repeatedPace: Pace = { ...normalPace, rounds: 3 }

/** The pace of `npm run bench -- --quick`. */
export const quickPace: Pace = {
  name: 'quick',
  rounds: 2,
  sliceMs: 200,
  warmUpMs: 200,
  sizeDivisor: 20,
}

/** The pace of the bench's own tests, which do not check the figures. */
export const smokePace: Pace = {
  name: 'smoke',
  rounds: 1,
  sliceMs: 100,
  warmUpMs: 20,
  sizeDivisor: 1_000,
}
