/**
 * The workload "neighbours": measures how hostile clients that stay within the broker's limits
 * affect good (well-behaved) clients. The broker has a core of its own and a table of 100,000
 * locks. Hostile clients of one kind come from another process. The good clients must lose nothing,
 * and their pairs (a lock and its unlock) must stay fast.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Profile } from '@holdfast/server'
import { kinds } from '../hostile/index.js'
import { maxSessions } from '../hostile/kind.js'
import { principalsOf, sourceOf } from '../hostile/origins.js'
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Workload,
} from '../job.js'
import { GoodClient, goodLeaseMs } from '../load/goodClient.js'
import { Latencies } from '../load/latencies.js'
import { RawSession } from '../load/rawSession.js'
import type { HostileCommand, HostileReport } from '../processes/hostile.js'
import { longestStall, removeStallFile } from '../processes/loopStalls.js'
import { peakBytes } from '../processes/usage.js'

const hostileProgram = fileURLToPath(new URL('../processes/hostile.js', import.meta.url))
/**
 * Limits the threads of V8 in the process of the hostile clients. Only the main thread of this
 * process has the lowest priority, so its other threads could slow the good clients.
 */
const hostileFlags = ['--single-threaded-gc', '--v8-pool-size=1']
/** The number of locks in the table, without the locks of the good clients. */
const tableLocks = 100_000
/** The largest heap of the broker. */
const heapMiB = 512
/** The number of good clients, and the time between two pairs of each good client, in ms. */
const good = { count: 10, everyMs: 50 }
/** The number of locks of each session that fills the table, by profile (set of limits). */
const locksPerFiller = { private: 10_000, public: 180 }
/**
 * The lease (how long the broker keeps a silent session) of the sessions that fill the table, in
 * ms. It is the longest possible lease, so that these sessions do not expire.
 */
const fillerLeaseMs = 300_000
/** How often the memory of the broker is sampled, in ms. */
const sampleMs = 100
/** How long the process of the hostile clients may take to report its counts, in ms. */
const reportMs = 2_000
/** The time between two checks of a condition, in ms. */
const pollMs = 20
/** The number of sessions that fill the table at the same time. */
const fillersAtOnce = 25
/** The longest wait for the preparations, and for the answers to the good clients, in ms. */
const maxWaitMs = 20_000
/** How long the hostile clients run at each pace, in ms. */
const hostileMs = { normal: 2_500, quick: 1_500, smoke: 500 }

/** The number of sessions that fill the table. */
function fillerCount(profile: Profile, locks: number): number {
  return Math.ceil(locks / locksPerFiller[profile])
}

function jobs({ sizeDivisor }: { readonly sizeDivisor: number }): readonly Job[] {
  const locks = Math.max(1_000, tableLocks / sizeDivisor)
  return (['private', 'public'] as const).flatMap((profile) =>
    kinds.map(({ name }, kindIndex) => ({
      ...makeJob({
        workload: 'neighbours',
        shape: `${profile}: ${name}`,
        placement: 'split',
        params: { kind: kindIndex, locks },
      }),
      heapMiB,
      watchesLoop: true,
      ...(profile === 'public' && {
        profile,
        principals: principalsOf({
          good: good.count,
          filler: fillerCount(profile, locks),
          // A session that resumes has two connections for a moment.
          hostile: 2 * maxSessions,
        }),
      }),
    })),
  )
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { server, pace, progress } = context
  const profile = context.job.profile ?? 'private'
  const { workload, shape, placement } = context.job
  const hostileProcess = fork(hostileProgram, { serialization: 'advanced', execArgv: hostileFlags })
  try {
    await fillTable(server.url, profile, param(context.job, 'locks'))
    const clients = await Promise.all(
      Array.from({ length: good.count }, (_, i) => startGood(server.url, profile, i)),
    )
    // The good clients first run without hostile clients, for a third of the time.
    const calm = await runPairs(clients, hostileMs[pace.name] / 3)
    progress(0.3)
    const { url } = server
    const kind = kinds[param(context.job, 'kind')]!.name
    const began = Date.now()
    const figuresBeside = await runBesideHostile(context, {
      clients,
      hostileProcess,
      hostileClients: { url, kind, profile },
    })
    const figures = {
      ...calmFigures(calm),
      ...figuresBeside,
      ...stallOf(context, began, figuresBeside),
    }
    // In the table of this workload, the column of the system shows the outcome.
    const row = { workload, shape, placement, system: outcomeOf(clients, figures), figures }
    return { rows: [row], grants: 0, violations: 0 }
  } finally {
    hostileProcess.kill('SIGKILL')
    removeStallFile(server.pid)
  }
}

