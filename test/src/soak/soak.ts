/**
 * A soak run: for a long time, a broker serves clients that come and go, and the program measures
 * whether memory or open file descriptors grow.
 *
 * Two kinds of client processes use the broker. Residents stay for the whole run, and the program
 * measures them too. Each resident has several users, which open and close sessions. Visitors come
 * one after the other, hold a lock, and leave in one of three ways: a visitor closes its session,
 * exits with an open session, or is killed by SIGKILL.
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
 * The gauges that must be 0 when all clients have left. `memory_used_bytes` stays above 0, because
 * it includes up to 1,024 idle keys. The gauge `keys` does not count idle keys.
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

/** How long the broker may take to become empty: longer than a lease, in ms. */
const emptyWithinMs = 30_000

/** How long the program waits for the end of a process after a failed request, in ms. */
const exitDelayMs = 2_000

/** The time between two looks at the gauges while the broker becomes empty, in ms. */
const gaugePollMs = 200

/** The largest seed of a client, a positive 32-bit integer. */
const maxSeed = 0x7fff_ffff

export class Soak {
  readonly #options: SoakOptions
  #start = 0
  readonly #counts = new Map<string, number>()
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
      // A request to a broker that has just ended fails before the program knows that the process
      // has ended. The error of the process says more than the error of the request.
      await Promise.race([sleep(exitDelayMs), ...failures])
      throw error
    })
    await Promise.race([measuring, visits.failed, ...failures])
    this.#ending.abort()
    await Promise.all([...residentProcesses.map((process) => process.stop()), visits.ended])
    const leftovers = await untilEmpty(adminUrl)
    await broker.kill('SIGTERM')
    const growths = measured.flatMap(({ name, samples }) => growthOf(name, samples, warmUpMs))
    return { growths, counts: this.#counts, visitors: this.#visitors, leftovers }
  }

  #startClient(
    role: 'resident' | 'visitor',
    name: string,
    url: string,
    token: string,
    users: number,
  ): MeasuredProcess {
    const { random, pauseMs } = this.#options
    const seed = random.below(maxSeed)
    const args = [role, url, token, `${seed}`, `${users}`, `${pauseMs}`]
    const client = MeasuredProcess.client(name, args, (counts) => {
      for (const [action, count] of Object.entries(counts)) {
        this.#counts.set(action, (this.#counts.get(action) ?? 0) + count)
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
    // On a machine that is too busy to take its samples in time, the run takes longer.
    for (let at = 0; at < durationMs || samplesAfterWarmUp < minSamples; at = this.#elapsedMs) {
      if (at >= warmUpMs) samplesAfterWarmUp++
      const gauges = await readGauges(adminUrl)
      const brokerValues = { kept: gauges.get('memory_used_bytes')! }
      // The first of the measured processes is the broker. Only the broker has the value `kept`:
      // the bytes that its memory account counts.
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
    const actionCount = [...this.#counts.values()].reduce((sum, count) => sum + count, 0)
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

/** Reads the metrics of the broker that have no labels. The names lack the prefix `holdfast_`. */
async function readGauges(adminUrl: string): Promise<Map<string, number>> {
  const response = await fetch(`${adminUrl}/metrics`)
  if (!response.ok) throw new Error(`The broker refused /metrics with ${response.status}`)
  const lines = (await response.text()).matchAll(/^holdfast_(\w+) (\S+)$/gm)
  return new Map([...lines].map(([, name, value]) => [name!, Number(value)]))
}

/**
 * Waits until all `emptyGauges` are 0, for at most `emptyWithinMs`. Resolves with those gauges
 * that are not 0.
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
