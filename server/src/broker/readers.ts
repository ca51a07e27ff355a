/**
 * Do clients read what they are sent? One that does not would keep the broker's memory for itself:
 * it is cut, at once when far too much has piled up, or after a while with less.
 */
import { closeCodes } from '@holdfast/shared'
import type { Connection } from '../connection/connection.js'
import type { BrokerLimits } from '../options.js'

/** Where a reader that is behind is given its time. */
interface Patience {
  now(): number
  expect(connection: Connection, at: number): void
  forgive(connection: Connection): void
}

export class Readers {
  readonly #limits: Pick<BrokerLimits, 'slowBytes' | 'slowMs' | 'backlogBytes'>
  readonly #time: Patience

  constructor(limits: Pick<BrokerLimits, 'slowBytes' | 'slowMs' | 'backlogBytes'>, time: Patience) {
    this.#limits = limits
    this.#time = time
  }

  /** After each flush. */
  judge(connection: Connection): void {
    const { slowBytes, slowMs, backlogBytes } = this.#limits
    const backlog = connection.backlogBytes
    if (backlog <= slowBytes) {
      if (connection.isSlow) this.#time.forgive(connection)
      connection.isSlow = false
    } else if (backlog > backlogBytes) this.#cut(connection)
    else if (!connection.isSlow) {
      connection.isSlow = true
      this.#time.expect(connection, this.#time.now() + slowMs)
    }
  }

  /** One that was behind has had its time. */
  overdue(connection: Connection): void {
    if (connection.backlogBytes > this.#limits.slowBytes) this.#cut(connection)
    else connection.isSlow = false
  }

  #cut(connection: Connection): void {
    connection.cut(closeCodes.tooSlow)
    // A closing handshake would queue behind everything that is not being read.
    connection.terminate()
  }
}
