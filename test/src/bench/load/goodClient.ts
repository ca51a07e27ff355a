/**
 * A well-behaved client that shares the broker with hostile clients. The client keeps one lock. It
 * also locks and unlocks other keys at a steady rate, without waiting for earlier answers. A pair
 * is one such lock and its unlock. The client stops when the broker refuses or ends something, or
 * when the lease is over by the clock of the client. (The lease is how long the broker keeps a
 * silent session.) A fence is the number of a grant.
 */
import { Latencies } from './latencies.js'
import type { RawSession } from './rawSession.js'

/** The lease of this client in ms, which is the shortest lease that the broker allows. */
export const goodLeaseMs = 2_000

/**
 * How long a client regards its locks as held, in ms, counted from the sending of its newest
 * answered message. PROTOCOL.md, section 5, defines this time: the lease less 1 %, because clocks
 * differ in rate, and less a margin.
 */
const safeLeaseMs = goodLeaseMs * 0.99 - (Math.max(50, goodLeaseMs / 50) + 1)
/** The number of keys that a client locks in turn. */
const keyCount = 1_000

export class GoodClient {
  readonly #session: RawSession
  readonly #name: string
  /** The times of the lock requests of the pairs under way. */
  readonly #pending = new Set<number>()
  /** When the client sent the newest message that the broker has answered. */
  #confirmedSentAt = performance.now()
  #latencies = new Latencies()
  #startedPairs = 0
  /** Why the client stopped: its first failure, such as `lock lost`; undefined before a failure. */
  lost: string | undefined

  private constructor(session: RawSession, name: string) {
    this.#session = session
    this.#name = name
    session.onClose = () => {
      // The pairs under way get no answers any more, and must not count as a stall of the broker.
      this.#pending.clear()
      this.#lose('connection closed')
    }
    session.onPush = ({ type }) => {
      if (type === 'lost') this.#lose('lock lost')
    }
  }

  /** Starts a client: acquires the lock that the client keeps. */
  static async start(session: RawSession, name: string): Promise<GoodClient> {
    const client = new GoodClient(session, name)
    await new Promise<void>((resolve, reject) => {
      session.lock(`kept by ${name}`, ({ type }) =>
        type === 'granted'
          ? resolve()
          : reject(new Error('A good client was not granted its first lock')),
      )
    })
    client.#confirmedSentAt = performance.now()
    return client
  }

  /** The number of pairs under way. */
  get pending(): number {
    return this.#pending.size
  }

  /** Starts another pair, on a key that no other client uses. */
  startPair(): void {
    const requestedAt = performance.now()
    if (requestedAt - this.#confirmedSentAt > safeLeaseMs) this.#lose('no answer within its lease')
    if (this.lost !== undefined) return
    this.#pending.add(requestedAt)
    this.#session.lock(`${this.#name}:${++this.#startedPairs % keyCount}`, ({ type, fence }) => {
      this.#confirm(requestedAt)
      if (type !== 'granted') {
        this.#pending.delete(requestedAt)
        this.#lose('refused')
        return
      }
      const unlockSentAt = performance.now()
      this.#session.unlock(fence, () => {
        this.#confirm(unlockSentAt)
        this.#pending.delete(requestedAt)
        this.#latencies.record(performance.now() - requestedAt)
      })
    })
  }

  /**
   * Returns the latencies since the previous `takeLatencies`, and forgets them. A pair under way
   * counts with the time since its request.
   */
  takeLatencies(): Latencies {
    const now = performance.now()
    for (const requestedAt of this.#pending) this.#latencies.record(now - requestedAt)
    const latencies = this.#latencies
    this.#latencies = new Latencies()
    return latencies
  }

  #confirm(sentAt: number): void {
    // A response does not restore a session that the client already regards as lost.
    if (performance.now() - this.#confirmedSentAt > safeLeaseMs)
      this.#lose('no answer within its lease')
    this.#confirmedSentAt = Math.max(this.#confirmedSentAt, sentAt)
  }

  #lose(reason: string): void {
    this.lost ??= reason
  }
}
