/**
 * Runs one compiled test file until a test fails. A mutant (a planted bug) may name the test file
 * that must find the bug.
 */
import { fileURLToPath } from 'node:url'
import Mocha from 'mocha'

/** A test that failed. */
export interface TestFailure {
  /** The titles of the suites and of the test. */
  readonly test: string
  /** The first line of the error; undefined if the error is a failed assertion. */
  readonly error: string | undefined
}

/** The longest time for one test, in ms. */
const testTimeoutMs = 60_000

/**
 * Resolves with the first failed test of the file; undefined if all tests pass.
 *
 * @param testPath The path in `test/src` without the ending, such as `table/deadlock`.
 */
export async function firstFailureIn(testPath: string): Promise<TestFailure | undefined> {
  // The run ends at the first failure. The reporter `Base` prints nothing.
  const mocha = new Mocha({ bail: true, timeout: testTimeoutMs, reporter: Mocha.reporters.Base })
  mocha.addFile(fileURLToPath(new URL(`../${testPath}.test.js`, import.meta.url)))
  await mocha.loadFilesAsync()
  return new Promise((resolve) => {
    let failure: TestFailure | undefined
    const runner = mocha.run(() => resolve(failure))
    runner.on('fail', (test, error: Error) => {
      failure ??= {
        test: test.fullTitle(),
        error: isAssertion(error) ? undefined : firstLineOf(error),
      }
    })
  })
}

function firstLineOf(error: Error): string | undefined {
  return String(error).split('\n', 1)[0]
}

/** Whether an error is a failed assertion. An error of fast-check has the assertion as `cause`. */
function isAssertion(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return error.name === 'AssertionError' || isAssertion(error.cause)
}
