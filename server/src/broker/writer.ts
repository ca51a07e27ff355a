/**
 * Writes what each turn had to say, at its end, and looks whether the clients read it. A client
 * that leaves too much unread for too long, or far too much at all, is cut: its unread output is
 * the broker's memory.
 */
import { closeCodes } from '@holdfast/shared'
import type { BrokerLimits, LimitName } from '../access/limits.js'
import type { Connection } from '../connection/connection.js'
import type { WorkScheduler } from '../connection/workScheduler.js'
import type { MemoryAccount } from './memoryAccount.js'

export interface WriterParts {
  readonly limits: BrokerLimits
  readonly memory: MemoryAccount
  /** Is told when a turn is over. */
  readonly scheduler: WorkScheduler
  readonly endOfTurn: (callback: () => void) => void
  /** In ms from now, unless forgiven, `cutIfSlow` is called. */
  readonly expect: (connection: Connection, ms: number) => void
  readonly forgive: (connection: Connection) => void
  /** The connection is about to be cut. */
  readonly refused: (connection: Connection, limit: LimitName) => void
  /** Everything of a turn was written. */
  readonly flushed: (() => void) | undefined
}

export class Writer {
  readonly #parts: WriterParts
  #unflushed: Connection[] = []

  constructor(parts: WriterParts) {
    this.#parts = parts
  }

  /** This connection has something to say. */
  add(connection: Connection): void {
    if (this.#unflushed.push(connection) === 1) this.#parts.endOfTurn(this.#flush)
  }

  readonly #flush = (): void => {
    this.#parts.scheduler.nextTurn()
    const connections = this.#unflushed
    this.#unflushed = []
    for (const connection of connections) {
      // Before more is written: of a long answer there is always more than may be left unread.
      if (connection.isSlow && this.#keepsUp(connection)) this.#letOff(connection)
      connection.flush()
      if (connection.state === 'open') this.#judge(connection)
    }
    this.#parts.flushed?.()
  }

  #judge(connection: Connection): void {
    const { limits, memory, expect } = this.#parts
    const most = limits.backlogBytes
    memory.weigh(connection)
    if (connection.countedBytes > 0 && memory.isOverfull) this.#cut(connection, 'memoryBytes')
    else if (this.#keepsUp(connection)) this.#letOff(connection)
    // What waits for its turn here, while the socket has room, is no fault of the client.
    else if (connection.backlogBytes > most && !connection.isWaitingForTurn) {
      this.#cut(connection, 'backlogBytes')
    } else if (!connection.isSlow) {
      connection.isSlow = true
      expect(connection, limits.slowMs)
    }
  }

  /** It has had its time. */
  cutIfSlow(connection: Connection): void {
    if (this.#keepsUp(connection)) connection.isSlow = false
    else this.#cut(connection, 'slowBytes')
  }

  #keepsUp({ backlogBytes, isHeldUp }: Connection): boolean {
    return backlogBytes <= this.#parts.limits.slowBytes && !isHeldUp
  }

  #letOff(connection: Connection): void {
    if (connection.isSlow) this.#parts.forgive(connection)
    connection.isSlow = false
  }

  #cut(connection: Connection, limit: LimitName): void {
    this.#parts.refused(connection, limit)
    connection.cutUnread(closeCodes.tooSlow)
  }
}
