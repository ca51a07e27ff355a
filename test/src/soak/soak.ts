/**
 * A soak run: a broker serves clients for a long time, and the program measures whether memory or
 * open file descriptors grow.
 *
 * The program measures the broker and the residents: client processes that stay for the whole run.
 * Each resident simulates several users, which open and close sessions. Other client processes,
 * the visitors, come one after the other, hold a lock, and leave in one of three ways: a visitor
 * closes its session, exits with an open session, or is killed by SIGKILL.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../support/counts.js'
import { actions } from './actions.js'
import { MeasuredProcess } from './processes.js'
import {
  formatQuantity,
  type Growth,
  growthOf,
  minSamples,
  quantities,
  type Sample,
} from './slopes.js'

export interface SoakOptions {
  readonly durationMs: number
  /** Samples of the first `warmUpMs` do not count for the slopes. */
  readonly warmUpMs: number
  /** The time from one sample to the next. */
  readonly sampleMs: number
  /** The time from one printed line to the next. */
  readonly lineMs: number
  /** The time from the end of one visitor to the start of the next. */
  readonly visitorPauseMs: number
  readonly residents: number
  readonly usersPerResident: number
  /** The mean pause of a user between two actions. */
  readonly pauseMs: number
  readonly random: Random
  /** Modules that the broker loads first, such as a module with a deliberate leak. */
  readonly brokerModules: readonly string[]
  readonly print: (line: string) => void
}

export interface SoakResult {
  readonly growths: readonly Growth[]
  /** How often each action was done. */
  readonly counts: ReadonlyMap<string, number>
  readonly visitors: number
  /** The gauges of the broker that are not 0 although all clients have left. */
  readonly leftovers: readonly string[]
}

/**
 * The gauges that must be 0 when all clients have left. `memory_used_bytes` is not in this list: it
 * includes up to 1,024 idle keys, which the gauge `keys` does not count.
 */
const emptyGauges = [
  'connections',
  'sessions',
  'locks_held',
  'requests_waiting',
  'keys',
  'barriers',
  'kept_results',
] as const

/** How long the broker may take to become empty, in ms: longer than the lease of any client. */
const emptyWithinMs = 30_000

/** How long the program waits for the end of a process after a failed request, in ms. */
const exitDelayMs = 2_000

/** The time between two looks at the gauges while the broker becomes empty, in ms. */
const gaugePollMs = 200

/** The seeds of the clients are below this limit, so that they are 32-bit integers. */
const seedLimit = 0x7fff_ffff

export class Soak {
  readonly #options: SoakOptions
  #start = 0
  readonly #actionCounts = new Map<string, number>()
  readonly #processes = new Set<MeasuredProcess>()
  #visitors = 0
  /** Aborted when no further visitor may come. */
  readonly #ending = new AbortController()

  constructor(options: SoakOptions) {
    this.#options = options
  }

