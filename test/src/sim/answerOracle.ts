/**
 * An ack is a promise, among several brokers too: what one of them answers at once has arrived
 * there before the others took it for dead. Whoever took over counts its leases from then, and
 * honours nothing that came later.
 */
import type { Command } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { Verdict } from './verdict.js'

/** By the count of messages, or by the id. */
const answers = /"type":(?:"ack","n":(\d+)|"\w+","id":(\d+))/g

interface Said {
  readonly id?: number
}

/** What a connection was told, and what came on it. */
interface Talk {
  /** The broker's name in the log when it welcomed the client. */
  readonly home: string
  /** When each message arrived, in world time. */
  readonly arrivals: number[]
  /** The same by the id in it. */
  readonly byId: Map<number, number>
}

export class AnswerOracle {
  readonly #verdict: Verdict
  readonly #now: () => number
  readonly #talks = new WeakMap<Connection, Talk>()
  /** When each was taken for dead, or replaced by its next incarnation. */
  readonly #buriedAt = new Map<string, number>()

  constructor(verdict: Verdict, now: () => number) {
    this.#verdict = verdict
    this.#now = now
  }

  /** The log has it. */
  entered(command: Command): void {
    if (command.type !== 'restart' || command.formerOwner === undefined) return
    this.#buriedAt.set(command.formerOwner, this.#now())
  }

  /** A broker is about to be given this. @param home Its name in the log now. */
  received(connection: Connection, frame: string, home: string): void {
    const talk: Talk = this.#talks.get(connection) ?? { home, arrivals: [], byId: new Map() }
    this.#talks.set(connection, talk)
    const parsed = JSON.parse(frame) as Said | readonly Said[]
    for (const { id } of [parsed].flat() as Said[]) {
      talk.arrivals.push(this.#now())
      // What is asked again may have its answer from the first time.
      if (id !== undefined && !talk.byId.has(id)) talk.byId.set(id, this.#now())
    }
  }

  /** A broker says this. */
  said(connection: Connection, frame: string): void {
    const talk = this.#talks.get(connection)
    const buriedAt = talk && this.#buriedAt.get(talk.home)
    if (talk === undefined || buriedAt === undefined) return
    for (const [answer, n, id] of frame.matchAll(answers)) {
      const arrivedAt = id === undefined ? talk.arrivals[Number(n) - 1] : talk.byId.get(Number(id))
      if (arrivedAt === undefined || arrivedAt <= buriedAt) continue
      const why = `${talk.home}: ${answer} for what came ${arrivedAt - buriedAt} ms too late`
      this.#verdict.broken('an ack is a promise', why)
    }
  }
}