/**
 * The good clients, the process of the hostile clients, and the fields of the command `prepare` to
 * this process.
 */
interface Scene {
  readonly clients: readonly GoodClient[]
  readonly hostileProcess: ChildProcess
  readonly hostileClients: {
    readonly url: string
    readonly kind: string
    readonly profile: Profile
  }
}

/** The figures of the good clients and of the broker while hostile clients run. */
interface FiguresBesideHostile {
  readonly p50Us: number
  readonly p99Us: number
  readonly maxMs: number
  readonly lostSessions: number
  /** The counts of the hostile clients, see {@link HostileReport}. */
  readonly sent: number
  readonly cuts: number
  readonly peakMiB: number
  readonly died: number
}

/**
 * Runs the hostile clients, and measures the good clients from the preparation of the hostile
 * clients until all pairs are finished.
 */
async function runBesideHostile(
  { server, pace, usageOf }: LoadContext,
  { clients, hostileProcess, hostileClients }: Scene,
): Promise<FiguresBesideHostile> {
  let peak = 0
  let isDead = false
  const sample = async (): Promise<void> => {
    try {
      peak = Math.max(peak, peakBytes(server.pid) ?? (await usageOf(server.pid)).rssBytes)
    } catch {
      isDead = true
    }
  }
  const sampling = setInterval(sample, sampleMs)
  const pairTimer = startPairs(clients)
  // Hostile clients need not go on when the broker is dead, or when no client is left to measure.
  const isOver = (): boolean => isDead || clients.every(({ lost }) => lost !== undefined)
  // If the broker dies or stalls, the preparations never end.
  await Promise.race([
    send(hostileProcess, { type: 'prepare', ...hostileClients }),
    pause(maxWaitMs),
  ])
  hostileProcess.send({ type: 'begin' } satisfies HostileCommand)
  await waitUntil(isOver, hostileMs[pace.name])
  const report = await Promise.race([send(hostileProcess, { type: 'stop' }), pause(reportMs)])
  hostileProcess.kill('SIGKILL')
  clearInterval(pairTimer)
  await waitUntil(() => isDead || clients.every(({ pending }) => pending === 0), maxWaitMs)
  clearInterval(sampling)
  await sample()
  const latencies = takeAllLatencies(clients)
  return {
    p50Us: latencies.percentile(50),
    p99Us: latencies.percentile(99),
    maxMs: latencies.max / 1_000,
    lostSessions: clients.filter(({ lost }) => lost !== undefined).length,
    sent: report?.sent ?? Number.NaN,
    cuts: report?.cuts ?? Number.NaN,
    peakMiB: peak / 2 ** 20,
    died: isDead ? 1 : 0,
  }
}

/**
 * The longest stall of the broker's event loop. The broker records a stall only when the stall
 * ends. For a pair without an answer, the time since its start counts as a latency. If this latency
 * is longer than `maxWaitMs`, the stall has not ended, so the latency counts as the stall.
 */
function stallOf({ server }: LoadContext, since: number, { maxMs, died }: FiguresBesideHostile) {
  const stall = longestStall(server.pid, since)
  const stallMs = died === 0 && maxMs > maxWaitMs ? Math.max(stall, maxMs) : stall
  return { stallMs }
}

function calmFigures(calm: Latencies): { calmP50Us: number; calmP99Us: number } {
  return { calmP50Us: calm.percentile(50), calmP99Us: calm.percentile(99) }
}

