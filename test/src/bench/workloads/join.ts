/**
 * The workload "join": a second broker joins a command log that holds millions of locks, over
 * PostgreSQL and over etcd. Brokers share the command log, which gives all changes of the lock
 * table one order. A snapshot is the lock table at one position of the log.
 *
 * First, clients acquire all locks at the first broker, which then makes a snapshot that contains
 * them. Then the second broker starts, loads the snapshot and joins. During the join, a client of
 * the first broker locks and unlocks a key.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerStatus } from '@holdfast/server'
import { machineMeets } from '../../support/needs.js'
import {
  type Job,
  type JobResult,
  type LoadContext,
  makeJob,
  type Pace,
  param,
  type Row,
  type Workload,
} from '../job.js'
import { fillHeld } from '../load/fill.js'
import { prepareGrantMeasure } from '../load/sharedLog.js'
import { longestStall, removeStallFile } from '../processes/loopStalls.js'
import { type Server, watchLoopFlags } from '../processes/servers.js'
import { startBrokerWith, startCluster, startDatabase } from '../processes/sharedServers.js'
import { peakBytes } from '../processes/usage.js'

/** How many locks the log holds. */
const heldLockCount = 3_000_000
/**
 * Up to this number of locks, the brokers make a snapshot every 10 s. With more locks, a snapshot
 * takes longer, so they make one every 60 s.
 */
const fewLocksLimit = 200_000
/** How long a broker may take to start and to join, in ms. */
const maxStartMs = 1_200_000
/** The time between two checks of the newest snapshot, in ms. */
const pollMs = 500
/**
 * The storage quota of etcd. It is large, because the brokers compact only entries from before the
 * last snapshot but one.
 */
const quotaBytes = 8 * 2 ** 30

function jobs({ sizeDivisor }: Pace): readonly Job[] {
  const held = Math.max(1_000, heldLockCount / sizeDivisor)
  const shape = `${held.toLocaleString('en')} locks`
  return [
    ...(machineMeets('postgres')
      ? [
          makeJob({
            workload: 'join',
            shape: `PostgreSQL, ${shape}`,
            placement: 'split',
            params: { held, postgres: 1 },
          }),
        ]
      : []),
    ...(machineMeets('etcd')
      ? [
          makeJob({
            workload: 'join',
            shape: `etcd, ${shape}`,
            placement: 'split',
            params: { held },
          }),
        ]
      : []),
  ]
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const storage = await startStorage(context.job.params['postgres'] !== undefined)
  const brokers: Server[] = []
  try {
    const rows = await measure(context, storage.address, brokers)
    return { rows, grants: 0, violations: 0 }
  } finally {
    await Promise.all(brokers.map((broker) => broker.stop('SIGKILL')))
    for (const { pid } of brokers) removeStallFile(pid)
    await storage.stop()
  }
}

/** Starts a PostgreSQL or an etcd. Resolves with the address of a log there. */
async function startStorage(isPostgres: boolean) {
  if (isPostgres) {
    const database = await startDatabase()
    return { address: database.logUrl('bench'), stop: () => database.stop() }
  }
  const cluster = await startCluster(['--quota-backend-bytes', `${quotaBytes}`])
  return { address: cluster.logUrl('bench'), stop: () => cluster.stop() }
}

/** Fills a log, and measures the join of a second broker. Adds the started brokers to `brokers`. */
async function measure(
  { job, progress }: LoadContext,
  address: string,
  brokers: Server[],
): Promise<Row[]> {
  const heldCount = param(job, 'held')
  const start = async (): Promise<Server> => {
    const snapshotEvery = heldCount > fewLocksLimit ? '60s' : '10s'
    // The other brokers declare a broker dead if it appends no entry to the log for the dead time.
    // On a busy machine, an entry can take longer than the default dead time.
    const intervalFlags = ['--snapshot-every', snapshotEvery, '--dead-time', '60s']
    const flags = ['--log', address, ...intervalFlags]
    const broker = await startBrokerWith(flags, {
      nodeFlags: watchLoopFlags,
      startMs: maxStartMs,
    })
    brokers.push(broker)
    return broker
  }
  const serving = await start()
  const fillBegan = performance.now()
  await fillHeld(serving.url, 'held', heldCount, (share) => progress(share / 2))
  const fillSeconds = (performance.now() - fillBegan) / 1_000
  await untilSnapshotHasAll(serving)
  progress(0.75)
  const lockLoop = new LockLoop(await prepareGrantMeasure(serving))
  // In ms since 1970, as the brokers record their stalls.
  const joinBeganWallMs = Date.now()
  const joinBegan = performance.now()
  const joining = await start()
  const joinSeconds = (performance.now() - joinBegan) / 1_000
  const joinCpuSeconds = (await joining.usage()).cpuUs / 1_000_000
  const longestGrantMs = await lockLoop.stop()
  const { held } = await statusOf(joining)
  if (held < heldCount) throw new Error(`The joined broker has ${held} of ${heldCount} locks`)
  const row = (system: string, figures: Row['figures']): Row => {
    const { workload, shape, placement } = job
    return { workload, shape, placement, system, figures }
  }
  return [
    row('the serving broker', {
      fillSeconds,
      peakMiB: (peakBytes(serving.pid) ?? Number.NaN) / 2 ** 20,
      stallMs: longestStall(serving.pid, joinBeganWallMs),
      maxMs: longestGrantMs,
    }),
    row('the joining broker', {
      joinSeconds,
      joinCpuSeconds,
      peakMiB: (peakBytes(joining.pid) ?? Number.NaN) / 2 ** 20,
      stallMs: longestStall(joining.pid, joinBeganWallMs),
    }),
  ]
}

/** A client that locks and unlocks a key again and again, until it is stopped. */
class LockLoop {
  #isStopped = false
  readonly #longest: Promise<number>

  constructor(measureGrant: () => Promise<number>) {
    this.#longest = this.#run(measureGrant)
  }

  /** Resolves with the longest time from a request to its grant, in ms. */
  stop(): Promise<number> {
    this.#isStopped = true
    return this.#longest
  }

  async #run(measureGrant: () => Promise<number>): Promise<number> {
    let longest = 0
    while (!this.#isStopped) longest = Math.max(longest, await measureGrant())
    return longest
  }
}

/** Resolves when the newest snapshot contains all locks that the broker has granted so far. */
async function untilSnapshotHasAll(broker: Server): Promise<void> {
  const { position } = await logOf(broker)
  for (;;) {
    const { snapshot, problem } = await logOf(broker)
    if (snapshot !== undefined && snapshot.position >= position) return
    if (problem !== undefined) process.stderr.write(`join: ${problem}\n`)
    await sleep(pollMs)
  }
}

async function logOf(broker: Server) {
  const { log } = await statusOf(broker)
  if (log.kind !== 'replicated') throw new Error('The broker has no replicated log')
  return log
}

async function statusOf({ url }: Server): Promise<BrokerStatus> {
  const response = await fetch(`${url.replace(/^ws/, 'http')}/status`)
  return (await response.json()) as BrokerStatus
}

export const join: Workload = {
  name: 'join',
  title: 'a broker joins a log that holds millions of locks',
  jobs,
  runJob,
}
