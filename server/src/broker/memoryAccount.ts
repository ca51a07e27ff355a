/**
 * How much memory the broker takes, and whether that is more than it may (`limits.memoryBytes`). A
 * process that runs out of heap dies with every lock, so new work is refused before that: judged
 * here, before a command enters the log, because replicas of a table have different memories.
 *
 * The account is kept up to date as things come and go, so that reading it costs a few additions.
 * It counts what clients can make the broker keep: the table with its idle keys, connections,
 * output that is not read, and watches. It does not count the program itself, nor what one turn
 * handles.
 */
import type { BrokerLimits } from '../config/limits.js'
import type { Connection } from '../connection/connection.js'
import type { OutputMemory } from '../connection/outputFlusher.js'
import type { LiveTable } from './statistics.js'
import type { WatchRegistry } from './watchRegistry.js'

/** An open connection with its socket, its receiver and the buffers of an empty stream. */
const connectionBytes = 12 * 1024
/** Unread output up to which a connection counts as one without any. */
const freeOutputBytes = 16 * 1024
/** From so many times the bound on, the broker gets rid of what it holds for slow clients. */
const overfull = 9 / 8

export interface MemoryAccountDeps {
  readonly limits: BrokerLimits
  readonly table: LiveTable
  readonly connections: { readonly size: number }
  readonly watches: WatchRegistry
}

export class MemoryAccount implements OutputMemory {
  readonly #deps: MemoryAccountDeps
  readonly limitBytes: number
  /** Of connections that leave more unread than is free. */
  #outputBytes = 0

  constructor(deps: MemoryAccountDeps) {
    this.#deps = deps
    this.limitBytes = deps.limits.memoryBytes
  }

  /** Bytes that are in use. */
  get usedBytes(): number {
    const { table, connections, watches } = this.#deps
    const { bytes, keys } = table.current
    const ofTable = bytes + keys.idleBytes
    return ofTable + connections.size * connectionBytes + this.#outputBytes + watches.bytes
  }

  /** Whether new work is refused: locks, watches, sessions. */
  get isFull(): boolean {
    return this.usedBytes >= this.limitBytes
  }

  /** Whether new connections are refused, and clients that do not read at once are cut. */
  get isOverfull(): boolean {
    return this.usedBytes >= this.limitBytes * overfull
  }

  /** Takes up what this connection keeps now. */
  weigh(connection: Connection): void {
    const { memoryBytes } = connection
    const bytes = memoryBytes > freeOutputBytes ? memoryBytes : 0
    if (bytes === connection.countedBytes) return
    this.#outputBytes += bytes - connection.countedBytes
    connection.countedBytes = bytes
  }

  /** The connection keeps nothing any more. */
  forget(connection: Connection): void {
    this.#outputBytes -= connection.countedBytes
    connection.countedBytes = 0
  }
}
