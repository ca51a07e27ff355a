/**
 * Searches the barriers and the kept results of `once`, for queries that ask for them. Like a
 * search for locks, a search pauses between two records when the connection has used up its work
 * budget, and while the client does not read.
 */
import type { QueryKind } from '@holdfast/shared'
import { costOfKeys, keysFor } from '../config/workCosts.js'
import type { KeptResult, LockTable } from '../core/index.js'
import { encodeBarrierCall, encodeKeptResult } from '../protocol/encode.js'
import type { RecordItems, RecordList, RecordRows } from '../protocol/recordChunks.js'
import type { Scope } from './queries.js'

/** The part of the timekeeper that knows how long a result is kept. */
export interface RecordTimers {
  /** In ms; undefined if another broker keeps the time of the result. */
  remainingOf(kept: KeptResult): number | undefined
}

/** A search checks the work budget each time the search has used this many units of work. */
const unitsPerStep = 8

/** Starts a search. The caller must finish or end the search. */
export function searchRecords(
  kind: Exclude<QueryKind, 'locks'>,
  table: Pick<LockTable, 'barriers' | 'keptResults' | 'walkKeptResults'>,
  timers: RecordTimers,
  scope: Scope,
): RecordItems {
  if (kind === 'barriers') {
    return new RecordSearch('arrived', table.barriers, scope, (barrier) => ({
      count: barrier.calls.size,
      // All at once, because calls may come and go while the answer is sent.
      encode: () =>
        Array.from(barrier.calls, (call) => encodeBarrierCall(barrier, barrier.calls.size, call)),
    }))
  }
  const source = {
    get: (key: string) => table.keptResults.get(key),
    walk: () => table.walkKeptResults(),
  }
  return new RecordSearch('kept', source, scope, (kept) => ({
    count: 1,
    encode: () => [encodeKeptResult(kept, timers.remainingOf(kept))],
  }))
}

/** Records by their keys, such as all barriers. */
interface RecordSource<T> {
  get(key: string): T | undefined
  walk(): { next(): T | undefined; end(): void }
}

class RecordSearch<T extends { readonly key: string }> implements RecordItems {
  readonly list: RecordList
  readonly itemsPerStep: number
  readonly costPerStep: number
  readonly #scope: Scope
  readonly #source: RecordSource<T>
  readonly #walk: ReturnType<RecordSource<T>['walk']> | undefined
  readonly #rowsOf: (record: T) => RecordRows
  #hasEnded = false

  constructor(
    list: RecordList,
    source: RecordSource<T>,
    scope: Scope,
    rowsOf: (record: T) => RecordRows,
  ) {
    this.list = list
    this.#scope = scope
    this.#source = source
    this.#rowsOf = rowsOf
    const checksPermission = scope.isVisible !== undefined
    this.itemsPerStep = keysFor(unitsPerStep, checksPermission)
    this.costPerStep = costOfKeys(this.itemsPerStep, checksPermission)
    if (scope.key === undefined) this.#walk = source.walk()
  }

  next(): RecordRows | 'noMatch' | undefined {
    if (this.#hasEnded) return undefined
    const { key, prefix = '', isVisible } = this.#scope
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
