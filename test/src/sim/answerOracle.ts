/**
 * An oracle (a check of a simulated run). It checks a rule for several brokers: if a broker answers
 * a message at once, the message arrived before the other brokers declared that broker dead. When a
 * broker is declared dead, another broker takes over its sessions and starts their leases anew. A
 * lease is how long a broker keeps a silent session. A later answer of the dead broker would make a
 * client count on a longer lease.
 */
import type { Command } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { RunReport } from './runReport.js'

/**
 * Finds the answers in a frame. An answer names the messages that it answers by their count (`n`)
 * or by the id of one message.
 */
const answerPattern = /"type":(?:"ack","n":(\d+)|"\w+","id":(\d+))/g

interface WithId {
  readonly id?: number
}

/** The messages that arrived on a connection. */
interface ConnectionRecord {
  /** The name of the broker in the command log when the broker received the first message. */
  readonly logName: string
  /**
   * The world time (time of the simulation) at which each message arrived, in the order of arrival.
   */
  readonly arrivals: number[]
  /** The world time at which a message with this id first arrived. */
  readonly byId: Map<number, number>
}

export class AnswerOracle {
  readonly #report: RunReport
  readonly #now: () => number
  readonly #records = new WeakMap<Connection, ConnectionRecord>()
  /**
   * When each broker was declared dead, or was replaced by its own restart, in world time, by the
   * name of the broker.
   */
  readonly #declaredDeadAt = new Map<string, number>()

  constructor(report: RunReport, now: () => number) {
    this.#report = report
    this.#now = now
  }

  /** The log has ordered a command. */
  ordered(command: Command): void {
    if (command.type !== 'restart' || command.formerOwner === undefined) return
    this.#declaredDeadAt.set(command.formerOwner, this.#now())
  }

  /**
   * A broker is about to handle a frame. @param logName The present name of the broker in the log.
   */
  received(connection: Connection, frame: string, logName: string): void {
    const record: ConnectionRecord = this.#records.get(connection) ?? {
      logName,
      arrivals: [],
      byId: new Map(),
    }
    this.#records.set(connection, record)
    const parsed = JSON.parse(frame) as WithId | readonly WithId[]
    for (const { id } of [parsed].flat() as WithId[]) {
      record.arrivals.push(this.#now())
      // A repeated request may get the answer to its first sending.
      if (id !== undefined && !record.byId.has(id)) record.byId.set(id, this.#now())
    }
  }

  /** A broker sends a frame. */
  sent(connection: Connection, frame: string): void {
    const record = this.#records.get(connection)
    const declaredDeadAt = record && this.#declaredDeadAt.get(record.logName)
    if (record === undefined || declaredDeadAt === undefined) return
    for (const [answer, n, id] of frame.matchAll(answerPattern)) {
      const arrivedAt =
        id === undefined ? record.arrivals[Number(n) - 1] : record.byId.get(Number(id))
      if (arrivedAt === undefined || arrivedAt <= declaredDeadAt) continue
      const detail = `${record.logName}: ${answer} for a message that arrived ${arrivedAt - declaredDeadAt} ms too late`
      this.#report.violated(
        'an answered message arrived before its broker was declared dead',
        detail,
      )
    }
  }
}
