/**
 * The answer to a query for barriers or for kept results, in chunks. `chunkedResponses.ts` explains
 * why the broker sends long answers in chunks, and encodes the answers to queries for locks.
 *
 * A barrier lets calls of several clients wait for each other. With `once`, several clients ask for
 * the value of a key. One of them calls a function, and all of them get its value. A kept result is
 * such a value, stored for later callers. Barriers and kept results are both called records here.
 */
import { utf8Length } from '@holdfast/shared'
import { chunkBytes, type PacedChunks } from './chunkedResponses.js'

/** The field of the message `found` that lists the items: calls at barriers, or kept results. */
export type RecordList = 'arrived' | 'kept'

/** The items of one record: the calls that wait at a barrier, or the one kept result. */
export interface RecordRows {
  /** How many items the record has. */
  readonly count: number
  /**
   * Encodes at most `limit` items, as they are when the iteration begins. Each step of the
   * iteration encodes one item. So the broker can send a full chunk and serve other clients before
   * it encodes the rest of a barrier with a thousand calls.
   *
   * @param limit At least 1.
   */
  encode(limit: number): Iterable<string>
}

/** A search that may pause between two records (see `broker/recordSearch.ts`). */
export interface RecordSearch {
  readonly listField: RecordList
  /**
   * After this many calls of {@link next}, a generator that uses this search must yield
   * {@link costPerStep}, so that the broker can pause the generator.
   */
  readonly recordsPerStep: number
  /** The cost of {@link recordsPerStep} records, in units of work (see `config/workCosts.ts`). */
  readonly costPerStep: number
  /**
   * The next record; `'noMatch'` if the query does not ask for the record; undefined at the end.
   */
  next(): RecordRows | 'noMatch' | undefined
  /** Ends the search early. */
  end(): void
}

/**
 * Encodes the answer to a query for barriers or for kept results.
 *
 * @param limit At most this many items are listed. The count includes all matches.
 */
export function* recordChunks(id: number, search: RecordSearch, limit: number): PacedChunks {
  const { listField } = search
  let items: string[] = []
  let bytes = 0
  let listed = 0
  /** How many items match, including the items beyond the limit. */
  let count = 0
  /** Encodes and empties the chunk. */
  const encodeChunk = (more: boolean): string => {
    // Every `found` has the lists of locks and requests, which are empty here.
    const emptyFields = `"held":[],"waiting":[],"heldCount":0,"waitingCount":0`
    const listFields = `"${listField}":[${items.join()}],"${listField}Count":${count}`
    items = []
    bytes = 0
    return `{"type":"found","id":${id},${emptyFields},${listFields},"more":${more}}`
  }
  try {
    let visited = 0
    for (let record = search.next(); record !== undefined; record = search.next()) {
      if (record !== 'noMatch') {
        count += record.count
        if (listed < limit) {
          for (const item of record.encode(limit - listed)) {
            listed++
            // One more byte for the comma between two items.
            const itemBytes = utf8Length(item) + 1
            if (bytes > 0 && bytes + itemBytes > chunkBytes) yield encodeChunk(true)
            items.push(item)
            bytes += itemBytes
          }
        }
      }
      if (++visited % search.recordsPerStep === 0) yield search.costPerStep
    }
  } finally {
    search.end()
  }
  yield encodeChunk(false)
}
