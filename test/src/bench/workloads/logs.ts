/**
 * The workload "logs": the cost of a journal, and of a command log that brokers share. Such a log
 * gives the commands of all brokers one order. Brokers are compared with the same storage without
 * brokers ("bare"):
 *
 * - for a journal: bare commits to LMDB, the database of the journal
 * - for PostgreSQL: bare inserts of the same batch size
 * - for etcd: the bare log. Instead of each broker, a process puts values with the broker's etcd
 *   client, and gets the values through a watch.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { JournalStore } from '@holdfast/server/internal'
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
import { ExclusionCheck } from '../load/exclusion.js'
import { fillHeld } from '../load/fill.js'
import {
  BareRoundTrip,
  compareLatency,
  compareRates,
  type Figures,
  openPairs,
  prepareGrantMeasure,
  prepareHandOffMeasure,
} from '../load/sharedLog.js'
import type { Server } from '../processes/servers.js'
import {
  BareDriver,
  startBrokerWith,
  startCluster,
  startDatabase,
} from '../processes/sharedServers.js'

/** The load 64×16: 64 sessions, each with 16 pairs (lock and unlock) at a time. */
const sessions = 64
const inFlight = 16
/** About the length of an entry with one command, in bytes. */
const entryBytes = 200
/** The number of locks with which the last job first fills the log, in a run at full size. */
const fullSizeHeld = 100_000

function jobs({ sizeDivisor }: Pace): readonly Job[] {
  const etcdCounts = machineMeets('etcd') ? [1, 2, 3, 5] : []
  const postgresCounts = machineMeets('postgres') ? [1, 2, 3] : []
  const held = Math.max(1_000, fullSizeHeld / sizeDivisor)
  const filledShape = `etcd, 3 brokers, ${held.toLocaleString('en')} locks`
  return [
    // The number 0 tells `runJob` that the broker of this job has a journal, and shares no log.
    makeJob({ workload: 'logs', shape: 'journal', placement: 'split', params: { brokers: 0 } }),
    ...postgresCounts.map((brokers) =>
      makeJob({
        workload: 'logs',
        shape: `PostgreSQL, ${brokerCount(brokers)}`,
        placement: 'split',
        params: { brokers, postgres: 1 },
      }),
    ),
    ...etcdCounts.map((brokers) =>
      makeJob({
        workload: 'logs',
        shape: `etcd, ${brokerCount(brokers)}`,
        placement: 'split',
        params: { brokers },
      }),
    ),
    // The last job measures brokers over etcd whose table already has many locks.
    ...(etcdCounts.length === 0
      ? []
      : [
          makeJob({
            workload: 'logs',
            shape: filledShape,
            placement: 'split',
            params: { brokers: 3, held },
          }),
        ]),
  ]
}

function brokerCount(brokers: number): string {
  return brokers === 1 ? '1 broker' : `${brokers} brokers`
}

async function runJob(context: LoadContext): Promise<JobResult> {
  const exclusion = new ExclusionCheck()
  const isJournal = param(context.job, 'brokers') === 0
  const isPostgres = context.job.params['postgres'] !== undefined
  const measureLog = isPostgres ? measurePostgres : measureEtcd
  const rows = isJournal ? await measureJournal(context) : await measureLog(context, exclusion)
  return { rows, grants: exclusion.grants, violations: exclusion.violations }
}

