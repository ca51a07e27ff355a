/**
 * Runs slow tests concurrently. Most of them only wait until a lease ends. All tests start with the
 * first test, and each reports its own outcome. So together they take as long as the longest test.
 */
import { Stage } from '../e2e/stage.js'

/** The title of a test, and its function, which gets a stage of its own. */
export type NamedTest = readonly [name: string, run: (stage: Stage) => Promise<void>]

/** Declares the tests inside a `describe`. Each test runs `times` times, one run after another. */
export function runConcurrently(times: number, tests: readonly NamedTest[]): void {
  let outcomes: Promise<() => void>[] = []
  before(() => {
    outcomes = tests.map(([, run]) => outcomeOf(times, run))
  })
  for (const [i, [name]] of tests.entries()) {
    it(name, async () => {
      const report = await outcomes[i]!
      report()
    })
  }
}

/**
 * Runs a test, and resolves with a function that throws the error of the test, if it has failed.
 * This function never rejects, because a rejection before mocha reaches the test would be
 * unhandled.
 */
async function outcomeOf(times: number, run: (stage: Stage) => Promise<void>): Promise<() => void> {
  for (let i = 0; i < times; i++) {
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
