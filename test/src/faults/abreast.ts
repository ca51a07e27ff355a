/**
 * Tests that mostly wait, for leases to run out: they all begin with the first of them and are
 * judged one by one, so that together they take as long as the longest.
 */
import { Stage } from '../e2e/stage.js'

/** What a test is called, and what it does, on a stage of its own. */
export type Named = readonly [name: string, run: (stage: Stage) => Promise<void>]

/** Inside a `describe`. Each is run so many times, one after the other. */
export function abreast(times: number, tests: readonly Named[]): void {
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
 * Resolves with what throws if a run failed: nobody is there to hear a rejection that comes early.
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
