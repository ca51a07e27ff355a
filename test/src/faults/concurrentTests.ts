/**
 * Runs slow tests concurrently. Most of these tests only wait until a lease ends. The lease is how
 * long a broker keeps a silent session. All tests start at the same time, so together they take
 * only as long as the longest test. Each test reports its own outcome.
 */
import { Stage } from '../e2e/stage.js'

/**
 * The title of a test, and its function. Each run gets a new stage, which removes the brokers and
 * clients of the run afterwards.
 */
export type NamedTest = readonly [name: string, run: (stage: Stage) => Promise<void>]

/** Declares the tests inside a `describe`. The runs of one test follow each other. */
export function runConcurrently(runCount: number, tests: readonly NamedTest[]): void {
  let outcomes: Promise<() => void>[] = []
  before(() => {
    outcomes = tests.map(([, run]) => outcomeOf(runCount, run))
  })
  for (const [i, [name]] of tests.entries()) {
    it(name, async () => {
      const report = await outcomes[i]!
      report()
    })
  }
}

/**
 * Runs a test, and resolves with a function that throws the error of the test, if the test has
 * failed. The promise never rejects, because a rejection before mocha reaches the test would be
 * unhandled.
 */
async function outcomeOf(
  runCount: number,
  run: (stage: Stage) => Promise<void>,
): Promise<() => void> {
  for (let i = 0; i < runCount; i++) {
    const stage = new Stage()
    try {
      await run(stage)
    } catch (error) {
      return () => {
        throw error
      }
    } finally {
      await stage.clear()
    }
  }
  return () => {}
}
