/**
 * The types that the processes of the bench share. A workload is a list of jobs. Each job has three
 * processes: a broker, an echo server (a server without locks) and a load generator. The generator
 * compares several contestants, such as the broker and the echo server. The contestants take turns:
 * each runs for one slice of time. The results of a job are rows of a table.
 */
import type { Profile } from '@holdfast/server'
import type { Usage } from './processes/usage.js'

/** Whether the server and the load generator have one core each ("split") or share one core. */
export type Placement = 'split' | 'shared'

/** The length of a run of the bench, and the size of its loads. */
export interface Pace {
  readonly name: 'normal' | 'quick' | 'smoke'
  /** The number of slices of each contestant. */
  readonly rounds: number
  /** The length of a slice, in ms. */
  readonly sliceMs: number
  /** How long each contestant runs before its first slice, in ms; this time is not measured. */
  readonly warmUpMs: number
  /**
   * Divides the sizes of some workloads, for example the number of locks with which a workload
   * first fills the broker.
   */
  readonly sizeDivisor: number
}

/** A server that the bench has started. */
export interface Endpoint {
  readonly url: string
  readonly pid: number
}

/**
 * The server that a job measures: the broker, or the name of a peer (another lock service).
 * `string & {}` allows every string, and editors still suggest `holdfast`.
 */
export type Subject = 'holdfast' | (string & {})

/**
 * Describes one run: which servers to start, and which load to generate. A job is plain data,
 * because it is sent to another process.
 */
export interface Job {
  /** The name of the workload that has this job, such as `W1`. */
  readonly workload: string
  /** The size of the load, such as `64×16`: 64 sessions with 16 requests under way in each. */
  readonly shape: string
  readonly placement: Placement
  readonly subject: Subject
  /** The limits of the broker that this job raises: the new value of each limit, by its name. */
  readonly limits: Readonly<Record<string, number>>
  /**
   * When the broker answers: `flushed` is after a flush of the journal to the disk, `relaxed` as
   * soon as the operating system has the data. Undefined for no journal.
   */
  readonly journal?: 'flushed' | 'relaxed' | undefined
  /** The profile of the broker, which is a named set of limits; undefined for the default. */
  readonly profile?: Profile | undefined
  /**
   * The principals (users) that may connect, each with the token of `tokenOf`; undefined for a
   * broker without tokens.
   */
  readonly principals?: readonly string[] | undefined
  /** The size of the broker's heap, in MiB; undefined for the default of Node. */
  readonly heapMiB?: number | undefined
  /** Whether the broker records how long its event loop stalls. */
  readonly watchesLoop?: boolean | undefined
  /** Parameters that only the workload reads. */
  readonly params: Readonly<Record<string, number>>
}

/** The token of a principal at the broker of a job. */
export function tokenOf(principal: string): string {
  return `the token of ${principal}, long enough`
}

/** The parameter of a job with this name. Throws if the job has no such parameter. */
export function param({ params }: Job, name: string): number {
  const value = params[name]
  if (value === undefined) throw new Error(`The job has no parameter ${name}`)
  return value
}

/** One row of a table. */
export interface Row {
  readonly workload: string
  readonly shape: string
  readonly placement: Placement
  /**
   * The measured system, such as `holdfast, by hand`: the broker, with frames that the generator
   * writes itself.
   */
  readonly system: string
  /** The figures by name; a name contains its unit. */
  readonly figures: Readonly<Record<string, number>>
}

export interface JobResult {
  readonly rows: readonly Row[]
  /** The number of grants that the exclusion check (`exclusion.ts`) has seen. */
  readonly grants: number
  /** The number of these grants that the broker should not have made. */
  readonly violations: number
}

/**
 * How the load reaches the broker. With `raw`, the generator writes the frames itself ("by hand").
 * With `client`, the load uses the client library.
 */
export type DriverName = 'raw' | 'client'

/** The input of a generator. */
export interface Assignment {
  readonly job: Job
  readonly pace: Pace
  readonly drivers: readonly DriverName[]
  /** The measured server. */
  readonly server: Endpoint
  readonly echo: Endpoint
}

/** A message of a generator to its parent; `askUsage` asks for the `Usage` of a process. */
export type Report =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'askUsage'; readonly pid: number }
  | { readonly type: 'result'; readonly result: JobResult }
  | { readonly type: 'failed'; readonly message: string }

/** What `Workload.runJob` gets: the assignment, and functions that speak to the parent process. */
export interface LoadContext extends Assignment {
  /** Reports the progress. @param done The finished share of the job, from 0 to 1. */
  readonly progress: (done: number) => void
  /** Resolves with the CPU time and the memory that a server has used. */
  readonly usageOf: (pid: number) => Promise<Usage>
}

/** A list of jobs, and the load of each job. */
export interface Workload {
  /** A short name for the command line and the results, such as `W1`. */
  readonly name: string
  /** The title of the table. */
  readonly title: string
  /** The jobs to run. */
  readonly jobs: (pace: Pace) => readonly Job[]
  /** Runs a job in the process of the load generator. */
  readonly runJob: (context: LoadContext) => Promise<JobResult>
}

/** What {@link makeJob} gets: the fields of a job that differ between the usual jobs. */
interface JobParts extends Pick<Job, 'workload' | 'shape' | 'placement' | 'params'> {
  /** Default: none. */
  readonly limits?: Job['limits']
}

/** A job with the usual settings. */
export function makeJob({ workload, shape, placement, params, limits = {} }: JobParts): Job {
  return { workload, shape, placement, subject: 'holdfast', limits, params }
}
