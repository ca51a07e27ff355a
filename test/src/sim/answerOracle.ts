/**
 * Checks a rule for several brokers: a message that a broker answers at once arrived before the
 * other brokers declared that broker dead. The new owner broker starts all leases at that moment
 * and ignores later messages.
 */
import type { Command } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { RunReport } from './runReport.js'

/** An answer names its messages by their count or by an id. */
const answers = /"type":(?:"ack","n":(\d+)|"\w+","id":(\d+))/g

interface WithId {
  readonly id?: number
}

/** The messages that arrived on a connection. */
interface ConnectionRecord {
  /** The name of the broker in the log when it received the first message. */
  readonly logName: string
  /** The world time at which each message arrived, in the order of arrival. */
  readonly arrivals: number[]
  /** The world time at which a message with this id first arrived. */
  readonly byId: Map<number, number>
}

export class AnswerOracle {
  readonly #report: RunReport
  readonly #now: () => number
  readonly #records = new WeakMap<Connection, ConnectionRecord>()
  /**
   * By name of the broker: when it was declared dead or replaced by its next incarnation, in world
   * time.
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
    for (const [answer, n, id] of frame.matchAll(answers)) {
      const arrivedAt =
        id === undefined ? record.arrivals[Number(n) - 1] : record.byId.get(Number(id))
      if (arrivedAt === undefined || arrivedAt <= declaredDeadAt) continue
      const why = `${record.logName}: ${answer} for a message that arrived ${arrivedAt - declaredDeadAt} ms too late`
      this.#report.violated('an answered message arrived before its broker was declared dead', why)
    }
  }
}
