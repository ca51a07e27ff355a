/**
 * The workload "idle": the CPU time of the broker for keeping idle sessions alive. The lease is how
 * long the broker keeps a silent session. With the client library, a session that holds nothing is
 * kept for twice the lease. The workload shows the CPU time for 18,000 sessions with a lease of
 * 15 s, but opens fewer sessions. Their lease is shorter in proportion, so the broker handles as
 * many heartbeats a second as with 18,000 sessions.
 */
import { connect } from '@holdfast/client'
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  param,
  type Row,
  type Workload,
} from '../job.js'
import { clientSystem } from '../load/holdfastClients.js'
import { RawSession } from '../load/rawSession.js'

/** The sessions and the lease for which the CPU time is computed. */
const target = { sessions: 18_000, leaseMs: 15_000 }
/** The number of sessions of a run at full size. */
const fullSizeSessions = 3_000
/** The smallest number of sessions of a run. */
const minSessions = 10
/** The number of sessions that are opened at the same time. */
const openedAtOnce = 25
/** The shortest lease that the broker allows, in ms. */
const minLeaseMs = 2_000
/**
 * The time between two heartbeats of the client library for a session that holds nothing, in
 * leases. The workload opens all sessions within this time, at a steady rate, so that their
 * heartbeats are spread evenly. With a lock, a session has exactly three heartbeats in this time,
 * one every 0.4 leases, so these heartbeats are spread evenly too.
 */
const longestBeatLeases = 1.2
/** The warm-up, in leases. V8 compiles the code of the heartbeat in this time. */
const warmUpLeases = 5

/**
 * Opens a session, with a lock if there is a key. Resolves with a function that ends the session.
 */
type OpenSession = (
  url: string,
  leaseMs: number,
  key: string | undefined,
) => Promise<() => void | Promise<void>>

/** The systems by name. The client library sends heartbeats; the other system answers pings. */
const systems: readonly (readonly [string, OpenSession])[] = [
  [
    clientSystem,
    async (url, lease, key) => {
      const session = await connect(url, { name: 'bench', lease })
      if (key !== undefined) await session.lock(key)
      return () => session.close()
    },
  ],
  [
    'holdfast, answering pings by hand',
    async (url, lease, key) => {
      const session = await RawSession.open(url, `,"lease":${lease}`)
      if (key !== undefined) await new Promise((resolve) => session.lock(key, resolve))
      return () => session.destroy()
    },
  ],
]

function jobs({ sizeDivisor }: { readonly sizeDivisor: number }): readonly Job[] {
  const sessions = Math.max(minSessions, Math.round(fullSizeSessions / sizeDivisor))
  return [
    makeJob({
      workload: 'idle',
      shape: 'sessions that hold nothing',
      placement: 'split',
      params: { sessions, locks: 0 },
    }),
    makeJob({
      workload: 'idle',
      shape: 'sessions that hold a lock each',
      placement: 'split',
      params: { sessions, locks: 1 },
    }),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const { workload, shape, placement } = context.job
  const rows: Row[] = []
  for (const [system, open] of systems) {
    rows.push({ workload, shape, placement, system, figures: await measure(context, open) })
    context.progress(rows.length / systems.length)
  }
  return { rows, grants: 0, violations: 0 }
}

async function measure(context: LoadContext, open: OpenSession): Promise<Row['figures']> {
  const { server, pace, usageOf } = context
  const sessions = param(context.job, 'sessions')
  const hasLocks = param(context.job, 'locks') > 0
  const leaseMs = Math.max(minLeaseMs, (target.leaseMs * sessions) / target.sessions)
  /** One function for each open session, which ends the session. */
  const closers: (() => void | Promise<void>)[] = []
  while (closers.length < sessions) {
    const first = closers.length
    const opening = Array.from({ length: Math.min(openedAtOnce, sessions - first) }, (_, i) =>
      open(server.url, leaseMs, hasLocks ? `idle:${first + i}` : undefined),
    )
    closers.push(...(await Promise.all(opening)))
    await sleep(leaseMs * longestBeatLeases * (openedAtOnce / sessions))
  }
  const isSmoke = pace.name === 'smoke'
  // Three slices for each round. If that is shorter than a lease, one lease, but not in the tests
  // (smoke).
  const measuredMs = Math.max(isSmoke ? 0 : leaseMs, 3 * pace.rounds * pace.sliceMs)
  if (!isSmoke) await sleep(warmUpLeases * leaseMs)
  const cpuUsBefore = (await usageOf(server.pid)).cpuUs
  const began = performance.now()
  await sleep(measuredMs)
  const cpuUs = (await usageOf(server.pid)).cpuUs - cpuUsBefore
  const measuredLeases = (performance.now() - began) / leaseMs
  await Promise.all(closers.map((close) => close()))
  // The CPU time for one session during one lease.
  const idleUsPerLease = cpuUs / sessions / measuredLeases
  const cpuShare = (idleUsPerLease * target.sessions) / (target.leaseMs * 1_000)
  return { count: sessions, idleUsPerLease, idlePercent: cpuShare * 100 }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

export const idle: Workload = {
  name: 'idle',
  title: 'the CPU time of the broker for idle sessions',
  jobs,
  runJob,
}
