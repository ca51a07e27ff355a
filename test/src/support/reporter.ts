/**
 * The report of a test run: mocha's spec, then the slowest tests, then every skipped test with its
 * reason, and the counts as the last line.
 *
 * Four things fail a run that mocha would accept: a test that was skipped without a reason, an
 * unhandled rejection, a handle that keeps the process alive after the last test, and an exit in
 * the middle of the run.
 */
import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'
import { reasonOf } from './needs.js'

/**
 * How long a finished run may take to close all handles, in ms, unless the option `settleMs` is
 * set.
 */
const defaultSettleMs = 10_000

/** The duration of a slow test in ms, and the number of lines for slow tests. */
const slowMs = 1_000
const mostSlow = 10

export default class Reporter extends Mocha.reporters.Spec {
  readonly #slow: Mocha.Test[] = []
  #passed = 0
  #failed = 0
  readonly #skipped: Mocha.Test[] = []
  readonly #settleMs: number
  /** The file for the counts in place of the last line, if another program sums them up. */
  readonly #countsFile: string | undefined
  #ended = false

  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options)
    this.#settleMs = Number(options.reporterOptions?.['settleMs'] ?? defaultSettleMs)
    this.#countsFile = options.reporterOptions?.['countsFile']
    runner.on('pass', (test: Mocha.Test) => {
      this.#passed++
      if ((test.duration ?? 0) >= slowMs) this.#slow.push(test)
    })
    runner.on('fail', () => {
      this.#failed++
    })
    runner.on('pending', (test: Mocha.Test) => {
      this.#skipped.push(test)
    })
    process.on('exit', () => this.#close())
    // mocha sees the thrown error as an uncaught exception and fails the running test.
    process.on('unhandledRejection', (reason) => {
      throw reason
    })
  }

  /** Called by mocha after the last test with its count of failures; `leave` sets the exit code. */
  override done(failures: number, leave?: (failures: number) => void): void {
    this.#ended = true
    this.#listSlowest()
    const unexplained = this.#listSkipped()
    this.#failed += unexplained
    leave?.(failures + unexplained)
    setTimeout(() => this.#complainOfLeak(), this.#settleMs).unref()
    // Nothing is open any more. Node would now tear its environment down, and sometimes waits there
    // for ever, busily, for a finished request.
    process.once('beforeExit', () => process.exit())
  }

  #listSlowest(): void {
    const slowestFirst = this.#slow.sort((a, b) => (b.duration ?? 0) - (a.duration ?? 0))
    for (const test of slowestFirst.slice(0, mostSlow)) {
      const seconds = ((test.duration ?? 0) / 1_000).toFixed(1)
      process.stdout.write(`slow: ${seconds} s: ${test.fullTitle()}\n`)
    }
  }

  /** Lists each skipped test with its reason. @returns how many have none */
  #listSkipped(): number {
    let unexplained = 0
    for (const test of this.#skipped) {
      const reason = reasonOf(test)
      if (reason === undefined) unexplained++
      process.stdout.write(`skipped: ${test.fullTitle()}: ${reason ?? 'WITHOUT A REASON'}\n`)
    }
    return unexplained
  }

  #complainOfLeak(): void {
    const open = process.getActiveResourcesInfo().join(', ')
    process.stdout.write(`the tests are over, but something is still open: ${open}\n`)
    this.#failed++
    // Runs after mocha's own listener, which sets the code of a run whose tests all passed.
    process.on('exit', () => {
      process.exitCode = 1
    })
    process.exit()
  }

  #close(): void {
    if (!this.#ended) {
      process.stdout.write('the run ended before its last test\n')
      this.#failed++
      process.exitCode = 1
    }
    const counts = { passed: this.#passed, failed: this.#failed, skipped: this.#skipped.length }
    if (this.#countsFile !== undefined) writeFileSync(this.#countsFile, JSON.stringify(counts))
    else process.stdout.write(`${lineOf(counts)}\n`)
  }
}

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

function lineOf({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}
