/**
 * The workload "deadlocks": the cost of a check for deadlocks in the lock table, without a broker.
 * A scope is one task of a client. A scope that waits keeps its locks, so scopes that wait for each
 * other wait forever. Each of n scopes holds a key, and all but the last wait for the key of the
 * next scope. A new request for the first key waits behind this chain, so its check visits the
 * n - 1 waiting scopes.
 */
import { type Command, LockTable } from '@holdfast/server/core'
import { type JobResult, type LoadContext, makeJob, param, type Workload } from '../job.js'
import { median } from '../load/statistics.js'
import { usPerCall } from '../load/usPerCall.js'

/**
 * How many scopes a series of checks visits. A series with a longer chain has fewer calls, so all
 * series take equally long.
 */
const visitsPerSeries = 100_000
/** The smallest number of calls in a series, also in a short run. */
const minCalls = 10
/**
 * How many times each round repeats each series of calls. A median of many short series is steadier
 * than a median of few long ones, because a pause of the machine spoils one series only.
 */
const repeatsPerRound = 3
/** The id of the scope. Each session has one scope, so all sessions can use the same id. */
const scope = 1

/** A lock table with a chain of scopes. */
class ScopeChainTable {
  readonly #table = new LockTable()
  readonly #scopeCount: number
  /** The id of the newest request of all sessions. */
  #id = 0

  constructor(scopeCount: number) {
    this.#scopeCount = scopeCount
    // One session more than scopes, which holds nothing and makes the requests of `waitAndCancel`.
    for (let i = 0; i <= scopeCount; i++) this.#open(`s${i}`)
    for (let i = 0; i < scopeCount; i++) this.#lock(`s${i}`, `k${i}`, scope)
    for (let i = 0; i < scopeCount - 1; i++) this.#lock(`s${i}`, `k${i + 1}`, scope)
  }

  /** How many waiting scopes all checks have visited. */
  get visitCount(): number {
    return this.#table.visitCount
  }

  /** Makes a request that waits, and cancels it. The table checks only requests in a scope. */
  waitAndCancel(inScope: boolean): void {
    const session = `s${this.#scopeCount}`
    this.#lock(session, 'k0', inScope ? scope : undefined)
    this.#table.apply({ type: 'cancel', ...this.#from(session), request: this.#id })
  }

  /**
   * Makes a request of the last scope of the chain. The table refuses the request, because its wait
   * would close a cycle.
   */
  requestDeadlock(): void {
    this.#lock(`s${this.#scopeCount - 1}`, 'k0', scope)
  }

  #open(session: string): void {
    // The workload reaches none of these limits.
    const limits = { locks: 10_000, answers: 1_024, waitersPerKey: 100_000 }
    const client = { principal: '', name: undefined, lease: 15_000, grace: 0, secret: undefined }
    const ids = { handshakeId: session, session, ownerBroker: '' }
    this.#table.apply({ type: 'open', at: 0, ...ids, ...client, limits })
  }

  #lock(session: string, key: string, scopeId: number | undefined): void {
    const id = ++this.#id
    const terms = { ttl: undefined, timeout: undefined, metadata: undefined, steal: false }
    const extras = scopeId === undefined ? undefined : { scope: scopeId }
    const command = { type: 'lock', ...this.#from(session), id, key, ...terms, extras } as const
    this.#table.apply({ ...command, mode: 'exclusive' } satisfies Command)
  }

  #from(session: string) {
    return { at: 0, session, attachEpoch: 1 }
  }
}

async function runJob({ pace, job, progress }: LoadContext): Promise<JobResult> {
  const scopeCount = param(job, 'scopes')
  const calls = Math.max(minCalls, Math.floor(visitsPerSeries / pace.sizeDivisor / scopeCount))
  const figures: Record<string, number[]> = {
    plainWaitUs: [],
    checkedWaitUs: [],
    deadlockUs: [],
    visitsPerCheck: [],
  }
  const repeats = pace.rounds * repeatsPerRound
  // The repeat -1 does not count, because it warms up the code.
  for (let repeat = -1; repeat < repeats; repeat++) {
    const table = new ScopeChainTable(scopeCount)
    const plainWaitUs = usPerCall(calls, () => table.waitAndCancel(/* inScope */ false))
    const visitsBefore = table.visitCount
    const checkedWaitUs = usPerCall(calls, () => table.waitAndCancel(/* inScope */ true))
    const visitsPerCheck = (table.visitCount - visitsBefore) / calls
    const deadlockUs = usPerCall(calls, () => table.requestDeadlock())
    if (repeat < 0) continue
    const measured = { plainWaitUs, checkedWaitUs, deadlockUs, visitsPerCheck }
    for (const [name, value] of Object.entries(measured)) figures[name]!.push(value)
    progress((repeat + 1) / repeats)
  }
  const medians = Object.entries(figures).map(([name, values]) => [name, median(values)] as const)
  const { workload, shape, placement } = job
  const row = { workload, shape, placement, system: 'holdfast' }
  return { rows: [{ ...row, figures: Object.fromEntries(medians) }], grants: 0, violations: 0 }
}

export const deadlocks: Workload = {
  name: 'deadlocks',
  title: 'deadlocks: the check of a request behind a chain of n scopes',
  jobs: () =>
    [10, 100, 1_000].map((scopes) =>
      makeJob({
        workload: 'deadlocks',
        shape: `${scopes} scopes`,
        placement: 'split',
        params: { scopes },
      }),
    ),
  runJob,
}
