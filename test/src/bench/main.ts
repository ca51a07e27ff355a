/**
 * `npm run bench`: runs the workloads one after another, and prints the figures with the targets.
 * Each job (servers, and the load on them) has processes of its own.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { DriverName, Job, Row, Workload } from './job.js'
import { normalPace, quickPace, repeatedPace } from './paces.js'
import { peers, services } from './peers/index.js'
import { installPackages } from './peers/packages.js'
import type { Peer } from './peers/peer.js'
import { reasonToSkip, versionsOf } from './processes/peerServers.js'
import { canPin } from './processes/servers.js'
import { chartOf } from './report/chart.js'
import { describeMachine, machineLine } from './report/machine.js'
import { peerTable } from './report/peerTable.js'
import { profileTables } from './report/profile.js'
import { showProgress } from './report/progress.js'
import { combineRuns } from './report/runs.js'
import { asJson, type Results, resultsFolder, saveResults } from './report/save.js'
import { targetTable, workloadTable } from './report/tables.js'
import { compareWithTargets } from './report/targets.js'
import { type RunOptions, runJob } from './run.js'
import { workloads } from './workloads/index.js'
import { peerWorkloads } from './workloads/peers.js'

/** The parsed flags of the command line. */
interface Flags {
  readonly quick?: boolean
  readonly only?: readonly Workload[]
  readonly shapes?: readonly string[]
  readonly driver?: DriverName
  readonly json?: string
  readonly profile?: string
  readonly runs: number
  readonly peers?: readonly Peer[] | true
}

const workloadNames = workloads.map(({ name }) => name)
/**
 * The workloads that run only if the flag `--only` names them. `logs`, `neighbours` and `restart`
 * take several minutes; `cells` and `join` have no targets.
 */
const optionalWorkloads = ['logs', 'join', 'neighbours', 'cells', 'restart']
const defaultWorkloads = workloads.filter(({ name }) => !optionalWorkloads.includes(name))

/** The workloads in a list of names. Throws if a name is unknown. */
function workloadsNamed(list: string): Workload[] {
  return list.split(',').map((name) => {
    const workload = workloads.find(
      (candidate) => candidate.name.toLowerCase() === name.toLowerCase(),
    )
    if (workload === undefined)
      throw new InvalidArgumentError(`Choose from ${workloadNames.join(', ')}.`)
    return workload
  })
}

/**
 * The peers (configurations) of the lock services in a list. Semicolons separate the services,
 * because a name may have a comma: `redis, SET NX + Lua`. Throws if a service is unknown.
 */
function peersNamed(list: string): Peer[] {
  return list.split(';').flatMap((name) => {
    const configurations = peers.filter(({ service }) => service === name)
    if (configurations.length === 0) {
      throw new InvalidArgumentError(`Choose from ${services.join('; ')}.`)
    }
    return configurations
  })
}

/** The value of the flag `--runs`. */
function countOfRuns(text: string): number {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count >= 1 && count <= 100) return count
  throw new InvalidArgumentError('Give an integer from 1 to 100.')
}

/**
 * Installs the packages of the requested peers. Returns the peers that this machine can run, and
 * prints why the machine cannot run the rest.
 */
function availablePeers(requested: readonly Peer[], print: (text: string) => void): Peer[] {
  return requested.filter((peer) => {
    // Each function returns a reason, or undefined if the machine can run the peer.
    const reason = reasonToSkip(peer) ?? installPackages(peer)
    if (reason !== undefined) print(reason)
    return reason === undefined
  })
}

const program = new Command('npm run bench --')
  .description('Measures the broker against a bare WebSocket echo in the same run.')
  .option('--quick', 'about a minute, with smaller sizes and shorter slices')
  .option(
    '--only <names>',
    `comma-separated workloads: ${workloadNames.join(', ')} (default: all but ${optionalWorkloads.join(', ')})`,
    workloadsNamed,
  )
  .option(
    '--shapes <texts>',
    'only jobs whose shape (size) contains one of these comma-separated texts',
    (list: string) => list.split(','),
  )
  .addOption(
    new Option('--driver <which>', 'frames by hand, or the client library (default: both)').choices(
      ['raw', 'client'],
    ),
  )
  .option(
    '--profile <folder>',
    'writes a CPU profile of each broker to the folder, and prints the busiest functions',
  )
  .option(
    '--peers [names]',
    'also measures all other lock services, or those given, separated by semicolons; takes long',
    peersNamed,
  )
  .option(
    '--runs <count>',
    'repeats all jobs, and shows the medians over the runs and the range of the ratios',
    countOfRuns,
    1,
  )
  .option('--json <file>', 'writes the results as JSON')
  .action(bench)

