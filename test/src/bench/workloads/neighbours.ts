/**
 * Neighbours: what a well-behaved client notices of hostile ones that stay within the limits. The
 * broker has a core of its own and a table of 100,000 locks; hostile clients of one kind come from
 * another process. Nothing of a good client may be lost, and its pairs must stay fast.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Profile } from '@holdfast/server'
import { placeOf, principalsOf } from '../hostile/crew.js'
import { kinds } from '../hostile/index.js'
import { mostSessions } from '../hostile/kind.js'
import { type Job, type JobResult, job, type LoadContext, param, type Workload } from '../job.js'
import { GoodClient, goodLeaseMs } from '../load/goodClient.js'
import { Latencies } from '../load/latencies.js'
import { RawSession } from '../load/rawSession.js'
import type { HostileOrder, HostileReport } from '../processes/hostile.js'
import { forgetStalls, longestStall } from '../processes/loopStalls.js'
import { peakBytes } from '../processes/usage.js'

const hostile = fileURLToPath(new URL('../processes/hostile.js', import.meta.url))
const tableLocks = 100_000
const heapMiB = 512
/** Good clients, and how often each asks, in ms: within what the limits for strangers allow. */
const good = { count: 10, everyMs: 50 }
/** Locks of each session that fills the table, where messages are counted. */
const fillEach = { private: 10_000, public: 180 }
const fillAbreast = 25
/** How long an answer is waited for when the hostile clients are gone, in ms. */
const patienceMs = 20_000
const times = { normal: 2_500, quick: 1_500, smoke: 500 }

function fillers(profile: Profile, locks: number): number {
  return Math.ceil(locks / fillEach[profile])
}

function jobs({ scale }: { readonly scale: number }): readonly Job[] {
  const locks = Math.max(1_000, tableLocks / scale)
  return (['private', 'public'] as const).flatMap((profile) =>
    kinds.map(({ name }, number) => ({
      ...job('neighbours', `${profile}: ${name}`, 'split', { kind: number, locks }),
      ...{ heapMiB, watchesLoop: true },
      ...(profile === 'public' && {
        profile,
        principals: principalsOf({
          good: good.count,
          filler: fillers(profile, locks),
          // A resume needs a place beside the session that it takes up.
          hostile: 2 * mostSessions,
        }),
      }),
    })),
  )
}

async function load(context: LoadContext): Promise<JobResult> {
  const { server, pace, progress } = context
  const profile = context.job.profile ?? 'private'
  const { workload, shape, placement } = context.job
  const gang = fork(hostile, { serialization: 'advanced' })
  try {
    await fillTable(server.url, profile, param(context.job, 'locks'))
    const clients = await Promise.all(
      Array.from({ length: good.count }, (_, i) => startGood(server.url, profile, i)),
    )
    const calm = await askFor(clients, times[pace.name] / 3)
    progress(0.3)
    const { url } = server
    const kind = kinds[param(context.job, 'kind')]!.name
    const began = Date.now()
    const beside = await besideHostile(context, { clients, gang, order: { url, kind, profile } })
    const figures = { ...calmFigures(calm), ...beside, ...stallOf(context, began, beside) }
    const row = { workload, shape, placement, system: outcomeOf(clients, figures), figures }
    return { rows: [row], grants: 0, violations: 0 }
  } finally {
    gang.kill('SIGKILL')
    forgetStalls(server.pid)
  }
}

interface Scene {
  readonly clients: readonly GoodClient[]
  readonly gang: ChildProcess
  readonly order: { readonly url: string; readonly kind: string; readonly profile: Profile }
}

interface Beside {
  readonly p50Us: number
  readonly p99Us: number
  readonly maxMs: number
  readonly lostSessions: number
  readonly said: number
  readonly cuts: number
  readonly peakMiB: number
  readonly died: number
}