/** Describes in a few words whether the broker died or stalled, or a good client lost something. */
function outcomeOf(
  clients: readonly GoodClient[],
  { died, stallMs }: { readonly died: number; readonly stallMs: number },
): string {
  const lost = clients.find((client) => client.lost !== undefined)?.lost
  if (died > 0) return 'broker died'
  if (stallMs >= goodLeaseMs) return `broker stalled ${Math.round(stallMs)} ms`
  return lost === undefined ? 'nothing lost' : `lost: ${lost}`
}

// ---------------------------------------------------------------------------- good clients

async function startGood(url: string, profile: Profile, index: number): Promise<GoodClient> {
  // `hello` is empty, or has further fields of the `hello` message as JSON text.
  const { hello, address } = sourceOf(profile, 'good', index)
  const session = await RawSession.open(url, `,"lease":${goodLeaseMs}${hello}`, address)
  return GoodClient.start(session, `good ${index}`)
}

/** Lets each client start a pair every `good.everyMs`, by turns. Returns the timer. */
function startPairs(clients: readonly GoodClient[]): NodeJS.Timeout {
  let pairCount = 0
  let due = performance.now()
  const intervalMs = good.everyMs / clients.length
  return setInterval(() => {
    for (const now = performance.now(); due <= now; due += intervalMs) {
      clients[pairCount++ % clients.length]!.startPair()
    }
  }, intervalMs)
}

/** Lets the good clients lock and unlock for this many ms. Returns the latencies. */
async function runPairs(clients: readonly GoodClient[], ms: number): Promise<Latencies> {
  const pairTimer = startPairs(clients)
  await pause(ms)
  clearInterval(pairTimer)
  await waitUntil(() => clients.every(({ pending }) => pending === 0), maxWaitMs)
  return takeAllLatencies(clients)
}

/** The latencies of all good clients since the last call. */
function takeAllLatencies(clients: readonly GoodClient[]): Latencies {
  const latencies = new Latencies()
  for (const client of clients) latencies.add(client.takeLatencies())
  return latencies
}

// ------------------------------------------------------------------------------- the table

/** Opens sessions that together hold this many locks, each within the limits of the profile. */
async function fillTable(url: string, profile: Profile, locks: number): Promise<void> {
  const count = fillerCount(profile, locks)
  const locksEach = Math.ceil(locks / count)
  for (let opened = 0; opened < count; opened += fillersAtOnce) {
    const indexes = Array.from(
      { length: Math.min(fillersAtOnce, count - opened) },
      (_, i) => opened + i,
    )
    await Promise.all(indexes.map((index) => openFiller(url, profile, index, locksEach)))
  }
}

/** Opens a session that holds its share of the locks of the table. */
async function openFiller(
  url: string,
  profile: Profile,
  index: number,
  locks: number,
): Promise<void> {
  const { hello, address } = sourceOf(profile, 'filler', index)
  const session = await RawSession.open(url, `,"lease":${fillerLeaseMs}${hello}`, address)
  await new Promise<void>((resolve, reject) => {
    let missing = locks
    for (let i = 0; i < locks; i++) {
      session.lock(`table:${index}:${i}`, ({ type, code }) => {
        if (type !== 'granted') reject(new Error(`A lock of the table was not granted: ${code}`))
        else if (--missing === 0) resolve()
      })
    }
  })
}

// ---------------------------------------------------------------------------------- helpers

async function send(hostileProcess: ChildProcess, command: HostileCommand): Promise<HostileReport> {
  hostileProcess.send(command)
  const [report] = (await once(hostileProcess, 'message')) as [HostileReport]
  return report
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms))
}

/** Resolves when `isTrue` returns true, or after `maxMs`. */
async function waitUntil(isTrue: () => boolean, maxMs: number): Promise<void> {
  const end = performance.now() + maxMs
  while (performance.now() < end && !isTrue()) await pause(pollMs)
}

export const neighbours: Workload = {
  name: 'neighbours',
  title: 'well-behaved clients together with hostile clients',
  jobs,
  runJob,
}
