/**
 * The role of a client program in elections: the program campaigns and proclaims values, and
 * observes the leaders. A campaign is a request for a lock. The holder of this lock is the leader,
 * and proclaims values.
 */
import type { Leader, Leadership, Lock, Session } from '@holdfast/client'
import type { CallContext } from './callContext.js'
import type { CallOracle } from './callOracle.js'
import type { LockCalls, LockOptions } from './lockCalls.js'

/** The value of a leader. */
interface LeaderValue {
  /** The name of the campaign. */
  readonly op: string
  /** How many values the leader had before this value. */
  readonly count: number
}

/** The campaigns of one program, at most one for each key at a time. */
export class Campaigns {
  readonly #context: CallContext
  readonly #lockCalls: Pick<LockCalls, 'request'>
  /** The keys of the elections in which the program is now a candidate or the leader. */
  readonly #keys = new Set<string>()

  constructor(context: CallContext, lockCalls: Pick<LockCalls, 'request'>) {
    this.#context = context
    this.#lockCalls = lockCalls
  }

  /** Campaigns, and proclaims values while the program leads. */
  async campaign(session: Session, key: string): Promise<void> {
    if (this.#keys.has(key)) return
    this.#keys.add(key)
    // A campaign accepts no `mode` and no `ttl`. From a ttl, `LockCalls.request` would also compute
    // when to refresh the lock.
    const { mode: _, ttl: __, ...request } = this.#context.newRequest()
    const value: LeaderValue = { op: request.metadata.op, count: 0 }
    let proclaiming: Promise<void> | undefined
    const send = async (options: LockOptions): Promise<Lock> => {
      const { timeout, signal, metadata } = options
      const leadership = await session.campaign(key, { value, timeout, signal, metadata })
      proclaiming = this.#proclaim(session, leadership, value)
      return leadership
    }
    await this.#lockCalls.request(key, request, send)
    await proclaiming
    this.#keys.delete(key)
  }

  async #proclaim(session: Session, leadership: Leadership, { op }: LeaderValue): Promise<void> {
    const { callOracle, random, plan } = this.#context
    const { key } = leadership
    const lastCount = random.int(0, 3)
    for (let count = 1; count <= lastCount; count++) {
      await this.#context.pauseNear(plan.holdMs / 4)
      if (!leadership.held) return
      const value: LeaderValue = { op, count }
      try {
        await callOracle.track(`proclaim ${key}`, leadership.proclaim(value))
        callOracle.count('proclaimed')
        const { held } = await callOracle.track('query', session.query({ key }))
        const shown = held.find(({ fence }) => fence === leadership.fence)
        // The leadership may have ended at the broker before the client knows.
        if (shown !== undefined && (shown.value as LeaderValue | undefined)?.count !== count)
          callOracle.violated('a query shows the value of the leader', `${op} ${count}`)
      } catch (error) {
        // `UNAVAILABLE` is no loss, but also allowed.
        callOracle.expectLoss(error, 'proclaim', 'UNAVAILABLE')
      }
    }
  }
}

/**
 * Observes an election, and checks the leaders that the observer sees. All values of one leadership
 * (one grant, with one fence) must name the same campaign. The values must come in the order in
 * which the leader proclaimed them, and no change may come twice.
 */
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
