/**
 * Searches for the barriers or kept results that a query asks for. Both are called records here,
 * and each record has one key. A barrier lets calls of several clients wait for each other. A kept
 * result is the value of a `once` (one run of a function for all callers), kept for later callers.
 *
 * Like a search for locks, a search for records may pause between two records. The search pauses
 * when the connection has used up its work budget, and while the client does not read.
 */
import type { QueryKind } from '@holdfast/shared'
import { costOfKeys, keysFor } from '../config/workCosts.js'
import type { Barrier, BarrierCall, KeptResult, LockTable, Session } from '../core/index.js'
import { encodeBarrierCall, encodeKeptResult } from '../protocol/encodeLockInfo.js'
import type { RecordList, RecordRows, RecordSearch } from '../protocol/recordChunks.js'
import type { KeySelection } from './queries.js'

/** The part of the timekeeper that knows how long a result is kept. */
export interface RecordTimers {
  /** How much longer the result is kept, in ms; undefined if another broker has the timer. */
  remainingOf(kept: KeptResult): number | undefined
}

/** Units of work that one step may use. The broker may pause a search after each step. */
const workUnitsPerStep = 8

/** Starts a search. The caller must call `next` until it returns undefined, or call `end`. */
export function searchRecords(
  kind: Exclude<QueryKind, 'locks' | 'sessions'>,
  table: Pick<LockTable, 'barriers' | 'keptResults' | 'walkKeptResults'>,
  timers: RecordTimers,
  selection: KeySelection,
): RecordSearch {
  // `arrived` and `kept` are the fields of the answer that list calls and results.
  if (kind === 'barriers') {
    return new TableRecordSearch('arrived', table.barriers, selection, (barrier) => ({
      count: barrier.calls.size,
      encode: (limit) => encodeCalls(barrier, limit),
    }))
  }
  const source = {
    get: (key: string) => table.keptResults.get(key),
    walk: () => table.walkKeptResults(),
  }
  return new TableRecordSearch('kept', source, selection, (kept) => ({
    count: 1,
    encode: () => [encodeKeptResult(kept, timers.remainingOf(kept))],
  }))
}

/**
 * Yields at most `limit` of the calls that wait at the barrier, each as JSON. Copies the calls
 * first, because calls may come and go between two yields.
 */
function* encodeCalls(barrier: Barrier<Session>, limit: number): Generator<string> {
  const waitingCount = barrier.calls.size
  const calls: BarrierCall<Session>[] = []
  for (const call of barrier.calls) if (calls.push(call) >= limit) break
  for (const call of calls) yield encodeBarrierCall(barrier, waitingCount, call)
}

/** Where a search finds its records: in all barriers, or in all kept results. */
interface RecordSource<T> {
  get(key: string): T | undefined
  walk(): { next(): T | undefined; end(): void }
}

class TableRecordSearch<T extends { readonly key: string }> implements RecordSearch {
  readonly listField: RecordList
  readonly recordsPerStep: number
  readonly costPerStep: number
  readonly #selection: KeySelection
  readonly #source: RecordSource<T>
  /** Undefined for a search for one key. */
  readonly #walk: ReturnType<RecordSource<T>['walk']> | undefined
  readonly #rowsOf: (record: T) => RecordRows
  /** True after `end`; in a search for one key, also after the lookup of the key. */
  #hasEnded = false

  constructor(
    listField: RecordList,
    source: RecordSource<T>,
    selection: KeySelection,
    rowsOf: (record: T) => RecordRows,
  ) {
    this.listField = listField
    this.#selection = selection
    this.#source = source
    this.#rowsOf = rowsOf
    const checksPermission = selection.isVisible !== undefined
    // Each record has one key, so `keysFor` also says how many records a step may visit.
    this.recordsPerStep = keysFor(workUnitsPerStep, checksPermission)
    this.costPerStep = costOfKeys(this.recordsPerStep, checksPermission)
    if (selection.key === undefined) this.#walk = source.walk()
  }

  next(): RecordRows | 'noMatch' | undefined {
    if (this.#hasEnded) return undefined
    const { key, prefix = '', isVisible } = this.#selection
    if (key !== undefined) this.#hasEnded = true
    const record = key === undefined ? this.#walk?.next() : this.#source.get(key)
    if (record === undefined) return undefined
    const isMatch = record.key.startsWith(prefix) && (isVisible?.(record.key) ?? true)
    return isMatch ? this.#rowsOf(record) : 'noMatch'
  }

  end(): void {
    this.#hasEnded = true
    this.#walk?.end()
  }
}