await program.parseAsync()

/** Runs the workloads, prints the tables and saves the results. */
async function bench({
  quick,
  only = defaultWorkloads,
  shapes,
  driver,
  json,
  profile,
  runs,
  peers: requestedPeers,
}: Flags): Promise<void> {
  const pace = quick ? quickPace : runs > 1 ? repeatedPace : normalPace
  const drivers: readonly DriverName[] = driver === undefined ? ['raw', 'client'] : [driver]
  const began = new Date()
  const machine = describeMachine()
  const print = (text: string): void => void process.stdout.write(`${text}\n`)
  print(`# Bench\n\n${machineLine(machine)}\n`)
  if (!canPin)
    print(
      'Processes are not pinned to cores, because taskset is missing or there is only one core.\n',
    )

  const measuredPeers =
    requestedPeers === undefined
      ? []
      : availablePeers(requestedPeers === true ? peers : requestedPeers, print)
  const versions = [...new Set(measuredPeers.flatMap(versionsOf))]
  if (versions.length > 0) print(`Peers: ${versions.join(', ')}\n`)
  const options = { pace, drivers, profiles: profile, shapes, runs }
  const chosen = [...only, ...peerWorkloads(measuredPeers)]
  const { rows, grants, violations } = await runAll(chosen, options, print)
  if (measuredPeers.length > 0) print(peerTable(rows))
  const targetResults = compareWithTargets(rows, /* withPeers */ requestedPeers !== undefined)
  print(targetTable(targetResults))
  if (profile !== undefined) print(await profileTables(profile))
  print(`Exclusion: ${violations} violations in ${grants.toLocaleString('en')} grants.`)
  const results: Results = {
    began: began.toISOString(),
    seconds: Math.round((Date.now() - began.getTime()) / 1_000),
    command: ['npm run bench', ...process.argv.slice(2)].join(' '),
    machine,
    versions,
    runs,
    pace: pace.name,
    grants,
    violations,
    rows,
    targetResults,
  }
  const caption = `Pairs a second against a bare ws echo. ${machineLine(machine)}`
  await saveResults({ 'latest.json': asJson(results), 'latest.svg': chartOf(rows, caption) })
  if (json !== undefined) await writeFile(json, asJson(results))
  print(`Took ${results.seconds} s. Chart: ${join(resultsFolder, 'latest.svg')}`)
  if (violations > 0) process.exitCode = 1
}

interface RunAllOptions extends Omit<RunOptions, 'onProgress'> {
  /** A job runs if its shape contains one of these texts; undefined for all jobs. */
  readonly shapes: readonly string[] | undefined
  /** How often each job runs. */
  readonly runs: number
}

/** Runs the jobs of these workloads, and prints the table of each workload. */
async function runAll(
  chosen: readonly Workload[],
  options: RunAllOptions,
  print: (text: string) => void,
): Promise<{ rows: Row[]; grants: number; violations: number }> {
  const isSelected = ({ shape }: Job): boolean =>
    options.shapes === undefined || options.shapes.some((text) => shape.includes(text))
  const jobsOf = new Map<Workload, readonly Job[]>(
    chosen.map((workload) => [workload, workload.jobs(options.pace).filter(isSelected)]),
  )
  const progress = showProgress([...jobsOf.values()].flat().length * options.runs)
  const total = { rows: [] as Row[], grants: 0, violations: 0 }
  const rowsOfRuns = new Map<Workload, Row[][]>(chosen.map((workload) => [workload, []]))
  for (let run = 0; run < options.runs; run++) {
    for (const [workload, jobs] of jobsOf) {
      const rows: Row[] = []
      for (const job of jobs) {
        progress.begin(`${workload.name} ${job.shape} ${job.subject}`)
        const onProgress = (share: number): void => progress.advance(share)
        const result = await runJob(job, { ...options, onProgress })
        rows.push(...result.rows)
        total.grants += result.grants
        total.violations += result.violations
      }
      rowsOfRuns.get(workload)!.push(rows)
    }
  }
  progress.end()
  for (const [workload, rowsOfEachRun] of rowsOfRuns) {
    const rows = combineRuns(rowsOfEachRun)
    total.rows.push(...rows)
    print(workloadTable(workload, rows))
  }
  return total
}
