/**
 * The records of `once`: the result of a run, the followers that wait for the result, and a result
 * that is kept for later callers. `results.ts` says how the table uses these records.
 */
import { keptResultBytes, resultBytes, textBytes } from './weights.js'

/**
 * This many characters of a value cost as much as one grant, because each answer copies the value.
 * An answer also costs one grant itself. Each command can make a limited number of grants.
 */
const charsPerGrant = 512

/**
 * The value of one run of a `once`. All followers of the run share this object, so that the value
 * (up to 32 KiB) is in memory only once.
 */
export class SharedResult {
  readonly key: string
  /** The fence of the lock of the run. Two results never have the same fence. */
  readonly fence: number
  /** JSON text; undefined for the value `undefined`. */
  readonly value: string | undefined
  #references = 0

  constructor(key: string, fence: number, value: string | undefined) {
    this.key = key
    this.fence = fence
    this.value = value
  }

  get bytes(): number {
    return resultBytes + textBytes(this.key) + textBytes(this.value)
  }

  /** How many grants have the same cost as one answer with this value. */
  get answerCost(): number {
    return 1 + Math.floor((this.value?.length ?? 0) / charsPerGrant)
  }

  /** Counts a record that refers to this result. Returns the bytes that the table grows by. */
  addReference(): number {
    return this.#references++ === 0 ? this.bytes : 0
  }

  /** Reverts {@link addReference}. Returns the bytes that the table shrinks by. */
  removeReference(): number {
    return --this.#references === 0 ? this.bytes : 0
  }
}

/**
 * The `once` requests that wait for the value of the same run.
 *
 * @template R The class of requests.
 */
export class FollowerGroup<R> {
  /** In order of arrival. */
  readonly requests = new Set<R>()
  /** The value that these requests get; undefined before the run ends. */
  result: SharedResult | undefined = undefined
}

/** A result that later `once` calls of its key get. */
export class KeptResult {
  /**
   * A number that rises with each kept result; 0 for a bookmark (see `orderedList.ts`).
   */
  order = 0
  /** The neighbours in the list of all kept results. `OrderedList` sets both fields. */
  previous: KeptResult | undefined = undefined
  next: KeptResult | undefined = undefined
  readonly result: SharedResult
  /** How long the table keeps the result, in ms after the completion of the run. */
  readonly keep: number
  /** The broker whose timer counts the keep time. */
  ownerBroker: string
  /** Wall time of the completion, in ms since 1970. */
  readonly since: number

  constructor(result: SharedResult, keep: number, ownerBroker: string, since: number) {
    this.result = result
    this.keep = keep
    this.ownerBroker = ownerBroker
    this.since = since
  }

  get key(): string {
    return this.result.key
  }

  /**
   * An upper bound: includes the bytes of the value, although the value may be shared with other
   * records.
   */
  get bytes(): number {
    return keptResultBytes + this.result.bytes
  }
}
