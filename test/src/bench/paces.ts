/** The possible lengths of a run: normal, quick, and "smoke" with the short slices of the tests. */
import type { Pace } from './job.js'

export const normalPace: Pace = {
  name: 'normal',
  rounds: 7,
  sliceMs: 500,
  warmUpMs: 800,
  scale: 1,
}

export const quickPace: Pace = {
  name: 'quick',
  rounds: 2,
  sliceMs: 200,
  warmUpMs: 200,
  scale: 20,
}

export const smokePace: Pace = {
  name: 'smoke',
  rounds: 1,
  sliceMs: 100,
  warmUpMs: 20,
  scale: 1_000,
}
