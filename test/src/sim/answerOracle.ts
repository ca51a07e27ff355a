/**
 * An oracle (a check of a simulated run) for brokers that share a command log. A broker must not
 * answer a message that arrived after another broker took over its sessions.
 *
 * Another broker does so when the broker is declared dead, and starts the leases of the sessions
 * anew. A lease is how long a broker keeps a silent session. If the dead broker still answered, the
 * client would extend its lease, although the other broker counts the lease from the takeover.
 */
import type { Command } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { RunReport } from './runReport.js'

/**
 * Finds the answers in a frame. An `ack` has the number of messages that the broker has received on
 * the connection so far (`n`). Every other answer has the id of its request.
 */
const answerPattern = /"type":(?:"ack","n":(\d+)|"\w+","id":(\d+))/g

interface WithId {
  readonly id?: number
}

/** The messages that arrived on a connection. */
interface ConnectionRecord {
  /** The name of the broker in the command log when the broker received the first message. */
  readonly brokerNameInLog: string
  /**
   * The world time (time of the simulation) at which each message arrived, in the order of arrival.
   */
  readonly arrivals: number[]
  /** The world time at which a message with this id first arrived. */
  readonly firstArrivalById: Map<number, number>
}

export class AnswerOracle {
  readonly #report: RunReport
  readonly #now: () => number
  readonly #records = new WeakMap<Connection, ConnectionRecord>()
  /**
   * The world time at which the sessions of each broker were taken over. The keys are the names of
   * the brokers in the log.
   */
  readonly #takenOverAt = new Map<string, number>()

  constructor(report: RunReport, now: () => number) {
    this.#report = report
    this.#now = now
  }

  /**
   * A command has got its place in the log. With the command `restart`, a broker takes over the
   * sessions of `formerOwner`. The former owner was declared dead, has left, or is the same broker
   * under the name that it had before it restarted.
   */
  appended(command: Command): void {
    if (command.type !== 'restart' || command.formerOwner === undefined) return
    this.#takenOverAt.set(command.formerOwner, this.#now())
  }

  /**
   * A broker is about to handle a frame.
   *
   * @param brokerNameInLog The present name of the broker in the log.
   */
  received(connection: Connection, frame: string, brokerNameInLog: string): void {
    const record: ConnectionRecord = this.#records.get(connection) ?? {
      brokerNameInLog,
      arrivals: [],
      firstArrivalById: new Map(),
    }
    this.#records.set(connection, record)
    const parsed = JSON.parse(frame) as WithId | readonly WithId[]
    for (const { id } of [parsed].flat() as WithId[]) {
      record.arrivals.push(this.#now())
      // A repeated request may get the answer to its first sending.
      if (id !== undefined && !record.firstArrivalById.has(id))
        record.firstArrivalById.set(id, this.#now())
    }
  }

  /** A broker sends a frame. */
  sent(connection: Connection, frame: string): void {
    const record = this.#records.get(connection)
    const takenOverAt = record && this.#takenOverAt.get(record.brokerNameInLog)
    if (record === undefined || takenOverAt === undefined) return
    for (const [answer, n, id] of frame.matchAll(answerPattern)) {
      // An `ack` answers the first `n` messages, of which message `n` came last.
      const arrivedAt =
        id === undefined ? record.arrivals[Number(n) - 1] : record.firstArrivalById.get(Number(id))
      // `arrivedAt` is undefined if the request arrived on an earlier connection of the session.
      if (arrivedAt === undefined || arrivedAt <= takenOverAt) continue
      const detail = `${record.brokerNameInLog}: ${answer} for a message that arrived ${arrivedAt - takenOverAt} ms too late`
      this.#report.violated(
        'an answered message arrived before its broker was declared dead',
        detail,
      )
    }
  }
}