  /**
   * Runs the soak, and ends all its processes.
   *
   * @throws Error if the broker or a resident ends early
   */
  async run(): Promise<SoakResult> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-soak-'))
    try {
      const token = randomBytes(16).toString('hex')
      const hash = createHash('sha256').update(token).digest('hex')
      const tokenFile = join(folder, 'tokens')
      // The principal `soak` may do all operations with all keys.
      await writeFile(tokenFile, `${hash} soak all *\n`, { mode: 0o600 })
      return await this.#runWith(tokenFile, token)
    } finally {
      this.#ending.abort()
      await Promise.all([...this.#processes].map((process) => process.kill('SIGKILL')))
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #runWith(tokenFile: string, token: string): Promise<SoakResult> {
    const { residents, usersPerResident, brokerModules, warmUpMs } = this.#options
    const flags = ['--tokens', tokenFile, '--log-level', 'error']
    const { broker, url, adminUrl } = await MeasuredProcess.broker(flags, brokerModules)
    this.#processes.add(broker)
    const residentProcesses = Array.from({ length: residents }, (_, i) =>
      this.#startClient('resident', `client ${i + 1}`, url, token, usersPerResident),
    )
    const visits = this.#sendVisitors(url, token)
    const measured = [broker, ...residentProcesses]
    const failures = measured.map(({ failed }) => failed)
    const measuring = this.#measureUntilEnd(measured, adminUrl).catch(async (error: unknown) => {
      // If the broker has ended, a request to the broker fails before the program notices the end.
      // The error of the process says more, so wait for this error.
      await Promise.race([sleep(exitDelayMs), ...failures])
      throw error
    })
    await Promise.race([measuring, visits.failed, ...failures])
    this.#ending.abort()
    await Promise.all([...residentProcesses.map((process) => process.stop()), visits.ended])
    const leftovers = await untilEmpty(adminUrl)
    await broker.kill('SIGTERM')
    const growths = measured.flatMap(({ name, samples }) => growthOf(name, samples, warmUpMs))
    return { growths, counts: this.#actionCounts, visitors: this.#visitors, leftovers }
  }

  #startClient(
    role: 'resident' | 'visitor',
    name: string,
    url: string,
    token: string,
    users: number,
  ): MeasuredProcess {
    const { random, pauseMs } = this.#options
    const seed = random.below(seedLimit)
    const args = [role, url, token, `${seed}`, `${users}`, `${pauseMs}`]
    const client = MeasuredProcess.client(name, args, (counts) => {
      for (const [action, count] of Object.entries(counts)) {
        this.#actionCounts.set(action, (this.#actionCounts.get(action) ?? 0) + count)
      }
    })
    this.#processes.add(client)
    void client.exited().then(() => this.#processes.delete(client))
    return client
  }

  /** Starts one visitor after another until the run ends. */
  #sendVisitors(
    url: string,
    token: string,
  ): { readonly failed: Promise<never>; readonly ended: Promise<void> } {
    const visit = async (): Promise<void> => {
      const { signal } = this.#ending
      const users = 1
      while (!signal.aborted) {
        await this.#startClient('visitor', 'visitor', url, token, users).exited()
        this.#visitors++
        await sleep(this.#options.visitorPauseMs, undefined, { signal }).catch(() => {})
      }
    }
    const ended = visit()
    const failed = new Promise<never>((_, reject) => {
      ended.catch(reject)
    })
    return { failed, ended }
  }

  async #measureUntilEnd(measured: readonly MeasuredProcess[], adminUrl: string): Promise<void> {
    const { durationMs, warmUpMs, sampleMs, lineMs } = this.#options
    this.#start = performance.now()
    let nextLineAt = lineMs
    let samplesAfterWarmUp = 0
    // On a busy machine, samples come late. The run goes on until it has enough of them.
    for (let at = 0; at < durationMs || samplesAfterWarmUp < minSamples; at = this.#elapsedMs) {
      if (at >= warmUpMs) samplesAfterWarmUp++
      const gauges = await readGauges(adminUrl)
      const brokerValues = { kept: gauges.get('memory_used_bytes')! }
      // The first process is the broker.
      const samples = await Promise.all(
        measured.map((process, i) => process.measure(at, i === 0 ? brokerValues : {})),
      )
      if (at >= nextLineAt) {
        nextLineAt += lineMs
        this.#options.print(this.#line(at, measured, samples, gauges))
      }
      await sleep(Math.max(0, sampleMs - (this.#elapsedMs - at)))
    }
  }

  get #elapsedMs(): number {
    return performance.now() - this.#start
  }

  #line(
    at: number,
    measured: readonly MeasuredProcess[],
    samples: readonly Sample[],
    gauges: ReadonlyMap<string, number>,
  ): string {
    const parts = samples.map((sample, i) => `${measured[i]!.name}: ${formatSample(sample)}`)
    const gaugeTexts = ['sessions', 'locks_held', 'requests_waiting'].map(
      (name) => `${name} ${gauges.get(name)}`,
    )
    const actionCount = [...this.#actionCounts.values()].reduce((sum, count) => sum + count, 0)
    const load = `${actionCount} actions, ${this.#visitors} visitors, ${gaugeTexts.join(', ')}`
    return [`${(at / 60_000).toFixed(1)} min`, ...parts, load].join(' | ')
  }
}

/** Formats a sample, for instance `rss 61.20 MiB, heap 9.10 MiB, descriptors 27.0`. */
function formatSample({ values }: Sample): string {
  return quantities
    .flatMap((quantity) => {
      const value = values[quantity]
      return value === undefined ? [] : [`${quantity} ${formatQuantity(quantity, value)}`]
    })
    .join(', ')
}

/** Reads the broker's metrics without labels, by their names without the prefix `holdfast_`. */
async function readGauges(adminUrl: string): Promise<Map<string, number>> {
  const response = await fetch(`${adminUrl}/metrics`)
  if (!response.ok) throw new Error(`The broker refused /metrics with ${response.status}`)
  const lines = (await response.text()).matchAll(/^holdfast_(\w+) (\S+)$/gm)
  return new Map([...lines].map(([, name, value]) => [name!, Number(value)]))
}

/**
 * Waits until all `emptyGauges` are 0, for at most `emptyWithinMs`. Resolves with a text for each
 * gauge that is still not 0.
 */
async function untilEmpty(adminUrl: string): Promise<string[]> {
  const end = performance.now() + emptyWithinMs
  for (;;) {
    const gauges = await readGauges(adminUrl)
    const leftovers = emptyGauges.filter((name) => gauges.get(name) !== 0)
    if (leftovers.length === 0 || performance.now() > end) {
      return leftovers.map((name) => `${name} is ${gauges.get(name)}`)
    }
    await sleep(gaugePollMs)
  }
}

/** The names of the actions that were never done. */
export function missingActions(counts: ReadonlyMap<string, number>): string[] {
  return Object.keys(actions).filter((name) => !counts.has(name))
}
