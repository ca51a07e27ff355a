/**
 * Writes what each turn had to say, at its end, and looks whether the clients read it. A client
 * that leaves too much unread for too long, or far too much at all, is cut: its unread output is
 * the broker's memory.
 */
import { closeCodes } from '@holdfast/shared'
import type { MemoryAccount } from '../broker/memoryAccount.js'
import type { BrokerLimits, LimitName } from '../config/limits.js'
import type { Connection } from './connection.js'
import type { WorkScheduler } from './workScheduler.js'

export interface OutputFlusherDeps {
  readonly limits: BrokerLimits
  readonly memory: MemoryAccount
  /** Is told when a turn is over. */
  readonly scheduler: WorkScheduler
  readonly endOfTurn: (callback: () => void) => void
  /** In ms from now, unless forgiven, `cutIfSlow` is called. */
  readonly setClientDeadline: (connection: Connection, ms: number) => void
  readonly clearClientDeadline: (connection: Connection) => void
  /** The connection is about to be cut. */
  readonly refused: (connection: Connection, limit: LimitName) => void
  /** Everything of a turn was written. */
  readonly flushed: (() => void) | undefined
}

export class OutputFlusher {
  readonly #deps: OutputFlusherDeps
  #unflushed: Connection[] = []

  constructor(deps: OutputFlusherDeps) {
    this.#deps = deps
  }

  /** This connection has something to say. */
  add(connection: Connection): void {
    if (this.#unflushed.push(connection) === 1) this.#deps.endOfTurn(this.#flush)
  }

  readonly #flush = (): void => {
    this.#deps.scheduler.nextTurn()
    const connections = this.#unflushed
    this.#unflushed = []
    for (const connection of connections) {
      // Before more is written: of a long answer there is always more than may be left unread.
      if (connection.isSlow && this.#keepsUp(connection)) this.#letOff(connection)
      connection.flush()
      if (connection.state === 'open') this.#judge(connection)
    }
    this.#deps.flushed?.()
  }

  #judge(connection: Connection): void {
    const { limits, memory, setClientDeadline } = this.#deps
    const most = limits.backlogBytes
    memory.weigh(connection)
    if (connection.countedBytes > 0 && memory.isOverfull) this.#cut(connection, 'memoryBytes')
    else if (this.#keepsUp(connection)) this.#letOff(connection)
    // What waits for its turn here, while the socket has room, is no fault of the client.
    else if (connection.backlogBytes > most && !connection.isWaitingForTurn) {
      this.#cut(connection, 'backlogBytes')
    } else if (!connection.isSlow) {
      connection.isSlow = true
      setClientDeadline(connection, limits.slowMs)
    }
  }

  /** It has had its time. */
  cutIfSlow(connection: Connection): void {
    if (this.#keepsUp(connection)) connection.isSlow = false
    else this.#cut(connection, 'slowBytes')
  }

  #keepsUp({ backlogBytes, isHeldUp }: Connection): boolean {
    return backlogBytes <= this.#deps.limits.slowBytes && !isHeldUp
  }

  #letOff(connection: Connection): void {
    if (connection.isSlow) this.#deps.clearClientDeadline(connection)
    connection.isSlow = false
  }

  #cut(connection: Connection, limit: LimitName): void {
    this.#deps.refused(connection, limit)
    connection.abortUnread(closeCodes.tooSlow)
  }
}
