/**
 * Estimates the memory that clients make the broker use, and compares the estimate with
 * `limits.memoryBytes`. A process that runs out of heap loses every lock, so the broker refuses new
 * work before that. The broker checks the estimate before it submits a command to the command log.
 * The lock table cannot check the estimate, because all lock tables of a cluster must decide alike,
 * and each broker has a different estimate.
 *
 * The estimate counts the lock table, the watches, and the connections with their unhandled input
 * and unread output. It also counts the descriptions of deadlocks that the statistics keep. The
 * lock table includes its idle keys, which are unused keys that the table keeps for a while. The
 * estimate counts neither the program itself nor the data of the messages that the broker is
 * handling. Each change updates the counts, so that reading the estimate costs a few additions.
 */
import type { BrokerLimits } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import type { OutputMemory } from '../connection/outputFlusher.js'
import type { LiveTable, Statistics } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

/** Bytes of an open connection with its socket, its WebSocket receiver and its empty buffers. */
const connectionBytes = 12 * 1024
/**
 * The bytes of a connection's queues (its unhandled input and unread output) are counted only while
 * they exceed this threshold. So the count of most connections never changes.
 */
const queueThresholdBytes = 16 * 1024
/** From this multiple of the limit on, {@link MemoryAccount.isOverfull} is true. */
const overfullRatio = 9 / 8

export interface MemoryAccountDeps {
  readonly limits: BrokerLimits
  readonly liveTable: LiveTable
  readonly connections: { readonly size: number }
  readonly watchRegistry: WatchRegistry
  readonly statistics: Statistics
}

export class MemoryAccount implements OutputMemory {
  readonly #deps: MemoryAccountDeps
  readonly limitBytes: number
  /** Bytes of the queues of all connections whose queues exceed {@link queueThresholdBytes}. */
  #queueBytes = 0

  constructor(deps: MemoryAccountDeps) {
    this.#deps = deps
    this.limitBytes = deps.limits.memoryBytes
  }

  /** The estimate of the memory that clients make the broker use, in bytes. */
  get usedBytes(): number {
    const { liveTable, connections, watchRegistry, statistics } = this.#deps
    const { bytes, keys } = liveTable.current
    const tableBytes = bytes + keys.idleBytes
    const allConnectionsBytes = connections.size * connectionBytes + this.#queueBytes
    return tableBytes + allConnectionsBytes + watchRegistry.bytes + statistics.bytes
  }

  /** Whether the broker refuses new locks, values, watches and sessions. */
  get isFull(): boolean {
    return this.usedBytes >= this.limitBytes
  }

  /** Whether the broker refuses new connections, and disconnects clients with unread output. */
  get isOverfull(): boolean {
    return this.usedBytes >= this.limitBytes * overfullRatio
  }

  /** Counts the present bytes of this connection's queues in place of the bytes counted before. */
  updateConnection(connection: Connection): void {
    const { memoryBytes: queueBytes } = connection
    const bytes = queueBytes > queueThresholdBytes ? queueBytes : 0
    if (bytes === connection.countedBytes) return
    this.#queueBytes += bytes - connection.countedBytes
    connection.countedBytes = bytes
  }

  /** Stops counting a connection that has ended. */
  removeConnection(connection: Connection): void {
    this.#queueBytes -= connection.countedBytes
    connection.countedBytes = 0
  }
}
