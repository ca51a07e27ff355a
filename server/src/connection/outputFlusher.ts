/**
 * Writes the queued messages of all connections at the end of each turn of the event loop. Also
 * disconnects clients that read too slowly, because unread output takes memory of the broker. The
 * broker disconnects a client that leaves more than `limits.slowBytes` unread for `limits.slowMs`,
 * or more than `limits.backlogBytes` at any time. Output that is not encoded yet counts as unread
 * only while the socket is full. Otherwise this output waits for the broker, not for the client.
 */
import { closeCodes } from '@holdfast/shared'
import type { BrokerLimits, LimitName } from '../config/limits.js'
import { costs, turnBudget } from '../config/workCosts.js'
import { type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { Connection } from './connection.js'
import type { WorkScheduler } from './workScheduler.js'

/** Counts the memory that connections take, mostly for output that clients have not read. */
export interface OutputMemory {
  /** Whether the broker uses so much memory that it disconnects clients with unread output. */
  readonly isOverfull: boolean
  /** Counts the memory that this connection uses now, in place of its former amount. */
  updateConnection(connection: Connection): void
}

export interface OutputFlusherDeps {
  readonly limits: BrokerLimits
  readonly memory: OutputMemory
  /** The flusher tells the scheduler when a turn has ended, and when its output is written. */
  readonly scheduler: WorkScheduler
  /** Calls back in this turn, after the broker has handled all input that has arrived. */
  readonly endOfTurn: (callback: () => void) => void
  /** Calls {@link OutputFlusher.disconnectIfSlow} when the deadline of a connection has passed. */
  readonly time: {
    now(): number
    setClientDeadline(connection: Connection, at: number): void
    clearClientDeadline(connection: Connection): void
  }
  /** Reports a connection that is about to be disconnected, and the limit that it exceeded. */
  readonly connections: { report(connection: Connection, cause: RefusalCause): void }
  /** Called at most once a turn, after the output of the turn was written. */
  readonly observer: { onFlushed(): void } | undefined
}

export class OutputFlusher {
  readonly #deps: OutputFlusherDeps
  #unflushed: Connection[] = []
  /** Whether `#onEndOfTurn` will be called at the end of this turn. */
  #isScheduled = false

  constructor(deps: OutputFlusherDeps) {
    this.#deps = deps
  }

  /** Flushes this connection at the end of the turn. Long output may wait for a later turn. */
  add(connection: Connection): void {
    this.#unflushed.push(connection)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#deps.endOfTurn(this.#onEndOfTurn)
  }

  readonly #onEndOfTurn = (): void => {
    this.#isScheduled = false
    this.flush()
  }

  /**
   * If connections have output, begins the next turn and writes the output now. Connections with
   * output that must still be encoded come last and share a time limit, because encoding for many
   * connections may take many ms.
   */
  flush(): void {
    if (this.#unflushed.length === 0) return
    this.#deps.scheduler.nextTurn()
    const connections = this.#unflushed
    this.#unflushed = []
    let withUnencoded: Connection[] | undefined
    for (const connection of connections) {
      if (!connection.hasUnencodedOutput) this.#flushConnection(connection)
      else if (withUnencoded === undefined) withUnencoded = [connection]
      else withUnencoded.push(connection)
    }
    if (withUnencoded !== undefined) this.#flushUnencoded(withUnencoded)
    this.#deps.scheduler.resetTurnTime()
    this.#deps.observer?.onFlushed()
  }

  /** Flushes these connections in order. After `encodingMs`, the rest waits for the next turn. */
  #flushUnencoded(connections: readonly Connection[]): void {
    const { time } = this.#deps
    const endsAt = time.now() + turnBudget.encodingMs
    for (let i = 0; i < connections.length; i++) {
      if (i > 0 && time.now() >= endsAt) {
        for (const connection of connections.slice(i)) this.add(connection)
        return
      }
      this.#flushConnection(connections[i]!)
    }
  }

  #flushConnection(connection: Connection): void {
    // Checks before the write, because after the write even a fast client can look slow: the next
    // part of a long answer has filled the socket again.
    if (connection.isSlow && this.#isReadingFastEnough(connection)) this.#endSlowness(connection)
    connection.flush()
    if (connection.state === 'open') this.#checkBacklog(connection)
  }

  /** Disconnects a client with too much unread output, or gives a slow client a deadline. */
  #checkBacklog(connection: Connection): void {
    const { limits, memory, time } = this.#deps
    memory.updateConnection(connection)
    // A connection with little waiting input and output has 0 `countedBytes`, and stays connected.
    if (connection.countedBytes > 0 && memory.isOverfull)
      this.#disconnect(connection, 'memoryBytes')
    else if (this.#isReadingFastEnough(connection)) this.#endSlowness(connection)
    else if (connection.backlogBytes > limits.backlogBytes)
      this.#disconnect(connection, 'backlogBytes')
    else if (!connection.isSlow) {
      connection.isSlow = true
      time.setClientDeadline(connection, time.now() + limits.slowMs)
    }
  }

  /**
   * Disconnects a slow client whose deadline has passed, unless the client reads fast enough again.
   * Returns the work of the disconnection, in units; 0 if the client stays connected.
   */
  disconnectIfSlow(connection: Connection): number {
    if (this.#isReadingFastEnough(connection)) {
      // The deadline of the connection has just passed, so no deadline is left to clear.
      connection.isSlow = false
      return 0
    }
    this.#disconnect(connection, 'slowBytes')
    return costs.disconnect
  }

  /** A long answer, or input that waits for the client to read, also makes a client slow. */
  #isReadingFastEnough({ backlogBytes, isBlockedByClient }: Connection): boolean {
    return backlogBytes <= this.#deps.limits.slowBytes && !isBlockedByClient
  }

  #endSlowness(connection: Connection): void {
    if (connection.isSlow) this.#deps.time.clearClientDeadline(connection)
    connection.isSlow = false
  }

  #disconnect(connection: Connection, limit: LimitName): void {
    this.#deps.connections.report(connection, refusalCauseOf(limit))
    connection.abortWithoutOutput(closeCodes.tooSlow)
  }
}
