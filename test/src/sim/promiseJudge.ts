/**
 * An ack is a promise, among several brokers too: what one of them acknowledges arrived there
 * before another one took the session over, who counts the lease from then.
 */
import type { Command, Effect } from '@holdfast/server/core'
import type { Connection } from './network.js'
import type { Verdict } from './verdict.js'

export class PromiseJudge {
  readonly #verdict: Verdict
  readonly #now: () => number
  /** When each message of a connection arrived, in world time. */
  readonly #arrivals = new WeakMap<Connection, number[]>()
  /** When a session was taken over, if nobody has resumed it since. */
  readonly #takenOver = new Map<string, number>()

  constructor(verdict: Verdict, now: () => number) {
    this.#verdict = verdict
    this.#now = now
  }

  /** The log has it. */
  entered(command: Command, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'suspended' && command.type === 'restart') {
        this.#verdict.count('session taken over')
        this.#takenOver.set(effect.session.id, this.#now())
      } else if (effect.kind === 'resumed' || effect.kind === 'ended') {
        this.#takenOver.delete(effect.session.id)
      }
    }
  }

  /** A broker is about to be given these messages. */
  received(connection: Connection, frame: string): void {
    const arrivals = this.#arrivals.get(connection) ?? []
    this.#arrivals.set(connection, arrivals)
    const count = frame.startsWith('[') ? JSON.parse(frame).length : 1
    for (let i = 0; i < count; i++) arrivals.push(this.#now())
  }

  /** A broker says this. */
  said(connection: Connection, frame: string): void {
    const takenOver = this.#takenOver.get(connection.session ?? '')
    if (takenOver === undefined) return
    for (const [, n] of frame.matchAll(/"type":"ack","n":(\d+)/g)) {
      const arrivedAt = this.#arrivals.get(connection)?.[Number(n) - 1] ?? 0
      if (arrivedAt <= takenOver) continue
      const why = `${connection.session}: message ${n} came ${arrivedAt - takenOver} ms too late`
      this.#verdict.broken('an ack is a promise', why)
    }
  }
}
