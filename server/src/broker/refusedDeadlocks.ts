/**
 * Counts the refused deadlocks, and keeps the newest of them for `stats`, the dashboard and the
 * command line. A deadlock is a cycle of requests that wait for each other. The broker refuses the
 * request that would complete the cycle.
 *
 * Clients choose the keys and the session names in a cycle, and these texts may be long. So the
 * kept deadlocks are bounded in number and in bytes. These bytes count as memory that clients use.
 */
import type { RefusedDeadlock } from '@holdfast/shared'
import { textBytes } from '../core/weights.js'

/** The maximum number of kept deadlocks. */
const maxKept = 20
/**
 * The kept deadlocks together may have this many bytes. The newest deadlock is kept even if it
 * alone has more bytes.
 */
const maxKeptBytes = 32 * 1024
/** Estimated bytes of a kept deadlock without its cycle. */
const deadlockBytes = 128
/** Estimated bytes of an entry of a cycle without its texts. */
const cycleEntryBytes = 64

export class RefusedDeadlocks {
  /** The newest deadlock is the first. */
  readonly #kept: RefusedDeadlock[] = []
  #count = 0
  #bytes = 0

  /** How many deadlocks the broker has refused since its start. */
  get count(): number {
    return this.#count
  }

  /** The estimated memory of the kept deadlocks, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** The kept deadlocks, the newest first. */
  get newestFirst(): readonly RefusedDeadlock[] {
    return this.#kept
  }

  /** Counts and keeps a deadlock, and forgets the oldest deadlocks beyond the bounds. */
  add(deadlock: RefusedDeadlock): void {
    this.#count++
    this.#kept.unshift(deadlock)
    this.#bytes += bytesOf(deadlock)
    while (this.#kept.length > maxKept || (this.#bytes > maxKeptBytes && this.#kept.length > 1)) {
      this.#bytes -= bytesOf(this.#kept.pop()!)
    }
  }
}

/** The estimated memory of a deadlock with its texts, in bytes. */
function bytesOf({ cycle }: RefusedDeadlock): number {
  let bytes = deadlockBytes
  for (const { key, session, name } of cycle)
    bytes += cycleEntryBytes + textBytes(key) + textBytes(session) + textBytes(name)
  return bytes
}
