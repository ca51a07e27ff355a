/**
 * Runs slow tests concurrently. Most of them only wait until a lease ends. They all start with the
 * first test and report one by one, so that together they take as long as the longest.
 */
import { Stage } from '../e2e/stage.js'

/** The title of a test, and its function, which gets a stage of its own. */
export type NamedTest = readonly [name: string, run: (stage: Stage) => Promise<void>]

/** Declares the tests inside a `describe`. Each runs `rounds` times, one run after another. */
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
 * Settles with the outcome of a run. Handles a rejection at once, because an early rejection would
 * otherwise be unhandled.
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
