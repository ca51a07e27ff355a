/**
 * Writes at the end of each turn what the turn has queued, and closes the connections of clients
 * that do not read. A client that leaves too much output unread for too long, or far too much at
 * any time, is cut, because the broker keeps unread output in its memory.
 */
import { closeCodes } from '@holdfast/shared'
import type { BrokerLimits, LimitName } from '../config/limits.js'
import { type RefusalCause, refusalCauseOf } from '../observability/observer.js'
import type { Connection } from './connection.js'
import type { WorkScheduler } from './workScheduler.js'

/** Counts the memory that connections take for output which their clients have not read. */
export interface OutputMemory {
  /** Whether the broker takes so much memory that it cuts connections with unread output. */
  readonly isOverfull: boolean
  /** Counts what this connection takes now. */
  weigh(connection: Connection): void
}

export interface OutputFlusherDeps {
  readonly limits: BrokerLimits
  readonly memory: OutputMemory
  /** Begins a new turn when the output of one is written. */
  readonly scheduler: WorkScheduler
  readonly endOfTurn: (callback: () => void) => void
  /** Calls {@link OutputFlusher.cutIfSlow} at the deadline of a connection. */
  readonly time: {
    now(): number
    setClientDeadline(connection: Connection, at: number): void
    clearClientDeadline(connection: Connection): void
  }
  /** Tells the observer which connection is about to be cut, and why. */
  readonly connections: { report(connection: Connection, cause: RefusalCause): void }
  /** Told once a turn, after the output of the turn was written; undefined for nobody. */
  readonly observer: { onFlushed(): void } | undefined
}

export class OutputFlusher {
  readonly #deps: OutputFlusherDeps
  #unflushed: Connection[] = []

  constructor(deps: OutputFlusherDeps) {
    this.#deps = deps
  }

  /** Flushes this connection at the end of the turn. */
  add(connection: Connection): void {
    if (this.#unflushed.push(connection) === 1) this.#deps.endOfTurn(this.#flush)
  }

  readonly #flush = (): void => {
    this.#deps.scheduler.nextTurn()
    const connections = this.#unflushed
    this.#unflushed = []
    for (const connection of connections) {
      // Checked before more is written, because a long answer always fills the socket again.
      if (connection.isSlow && this.#keepsUp(connection)) this.#clearSlow(connection)
      connection.flush()
      if (connection.state === 'open') this.#checkBacklog(connection)
    }
    this.#deps.observer?.onFlushed()
  }

  #checkBacklog(connection: Connection): void {
    const { limits, memory, time } = this.#deps
    const most = limits.backlogBytes
    memory.weigh(connection)
    if (connection.countedBytes > 0 && memory.isOverfull) this.#cut(connection, 'memoryBytes')
    else if (this.#keepsUp(connection)) this.#clearSlow(connection)
    // Output that waits for a turn of the broker, while the socket has room, does not count.
    else if (connection.backlogBytes > most && !connection.isWaitingForTurn) {
      this.#cut(connection, 'backlogBytes')
    } else if (!connection.isSlow) {
      connection.isSlow = true
      time.setClientDeadline(connection, time.now() + limits.slowMs)
    }
  }

  /** The connection was slow and its deadline is over: cuts it unless its client reads again. */
  cutIfSlow(connection: Connection): void {
    if (this.#keepsUp(connection)) connection.isSlow = false
    else this.#cut(connection, 'slowBytes')
  }

  #keepsUp({ backlogBytes, isHeldUp }: Connection): boolean {
    return backlogBytes <= this.#deps.limits.slowBytes && !isHeldUp
  }

  #clearSlow(connection: Connection): void {
    if (connection.isSlow) this.#deps.time.clearClientDeadline(connection)
    connection.isSlow = false
  }

  #cut(connection: Connection, limit: LimitName): void {
    this.#deps.connections.report(connection, refusalCauseOf(limit))
    connection.abortUnread(closeCodes.tooSlow)
  }
}