/** What good clients notice from when hostile ones begin to when all is answered. */
async function besideHostile(
  { server, pace, usageOf }: LoadContext,
  { clients, gang, order }: Scene,
): Promise<Beside> {
  let peak = 0
  let isDead = false
  const look = async (): Promise<void> => {
    try {
      peak = Math.max(peak, peakBytes(server.pid) ?? (await usageOf(server.pid)).rssBytes)
    } catch {
      isDead = true
    }
  }
  const looking = setInterval(look, 100)
  const asking = askSteadily(clients)
  const isOver = (): boolean => isDead || clients.every(({ lost }) => lost !== undefined)
  await Promise.race([tell(gang, { type: 'prepare', ...order }), pause(patienceMs)])
  gang.send({ type: 'begin' } satisfies HostileOrder)
  await untilOr(isOver, times[pace.name])
  const report = await Promise.race([tell(gang, { type: 'stop' }), pause(2_000)])
  gang.kill('SIGKILL')
  clearInterval(asking)
  await untilOr(() => isDead || clients.every(({ pending }) => pending === 0), patienceMs)
  clearInterval(looking)
  await look()
  const latencies = joined(clients)
  return {
    p50Us: latencies.percentile(50),
    p99Us: latencies.percentile(99),
    maxMs: latencies.max / 1_000,
    lostSessions: clients.filter(({ lost }) => lost !== undefined).length,
    said: report?.said ?? Number.NaN,
    cuts: report?.cuts ?? Number.NaN,
    peakMiB: peak / 2 ** 20,
    died: isDead ? 1 : 0,
  }
}

/** A loop that never came back is at least as late as the answers. */
function stallOf({ server }: LoadContext, since: number, { maxMs, died }: Beside) {
  const stall = longestStall(server.pid, since)
  const stallMs = died === 0 && maxMs > patienceMs ? Math.max(stall, maxMs) : stall
  return { stallMs }
}

function calmFigures(calm: Latencies): { calmP50Us: number; calmP99Us: number } {
  return { calmP50Us: calm.percentile(50), calmP99Us: calm.percentile(99) }
}

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

async function startGood(url: string, profile: Profile, number: number): Promise<GoodClient> {
  const { hello, address } = placeOf(profile, 'good', number)
  const session = await RawSession.open(url, `,"lease":${goodLeaseMs}${hello}`, address)
  return GoodClient.start(session, `good ${number}`)
}

/** All ask at their rate, one after the other. */
function askSteadily(clients: readonly GoodClient[]): NodeJS.Timeout {
  let next = 0
  let due = performance.now()
  const each = good.everyMs / clients.length
  return setInterval(() => {
    for (const now = performance.now(); due <= now; due += each) {
      clients[next++ % clients.length]!.ask()
    }
  }, each)
}

async function askFor(clients: readonly GoodClient[], ms: number): Promise<Latencies> {
  const asking = askSteadily(clients)
  await pause(ms)
  clearInterval(asking)
  await untilOr(() => clients.every(({ pending }) => pending === 0), patienceMs)
  return joined(clients)
}

function joined(clients: readonly GoodClient[]): Latencies {
  const all = new Latencies()
  for (const client of clients) all.add(client.takeLatencies())
  return all
}

// ------------------------------------------------------------------------------- the table

/** Holds so many locks, by sessions that are within the limits. */
async function fillTable(url: string, profile: Profile, locks: number): Promise<void> {
  const count = fillers(profile, locks)
  const each = Math.ceil(locks / count)
  for (let done = 0; done < count; done += fillAbreast) {
    const numbers = Array.from({ length: Math.min(fillAbreast, count - done) }, (_, i) => done + i)
    await Promise.all(numbers.map((number) => fillBy(url, profile, number, each)))
  }
}

async function fillBy(url: string, profile: Profile, number: number, locks: number): Promise<void> {
  const { hello, address } = placeOf(profile, 'filler', number)
  const session = await RawSession.open(url, `,"lease":300000${hello}`, address)
  await new Promise<void>((resolve, reject) => {
    let missing = locks
    for (let i = 0; i < locks; i++) {
      session.lock(`table:${number}:${i}`, ({ type, code }) => {
        if (type !== 'granted') reject(new Error(`a lock was not granted: ${code}`))
        else if (--missing === 0) resolve()
      })
    }
  })
}

// ----------------------------------------------------------------------------------- others

async function tell(gang: ChildProcess, order: HostileOrder): Promise<HostileReport> {
  gang.send(order)
  const [report] = (await once(gang, 'message')) as [HostileReport]
  return report
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms))
}

/** Resolves when this is true, or after so many ms. */
async function untilOr(isTrue: () => boolean, ms: number): Promise<void> {
  for (const end = performance.now() + ms; performance.now() < end && !isTrue(); ) await pause(20)
}

export const neighbours: Workload = {
  name: 'neighbours',
  title: 'well-behaved clients beside hostile ones',
  jobs,
  load,
}
