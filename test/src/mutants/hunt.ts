/**
 * Hunts a mutant (a planted bug). The hunt plants the mutant in a copy of the build. A child
 * process runs the simulation of this copy until an oracle reports a broken rule. An oracle is a
 * part of the simulation that observes the product and checks its rules. For a mutant that names a
 * test file, the hunt runs this file in place of the simulation, until a test fails. The simulation
 * runs worlds; a world is one random history, which its seed determines.
 */
import { fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { WorldNeeds } from '../sim/plan.js'
import { copyBuildWith } from './build.js'
import type { Mutant } from './mutant.js'

/** Which worlds a hunt may run. */
export interface WorldRange {
  /** The seed of the first world. */
  readonly from: number
  /** The largest number of seeds to try. Each seed makes one world. */
  readonly seeds: number
  /** The number of events in each world. */
  readonly events: number
}

/**
 * The input of the process that runs the hunt: a range of worlds, and four fields of the mutant.
 * `testFile` is the test file to run; without `testFile`, the process runs worlds.
 */
export interface HuntInput extends WorldRange {
  readonly brokers: number
  readonly cells: number | undefined
  readonly needs: WorldNeeds | undefined
  readonly testFile: string | undefined
}

/** The result of a hunt. */
export interface HuntResult {
  /** The seed of the world that caught the mutant; undefined if no world caught the mutant. */
  readonly seed: number | undefined
  /** The title of the test that failed; undefined if no test failed. */
  readonly test: string | undefined
  /** The rule that the product broke in the world of `seed`; undefined if no rule was broken. */
  readonly rule: string | undefined
  /**
   * The JavaScript error that the mutant threw, such as a TypeError. The failed assertion of a test
   * is no such error. Undefined without an error.
   */
  readonly error: string | undefined
  /** The number of seeds that the hunt tried. Each seed makes one world. */
  readonly seeds: number
  readonly seconds: number
}

/**
 * Returns whether the mutant was caught by a broken rule of the simulation or by a failed assertion
 * of a test. A mutant that throws a JavaScript error does not count as caught, because its planted
 * code no longer fits the code around it.
 */
export function isCaught({ seed, test, error }: HuntResult): boolean {
  return (seed !== undefined || test !== undefined) && error === undefined
}

/** Plants the mutant in a copy of the build. Runs worlds or tests there until one of them fails. */
export async function hunt(mutant: Mutant, worlds: WorldRange): Promise<HuntResult> {
  const copy = copyBuildWith(mutant)
  const { brokers = 1, cells, needs, testFile } = mutant
  try {
    return await runIn(copy, { ...worlds, brokers, cells, needs, testFile })
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

function runIn(copy: string, input: HuntInput): Promise<HuntResult> {
  const program = join(copy, 'test/dist/mutants/huntProcess.js')
  // The child makes a quick run, because a full run is too slow for a hunt. Without HOLDFAST_SEED,
  // random tests use the seed 1, so that a hunt can be repeated. The tests start no bundled
  // programs, because these do not have the mutant.
  const { HOLDFAST_SEED = '1' } = process.env
  const overrides = { HOLDFAST_FULL: '0', HOLDFAST_SEED, HOLDFAST_BUNDLES: undefined }
  const env = { ...process.env, ...overrides }
  const child = fork(program, [JSON.stringify(input)], { stdio: 'inherit', env })
  const result = new Promise<HuntResult>((resolve, reject) => {
    child.once('message', (message) => resolve(message as HuntResult))
    child.once('error', reject)
    child.once('exit', (code) =>
      reject(new Error(`The process of the hunt exited with ${code} before it sent a result`)),
    )
  })
  return result.finally(() => {
    if (child.exitCode === null) child.kill('SIGKILL')
  })
}
