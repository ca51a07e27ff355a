/** Runs one job of the benchmark. Ends all processes of the job, even after an error. */
import type { DriverName, Job, JobResult, Pace } from './job.js'
import { peerNamed } from './peers/index.js'
import { runGenerator } from './processes/generatorProcess.js'
import { startPeer } from './processes/peerServers.js'
import { type Server, startBroker, startEcho } from './processes/servers.js'

export interface RunOptions {
  readonly pace: Pace
  /** How the load reaches the broker: as raw frames, through the client library, or both. */
  readonly drivers: readonly DriverName[]
  /** The folder for a CPU profile of each broker; undefined for none. */
  readonly profiles?: string | undefined
  /** Called with the finished share of the job, from 0 to 1. */
  readonly onProgress: (share: number) => void
}

/** Starts the servers and the load generator of a job, runs the job, and ends all processes. */
export async function runJob(
  job: Job,
  { pace, drivers, profiles, onProgress }: RunOptions,
): Promise<JobResult> {
  const server = await startSubject(job, profiles)
  try {
    // The results of the job are compared with this echo server, which has no locks.
    const echo = await startEcho()
    try {
      // Without the methods of the servers, because the assignment is sent to another process.
      const endpoint = { url: server.url, pid: server.pid }
      const echoEndpoint = { url: echo.url, pid: echo.pid }
      const assignment = { job, pace, drivers, server: endpoint, echo: echoEndpoint }
      return await runGenerator({ assignment, servers: [server, echo], onProgress })
    } finally {
      await echo.stop('SIGKILL')
    }
  } finally {
    // Node writes a CPU profile only at a clean exit. A peer may be a database, which must end its
    // child processes.
    const needsCleanExit = profiles !== undefined || job.subject !== 'holdfast'
    await server.stop(needsCleanExit ? 'SIGINT' : 'SIGKILL')
  }
}

/** Starts the server that the job measures: the broker or a peer. */
function startSubject(job: Job, profiles: string | undefined): Promise<Server> {
  if (job.subject !== 'holdfast') return startPeer(peerNamed(job.subject))
  return startBroker(job, {
    nodeFlags: profiles === undefined ? [] : profileFlags(profiles, job),
  })
}

/** The flags of Node that write a CPU profile into this folder. */
function profileFlags(folder: string, { workload, shape, placement }: Job): string[] {
  const name = `${workload} ${shape} ${placement}.cpuprofile`.replace(/[ :,]+/g, '-')
  return ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}`]
}