/** Compares a grant over a journal with a bare commit to LMDB. */
async function measureJournal({ job, pace }: LoadContext): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
  const store = await JournalStore.open(join(folder, 'bare'))
  const broker = await startBrokerWith(['--journal', join(folder, 'journal')])
  try {
    let sequence = 0
    const record = Buffer.alloc(entryBytes, 'x')
    const commit = async (): Promise<number> => {
      const began = performance.now()
      await store.append(++sequence, record)
      return performance.now() - began
    }
    const grant = await compareLatency(pace, commit, await prepareGrantMeasure(broker))
    return [row(job, 'bare commit', grant.bare), row(job, 'a grant, alone', grant.own)]
  } finally {
    await broker.stop('SIGKILL')
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Compares brokers that share a log on etcd with etcd alone. */
async function measureEtcd(
  { job, pace, progress }: LoadContext,
  exclusion: ExclusionCheck,
): Promise<Row[]> {
  const count = param(job, 'brokers')
  const cluster = await startCluster()
  const brokers: Server[] = []
  const drivers: BareDriver[] = []
  // Measures a log that no other process follows.
  const roundTrip = await BareRoundTrip.open(cluster.endpoints, 'round')
  // Measures the log `bare`, which all drivers follow too.
  const sharedRoundTrip = await BareRoundTrip.open(cluster.endpoints, 'bare')
  const addDriver = async (): Promise<void> => {
    const inFlightEach = Math.round((sessions * inFlight) / count)
    const args = [cluster.endpoints.join(), `d${drivers.length}`, `${inFlightEach}`]
    drivers.push(await BareDriver.start('etcd', args))
  }
  try {
    for (let i = 0; i < count; i++) {
      brokers.push(await startBrokerWith(['--log', cluster.logUrl('bench')]))
      // One driver fewer than brokers. Together with `sharedRoundTrip`, the log `bare` then has as
      // many followers as the log of the brokers.
      if (i > 0) await addDriver()
    }
    const [first, last] = [brokers[0]!, brokers.at(-1)!]
    const { held } = job.params
    if (held !== undefined) await fillHeld(first.url, 'held', held, () => {})
    // Both measurements are without brokers, although `compareLatency` calls the second one `own`.
    const watchedByAll = await compareLatency(pace, roundTrip.measure, sharedRoundTrip.measure)
    // The comparison of rates needs as many drivers as brokers.
    await addDriver()
    progress(0.1)
    const grant = await compareLatency(pace, roundTrip.measure, await prepareGrantMeasure(last))
    progress(0.3)
    const handOff = await compareLatency(
      pace,
      roundTrip.measure,
      await prepareHandOffMeasure(first, last),
    )
    progress(0.6)
    const pairs = await openPairs(brokers, sessions, inFlight, 'pair', exclusion)
    const rates = await compareRates(pace, drivers, pairs)
    return [
      row(job, 'bare put and watch', grant.bare),
      row(job, 'bare, watched by all', watchedByAll.own),
      row(job, 'a grant, alone', grant.own),
      row(job, 'a hand-off', handOff.own),
      row(job, `bare, ${sessions * inFlight} under way`, rates.bare),
      row(job, `${sessions}×${inFlight}`, rates.own),
    ]
  } finally {
    await Promise.all([roundTrip.close(), sharedRoundTrip.close()])
    for (const driver of drivers) driver.end()
    await Promise.all(brokers.map((broker) => broker.stop('SIGKILL')))
    await cluster.stop()
  }
}

/** Compares brokers that share a log on PostgreSQL with PostgreSQL alone. */
async function measurePostgres(
  { job, pace, progress }: LoadContext,
  exclusion: ExclusionCheck,
): Promise<Row[]> {
  const count = param(job, 'brokers')
  const database = await startDatabase()
  const brokers: Server[] = []
  const drivers: BareDriver[] = []
  try {
    const commandsEach = Math.round((sessions * inFlight) / count)
    const { host, port } = database
    for (let i = 0; i < count; i++) {
      brokers.push(await startBrokerWith(['--log', database.logUrl('bench')]))
      // Without the schema of `database.url`, so that the drivers use the same table as `commit`.
      const url = `postgres://holdfast@${host}:${port}/postgres`
      drivers.push(await BareDriver.start('postgres', [url, `${commandsEach}`]))
    }
    const [first, last] = [brokers[0]!, brokers.at(-1)!]
    const text = 'x'.repeat(entryBytes)
    // Inserts into the table `bench`, which is no part of the log of the brokers.
    const commit = async (): Promise<number> => {
      const began = performance.now()
      await database.sql`insert into bench (entry) values (${text})`
      return performance.now() - began
    }
    const grant = await compareLatency(pace, commit, await prepareGrantMeasure(last))
    progress(0.3)
    const handOff = await compareLatency(pace, commit, await prepareHandOffMeasure(first, last))
    progress(0.6)
    const pairs = await openPairs(brokers, sessions, inFlight, 'pair', exclusion)
    const rates = await compareRates(pace, drivers, pairs)
    return [
      row(job, 'bare commit', grant.bare),
      row(job, 'a grant, alone', grant.own),
      row(job, 'a hand-off', handOff.own),
      row(job, `bare inserts, ${commandsEach} commands each`, rates.bare),
      row(job, `${sessions}×${inFlight}`, rates.own),
    ]
  } finally {
    for (const driver of drivers) driver.end()
    await Promise.all(brokers.map((broker) => broker.stop('SIGKILL')))
    await database.stop()
  }
}

function row({ workload, shape, placement }: Job, system: string, figures: Figures): Row {
  return { workload, shape, placement, system, figures }
}

export const logs: Workload = {
  name: 'logs',
  title: 'the cost of a journal and of shared logs, compared with the bare storage',
  jobs,
  runJob,
}
