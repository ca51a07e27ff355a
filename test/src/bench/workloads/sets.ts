/**
 * The workload "sets": the cost of a set, which is one lock on several keys. The workload measures
 * the lock table without a broker. A pair is a grant and its unlock. For comparison, the same keys
 * are locked one by one. In a hand-off, a session unlocks a set while another session waits for the
 * same set. A fence is the number of a grant.
 */
import { type Command, LockTable, type SetItem } from '@holdfast/server/core'
import { type JobResult, type LoadContext, makeJob, param, type Workload } from '../job.js'
import { median } from '../load/statistics.js'
import { usPerCall } from '../load/usPerCall.js'

/**
 * How many keys a series of calls locks in total. A series with larger sets has fewer calls, so all
 * series take equally long.
 */
const keysPerSeries = 100_000
/** The smallest number of calls in a series, also in a short run. */
const minCalls = 10
/**
 * How many times each round repeats each series of calls. A median of many short series is steadier
 * than a median of few long ones, because a pause of the machine spoils one series only.
 */
const repeatsPerRound = 3

/** A lock table with two sessions. */
class TwoSessionTable {
  readonly #table = new LockTable()
  readonly #items: readonly SetItem[]
  /** The id of the newest request of both sessions. */
  #id = 0
  /** The fence of the newest grant. */
  fence = 0

  constructor(keyCount: number) {
    const keys = Array.from({ length: keyCount }, (_, i) => `account:${i}`)
    this.#items = keys.map((key) => ({ key, mode: 'exclusive' }))
    // The workload reaches none of these limits.
    const limits = { locks: 10_000, answers: 1_024, waitersPerKey: 100_000 }
    const client = { principal: '', name: undefined, lease: 15_000, grace: 0, secret: undefined }
    for (const session of ['a', 'b']) {
      const ids = { handshakeId: session, session, ownerBroker: '' }
      this.#table.apply({ type: 'open', at: 0, ...ids, ...client, limits })
    }
  }

  lockAll(session: string): void {
    const terms = { ttl: undefined, timeout: undefined, metadata: undefined }
    this.#apply({ type: 'lockAll', ...this.#nextCommand(session), items: this.#items, ...terms })
  }

  unlock(session: string, fence: number): void {
    this.#apply({ type: 'unlock', ...this.#nextCommand(session), fence })
  }

  /** Locks all keys one by one, and unlocks them. */
  lockOneByOne(session: string): void {
    const terms = { ttl: undefined, timeout: undefined, metadata: undefined, steal: false }
    for (const { key, mode } of this.#items)
      this.#apply({ type: 'lock', ...this.#nextCommand(session), key, mode, ...terms })
    // The new locks have consecutive fences, which end with `last`.
    const last = this.fence
    for (let i = this.#items.length - 1; i >= 0; i--) this.unlock(session, last - i)
  }

  /** The common fields of a command. Each call makes a new id. */
  #nextCommand(session: string) {
    return { at: 0, session, attachEpoch: 1, id: ++this.#id }
  }

  #apply(command: Command): void {
    this.#table.apply(command)
    this.fence = this.#table.fence
  }
}

async function runJob({ pace, job, progress }: LoadContext): Promise<JobResult> {
  const keyCount = param(job, 'keys')
  const calls = Math.max(minCalls, Math.floor(keysPerSeries / pace.sizeDivisor / keyCount))
  const figures: Record<string, number[]> = { setPairUs: [], setOneByOneUs: [], setHandOffUs: [] }
  const repeats = pace.rounds * repeatsPerRound
  // The repeat -1 does not count, because it warms up the code.
  for (let repeat = -1; repeat < repeats; repeat++) {
    const table = new TwoSessionTable(keyCount)
    const setPairUs = usPerCall(calls, () => {
      table.lockAll('a')
      table.unlock('a', table.fence)
    })
    const setOneByOneUs = usPerCall(calls, () => table.lockOneByOne('a'))
    table.lockAll('a')
    let [holder, waiter] = ['a', 'b']
    const setHandOffUs = usPerCall(calls, () => {
      table.lockAll(waiter)
      // The waiter has no grant yet, so the newest fence is that of the holder.
      table.unlock(holder, table.fence)
      ;[holder, waiter] = [waiter, holder]
    })
    if (repeat < 0) continue
    for (const [name, us] of Object.entries({ setPairUs, setOneByOneUs, setHandOffUs }))
      figures[name]!.push(us)
    progress((repeat + 1) / repeats)
  }
  const medians = Object.entries(figures).map(([name, values]) => [name, median(values)] as const)
  const { workload, shape, placement } = job
  const row = { workload, shape, placement, system: 'holdfast' }
  return { rows: [{ ...row, figures: Object.fromEntries(medians) }], grants: 0, violations: 0 }
}

export const sets: Workload = {
  name: 'sets',
  title: 'sets: one lock on several keys',
  jobs: () =>
    [2, 8, 64].map((keys) =>
      makeJob({ workload: 'sets', shape: `${keys} keys`, placement: 'split', params: { keys } }),
    ),
  runJob,
}
