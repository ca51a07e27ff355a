/**
 * The workload "restart": many sessions are connected, and the broker is killed and started again.
 * Measures the time until all sessions are back, and the CPU time of broker and clients for each
 * handshake. A handshake is the TCP connection, the upgrade to a WebSocket, `hello` and `welcome`.
 *
 * The clients come from one address and hold nothing. In one job, the load writes the frames of the
 * sessions itself ("by hand"). At a restart, these sessions connect as soon as the broker listens.
 * The sessions of the client library wait for their own backoff. Therefore only the time of the
 * sessions by hand shows how long the broker takes. The CPU time of both kinds can be compared.
 */
import { maxSockets } from '../../support/openFiles.js'
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  type Pace,
  param,
  type Workload,
} from '../job.js'
import { clientSystem } from '../load/holdfastClients.js'
import { openByHand, openWithClient, type ReturningSession } from '../load/returningSessions.js'
import { median } from '../load/statistics.js'
import { type Server, startBroker } from '../processes/servers.js'
import { ownCpuUs } from '../processes/usage.js'

/** The sessions of a run at full size, if the machine allows so many open files. */
const fullSize = { byHand: 18_000, client: 3_000 }
const minSessions = 10
/** How many sessions are opened at the same time before the first restart. */
const openedAtOnce = 50
/**
 * How many handshakes of the sessions by hand are under way after a restart. The broker refuses
 * connections beyond its limit of pending connections, which is higher.
 */
const returningAtOnce = 2_000

function jobs({ sizeDivisor }: Pace): readonly Job[] {
  const sessionsFor = (fullCount: number): number =>
    Math.max(minSessions, Math.min(maxSockets(), Math.round(fullCount / sizeDivisor)))
  return [
    makeJob({
      workload: 'restart',
      shape: 'sessions by hand',
      placement: 'split',
      params: {
        sessions: sessionsFor(fullSize.byHand),
        byHand: 1,
      },
    }),
    makeJob({
      workload: 'restart',
      shape: 'sessions of the client library',
      placement: 'split',
      params: {
        sessions: sessionsFor(fullSize.client),
        byHand: 0,
      },
    }),
  ]
}

/** The time until all sessions were back after one restart, and the CPU time for a handshake. */
interface Restart {
  readonly backMs: number
  readonly serverUsPerHandshake: number
  readonly clientUsPerHandshake: number
}

async function runJob({ job, pace, progress }: LoadContext): Promise<JobResult> {
  const isByHand = param(job, 'byHand') === 1
  const count = param(job, 'sessions')
  const sessions: ReturningSession[] = []
  const restarts: Restart[] = []
  let broker = await startBroker({ limits: {} })
  try {
    const open = isByHand ? openByHand : openWithClient
    await forEachAtOnce(openedAtOnce, count, async () => {
      sessions.push(await open(broker.url))
    })
    while (restarts.length < pace.rounds) {
      const readyToReturn = sessions.map((session) => session.readyToReturn())
      await broker.stop('SIGKILL')
      await Promise.all(readyToReturn)
      // Before the start, because clients with the library already try to connect during the start.
      const clientUsBefore = ownCpuUs()
      // On the same port as before: this flag overrides the `--port 0` of `startBroker`.
      broker = await startBroker(
        { limits: {} },
        { serveFlags: ['--port', new URL(broker.url).port] },
      )
      restarts.push(await measureReturn(broker, sessions, isByHand, clientUsBefore))
      progress(restarts.length / pace.rounds)
    }
  } finally {
    for (const session of sessions) session.close()
    await broker.stop('SIGKILL')
  }
  const medianOf = (figure: keyof Restart): number =>
    median(restarts.map((restart) => restart[figure]))
  const { workload, shape, placement } = job
  const figures = {
    count,
    backMs: medianOf('backMs'),
    serverUsPerHandshake: medianOf('serverUsPerHandshake'),
    clientUsPerHandshake: medianOf('clientUsPerHandshake'),
  }
  const system = isByHand ? 'holdfast, by hand' : clientSystem
  return { rows: [{ workload, shape, placement, system, figures }], grants: 0, violations: 0 }
}

/** Lets all sessions come back to a broker that has just begun to listen, and measures this. */
async function measureReturn(
  broker: Server,
  sessions: readonly ReturningSession[],
  isByHand: boolean,
  clientUsBefore: number,
): Promise<Restart> {
  const serverUsBefore = (await broker.usage()).cpuUs
  const began = performance.now()
  const atOnce = isByHand ? returningAtOnce : sessions.length
  await forEachAtOnce(atOnce, sessions.length, (i) => sessions[i]!.comeBack())
  const backMs = performance.now() - began
  const serverUs = (await broker.usage()).cpuUs - serverUsBefore
  const clientUs = ownCpuUs() - clientUsBefore
  return {
    backMs,
    serverUsPerHandshake: serverUs / sessions.length,
    clientUsPerHandshake: clientUs / sessions.length,
  }
}

/** Calls `work` with the numbers below `count`, and lets at most `atOnce` calls run at a time. */
async function forEachAtOnce(
  atOnce: number,
  count: number,
  work: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0
  const workers = Array.from({ length: Math.min(atOnce, count) }, async () => {
    while (next < count) await work(next++)
  })
  await Promise.all(workers)
}

export const restart: Workload = {
  name: 'restart',
  title: 'many sessions come back after a restart of the broker',
  jobs,
  runJob,
}
