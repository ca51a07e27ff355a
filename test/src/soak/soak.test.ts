/**
 * Tests the soak program with short runs. The program searches a broker and its clients for leaks,
 * in a long run with a constant load. Clients that stay are residents, and each simulates several
 * concurrent users. Clients that come and go are visitors. The program must run to its end and
 * leave nothing behind. The program must notice a leak that is planted in the broker, and must fail
 * when the broker ends. No test expects memory within its bounds, because each process grows in its
 * first seconds.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { exitOf } from '../e2e/remote.js'
import { Random, seed } from '../support/counts.js'
import { Soak } from './soak.js'

const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** The options of a run of 4 s with a sample each 0.1 s. */
const shortRun = ['--hours', `${4 / 3_600}`, '--sample', '0.1', '--residents', '1', '--users', '2']

/** Runs the program, and resolves with its exit code and its output. */
async function runSoak(
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly lines: string[]; readonly errors: string }> {
  const child = spawn(process.execPath, [pathOf('main.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const errorLines: string[] = []
  createInterface(child.stdout).on('line', (line) => lines.push(line))
  createInterface(child.stderr).on('line', (line) => errorLines.push(line))
  const { code } = await exitOf(child)
  return { code, lines, errors: errorLines.join('\n') }
}

describe('soak: a short run', function () {
  this.timeout(120_000)

  it('measures the broker and the clients, and leaves no locks or sessions behind', async () => {
    const lines: string[] = []
    const soak = new Soak({
      durationMs: 3_000,
      warmUpMs: 500,
      sampleMs: 100,
      lineMs: 1_000,
      visitorPauseMs: 0,
      residents: 1,
      usersPerResident: 4,
      pauseMs: 5,
      random: new Random(seed),
      brokerModules: [],
      print: (line) => lines.push(line),
    })
    const { growths, counts, visitors, leftovers } = await soak.run()
    expect(leftovers).to.deep.equal([])
    expect(visitors).to.be.above(0)
    // On a busy machine, the users try only a few of about thirty kinds of actions.
    expect(counts.size).to.be.above(3)
    expect(lines[0]).to.match(/^0\.\d min \| broker: rss .* client 1: rss .* actions, \d+ visitors/)
    // `kept` is the memory that the broker counts as used for clients. The next test checks the
    // other quantities.
    const measured = growths.map(({ process, quantity }) => `${process} ${quantity}`)
    expect(measured).to.include.members([
      ...['broker rss', 'broker heap', 'broker code', 'broker external', 'broker kept'],
      ...['client 1 rss', 'client 1 heap', 'client 1 external'],
    ])
  })

  it('notices a leak of memory and descriptors in the broker', async () => {
    const { code, lines } = await runSoak(...shortRun, '--preload', pathOf('programs/leak.js'))
    // The first two cells of a row have the names of the process and of the quantity.
    const growingQuantities = lines
      .filter((line) => line.includes('BEYOND'))
      .map((line) =>
        line
          .split('|')
          .slice(1, 3)
          .map((cell) => cell.trim())
          .join(' '),
      )
    expect(growingQuantities).to.include.members([
      'broker heap',
      'broker external',
      'broker descriptors',
    ])
    expect(growingQuantities).to.not.include('client 1 descriptors')
    // The broker has all six quantities. The client has five, because it has no `kept`.
    expect(lines.at(-1)).to.match(/^\d+ of 11 slopes are beyond their bounds$/)
    expect(code).to.equal(1)
  })

  it('fails when the broker ends before the end of the run', async () => {
    const { code, errors } = await runSoak(...shortRun, '--preload', pathOf('programs/crash.js'))
    // 70 is the exit code that crash.js chooses.
    expect(errors).to.include('The soak failed: Error: broker ended with 70')
    expect(code).to.equal(1)
  })

  it('refuses a run that is too short for a verdict', async () => {
    // The run lasts 36 s. With the default of a sample each 10 s, it has about 4 samples.
    const { code, errors } = await runSoak('--hours', '0.01')
    expect(errors).to.include('The run has fewer than 20 samples after the warm-up')
    expect(code).to.equal(64)
  })

  it('refuses an option that is no number', async () => {
    const { code, errors } = await runSoak('--hours', 'long')
    expect(errors).to.equal('--hours must be a number of at least 0, not "long"')
    expect(code).to.equal(64)
  })
})
