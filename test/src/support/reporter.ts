/**
 * Prints the report of a test run: the `spec` report of mocha, and then the slowest tests, every
 * skipped test with its reason and every failed test with its error. The last line has the counts.
 *
 * Four things fail a run that mocha would accept:
 *
 * - a test that was skipped without a reason
 * - an unhandled rejection
 * - a handle that keeps the process alive after the last test
 * - an exit in the middle of the run
 */
import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'
import { reasonOf } from './needs.js'

/**
 * How long a finished run may take to close all handles, in ms, unless the option `settleMs` is
 * set.
 */
const defaultSettleMs = 10_000

/** A test is slow if it takes at least this long, in ms. */
const slowMs = 1_000
/** The largest number of slow tests in the report. */
const maxSlowTests = 10
/** The largest length of an error in the list of failed tests, in characters. */
const maxErrorLength = 300

export default class Reporter extends Mocha.reporters.Spec {
  readonly #slow: Mocha.Test[] = []
  #passed = 0
  /** The failed tests and hooks, each with its error in one line. */
  readonly #failures: string[] = []
  readonly #skipped: Mocha.Test[] = []
  readonly #settleMs: number
  /**
   * The file for the counts and the failures, if another program combines several runs. The report
   * then has neither.
   */
  readonly #countsFile: string | undefined
  #hasEnded = false

  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options)
    this.#settleMs = Number(options.reporterOptions?.['settleMs'] ?? defaultSettleMs)
    this.#countsFile = options.reporterOptions?.['countsFile']
    runner.on('pass', (test: Mocha.Test) => {
      this.#passed++
      if ((test.duration ?? 0) >= slowMs) this.#slow.push(test)
    })
    runner.on('fail', (test: Mocha.Runnable, error: unknown) => {
      this.#failures.push(`${test.fullTitle()}: ${oneLine(error)}`)
    })
    runner.on('pending', (test: Mocha.Test) => {
      this.#skipped.push(test)
    })
    process.on('exit', () => this.#onExit())
    // mocha sees the thrown error as an uncaught exception and fails the running test.
    process.on('unhandledRejection', (reason) => {
      throw reason
    })
  }

  /**
   * Called by mocha after the last test.
   *
   * @param failures The number of failures.
   * @param setExitCode Takes the number of failures.
   */
  override done(failures: number, setExitCode?: (failures: number) => void): void {
    this.#hasEnded = true
    this.#listSlowest()
    const unexplained = this.#listSkipped()
    this.#failures.push(...unexplained.map((title) => `${title}: skipped without a reason`))
    setExitCode?.(failures + unexplained.length)
    // The timer itself must not keep the process alive.
    setTimeout(() => this.#failForOpenHandles(), this.#settleMs).unref()
    // After this event Node should exit, because no handle keeps the process alive. But Node
    // sometimes then waits forever for a request that has already finished.
    process.once('beforeExit', () => process.exit())
  }

  #listSlowest(): void {
    const slowestFirst = this.#slow.sort((a, b) => (b.duration ?? 0) - (a.duration ?? 0))
    for (const test of slowestFirst.slice(0, maxSlowTests)) {
      const seconds = ((test.duration ?? 0) / 1_000).toFixed(1)
      process.stdout.write(`slow: ${seconds} s: ${test.fullTitle()}\n`)
    }
  }

  /** Lists each skipped test with its reason. @returns the skipped tests without a reason */
  #listSkipped(): string[] {
    const unexplained: string[] = []
    for (const test of this.#skipped) {
      const reason = reasonOf(test)
      if (reason === undefined) unexplained.push(test.fullTitle())
      process.stdout.write(`skipped: ${test.fullTitle()}: ${reason ?? 'WITHOUT A REASON'}\n`)
    }
    return unexplained
  }

  #failForOpenHandles(): void {
    const open = process.getActiveResourcesInfo().join(', ')
    this.#failures.push(`the tests are over, but something is still open: ${open}`)
    // Runs after mocha's own listener, which sets the exit code to 0 if all tests passed.
    process.on('exit', () => {
      process.exitCode = 1
    })
    process.exit()
  }

  #onExit(): void {
    if (!this.#hasEnded) {
      this.#failures.push('the run ended before its last test')
      process.exitCode = 1
    }
    const failures = this.#failures
    const counts = { passed: this.#passed, failed: failures.length, skipped: this.#skipped.length }
    if (this.#countsFile !== undefined) {
      writeFileSync(this.#countsFile, JSON.stringify({ ...counts, failures }))
      return
    }
    for (const failure of failures) process.stdout.write(`failed: ${failure}\n`)
    process.stdout.write(`${formatCounts(counts)}\n`)
  }
}

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

/** The message of an error in one line, cut to a length that a report can show. */
function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > maxErrorLength ? `${line.slice(0, maxErrorLength)}…` : line
}
