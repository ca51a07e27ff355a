/**
 * Runs slow tests concurrently. Most of these tests only wait until a lease ends. The lease is how
 * long a broker keeps a silent session. All tests start at the same time, so together they take
 * only as long as the longest test. Each test reports its own outcome.
 */
import { Stage } from '../e2e/stage.js'

/**
 * The title of a test, and its function. Each run of the test gets a new stage, which removes the
 * brokers and clients of the run afterwards.
 */
export type NamedTest = readonly [title: string, run: (stage: Stage) => Promise<void>]

/** Declares the tests inside a `describe`. Each test runs `runCount` times, one run at a time. */
export function runConcurrently(runCount: number, tests: readonly NamedTest[]): void {
  let outcomes: Promise<() => void>[] = []
  before(() => {
    outcomes = tests.map(([, run]) => outcomeOf(runCount, run))
  })
  for (const [i, [title]] of tests.entries()) {
    it(title, async () => {
      const throwIfFailed = await outcomes[i]!
      throwIfFailed()
    })
  }
}

/**
 * Runs a test, and resolves with a function that throws the error of the test, if the test has
 * failed. The promise never rejects, because nothing handles a rejection until mocha reaches the
 * test.
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
      await stage.cleanUp()
    }
  }
  return () => {}
}
