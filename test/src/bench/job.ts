/**
 * What the parts of the bench say to each other. A workload is a list of jobs; a job is a broker,
 * an echo server and a load generator, each a process of its own, and comes to an end with rows.
 */

import type { Profile } from '@holdfast/server'
import type { Usage } from './processes/usage.js'

/** Where server and generator run: on a core each, or both on one. */
export type Placement = 'split' | 'shared'

/** How long everything takes. */
export interface Pace {
  readonly name: 'normal' | 'quick' | 'smoke'
  /** How often each contestant has its turn. */
  readonly rounds: number
  /** Length of a turn, in ms. */
  readonly sliceMs: number
  /** What is run and thrown away before the first turn, in ms for each contestant. */
  readonly warmUpMs: number
  /** Divides the sizes of those workloads that fill the broker with something. */
  readonly scale: number
}

/** A server that the bench has started. */
export interface Endpoint {
  readonly url: string
  readonly pid: number
}

/** Which server a job is about: the broker, or a peer by name. */
export type Subject = 'holdfast' | (string & {})

/** One run of a generator. Goes to another process, so it is plain data. */
export interface Job {
  /** The workload it belongs to, such as `W1`. */
  readonly workload: string
  /** The shape within the workload, such as `64×16`. */
  readonly shape: string
  readonly placement: Placement
  readonly subject: Subject
  /** Limits of the broker that this job needs raised, by name. */
  readonly limits: Readonly<Record<string, number>>
  /** With a journal in a directory for temporary files; without, the broker keeps nothing. */
  readonly journal?: 'flushed' | 'relaxed' | undefined
  /** The profile of the broker; without it, its default. */
  readonly profile?: Profile | undefined
  /** Whom the broker knows by a token of theirs, see `tokenOf`; without it, it asks for none. */
  readonly principals?: readonly string[] | undefined
  /** Size of the broker's heap, in MiB; without it, what Node takes. */
  readonly heapMiB?: number | undefined
  /** Whether the broker keeps account of how long its event loop stands still. */
  readonly watchesLoop?: boolean | undefined
  /** Whatever else the workload wants to know; its own business. */
  readonly params: Readonly<Record<string, number>>
}

/** The token by which the broker of a job knows a principal. */
export function tokenOf(principal: string): string {
  return `the token of ${principal}, long enough`
}

/** What a workload has told its own load. */
export function param({ params }: Job, name: string): number {
  const value = params[name]
  if (value === undefined) throw new Error(`this job has no ${name}`)
  return value
}

/** One line of a table. */
export interface Row {
  readonly workload: string
  readonly shape: string
  readonly placement: Placement
  /** Who was measured, such as `holdfast, frames by hand`. */
  readonly system: string
  /** By name; the units are in the names. */
  readonly figures: Readonly<Record<string, number>>
}

export interface JobResult {
  readonly rows: readonly Row[]
  /** Grants that the exclusion check has looked at, and those that it found wrong. */
  readonly grants: number
  readonly violations: number
}

/** Which ways of driving the broker are wanted. */
export type DriverName = 'raw' | 'client'

/** What a generator is started with. */
export interface Assignment {
  readonly job: Job
  readonly pace: Pace
  readonly drivers: readonly DriverName[]
  /** The server under test. */
  readonly server: Endpoint
  readonly echo: Endpoint
}

/** What a generator says to the process that started it. */
export type Report =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'usage'; readonly pid: number }
  | { readonly type: 'result'; readonly result: JobResult }
  | { readonly type: 'failed'; readonly message: string }

export interface LoadContext extends Assignment {
  /** @param done From 0 to 1. */
  readonly progress: (done: number) => void
  readonly usageOf: (pid: number) => Promise<Usage>
}

export interface Workload {
  readonly name: string
  readonly title: string
  /** What to run; `placements` are those that this machine can do. */
  readonly jobs: (pace: Pace) => readonly Job[]
  /** Runs in the generator. */
  readonly load: (context: LoadContext) => Promise<JobResult>
}

/** A job with nothing special about it. */
export function job(
  workload: string,
  shape: string,
  placement: Placement,
  params: Job['params'],
  limits: Job['limits'] = {},
): Job {
  return { workload, shape, placement, subject: 'holdfast', limits, params }
}
