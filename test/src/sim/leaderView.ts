/**
 * Observes an election in the simulation, and checks the leaders that a client program sees. A
 * campaign is a request for a lock. The holder of this lock is the leader, and proclaims values.
 * All values of one leadership (one grant, with one fence) must name the same campaign. The values
 * must come in the order in which the leader proclaimed them, and no change may come twice.
 */
import type { Leader, Session } from '@holdfast/client'
import type { CallOracle } from './callOracle.js'

/** The value of a leader. */
export interface LeaderValue {
  /** The name of the campaign. */
  readonly op: string
  /** How many values the leader had before this value. */
  readonly count: number
}

export class LeaderView {
  readonly #callOracle: CallOracle
  /** The newest value of each leadership, by the fence of the leadership. */
  readonly #newestByFence = new Map<number, LeaderValue>()
  /** What the iterator yielded last, a leader or no leader; undefined before its first result. */
  #last: { readonly leader: Leader | undefined } | undefined

  constructor(callOracle: CallOracle) {
    this.#callOracle = callOracle
  }

  /** Observes until the session ends. */
  async run(session: Session, key: string): Promise<void> {
    try {
      for await (const leader of session.observe(key)) this.#onLeader(leader)
    } catch (error) {
      this.#callOracle.expect(error, new Set(['SESSION_CLOSED']), 'observe')
    }
  }

  #onLeader(leader: Leader | undefined): void {
    this.#callOracle.count(`observed ${leader === undefined ? 'no leader' : 'a leader'}`)
    if (this.#last !== undefined && isSame(this.#last.leader, leader))
      this.#violated(`the same leader twice: ${textOf(leader)}`)
    this.#last = { leader }
    if (leader === undefined) return
    const value = leader.value as LeaderValue | undefined
    if (value?.op === undefined) {
      this.#violated(`${leader.fence} leads without a value`)
      return
    }
    const newest = this.#newestByFence.get(leader.fence)
    this.#newestByFence.set(leader.fence, value)
    if (newest === undefined) return
    if (newest.op !== value.op) this.#violated(`${textOf(leader)} after ${newest.op}`)
    if (newest.count > value.count) this.#violated(`${textOf(leader)} after ${newest.count}`)
  }

  #violated(detail: string): void {
    this.#callOracle.violated('an observer sees every change once and in order', detail)
  }
}

function isSame(a: Leader | undefined, b: Leader | undefined): boolean {
  return textOf(a) === textOf(b)
}

function textOf(leader: Leader | undefined): string {
  return leader === undefined ? 'no leader' : `${leader.fence} ${JSON.stringify(leader.value)}`
}
