/**
 * A client that does nothing wrong, beside others that do: it keeps a lock and takes and gives back
 * another one at a steady rate, whether or not it was answered. It loses its session when the
 * broker says so, and also when its own clock does, as PROTOCOL.md tells a client to count.
 */
import { Latencies } from './latencies.js'
import type { RawSession } from './rawSession.js'

/** Its lease, the shortest there is, in ms. */
export const goodLeaseMs = 2_000

/** When a client gives up, in ms after it sent what arrived last: PROTOCOL.md, section 5. */
const believesMs = goodLeaseMs * 0.99 - (Math.max(50, goodLeaseMs / 50) + 1)

export class GoodClient {
  readonly #session: RawSession
  readonly #name: string
  readonly #pending = new Set<number>()
  #confirmedAt = performance.now()
  #latencies = new Latencies()
  #pairs = 0
  /** How it lost what it had; undefined as long as it has it. */
  lost: string | undefined

  private constructor(session: RawSession, name: string) {
    this.#session = session
    this.#name = name
    session.onClose = () => this.#lose('connection closed')
    session.onPush = ({ type }) => {
      if (type === 'lost') this.#lose('lock lost')
    }
  }

  /** Takes the lock that it keeps. */
  static async start(session: RawSession, name: string): Promise<GoodClient> {
    const client = new GoodClient(session, name)
    await new Promise<void>((resolve, reject) => {
      session.lock(`kept by ${name}`, ({ type }) =>
        type === 'granted' ? resolve() : reject(new Error('a good client was not granted')),
      )
    })
    client.#confirmedAt = performance.now()
    return client
  }

  /** Pairs that are not answered yet. */
  get pending(): number {
    return this.#pending.size
  }

  /** Asks for one more pair, on a key that nobody else wants. */
  ask(): void {
    const askedAt = performance.now()
    if (askedAt - this.#confirmedAt > believesMs) this.#lose('not heard for its lease')
    if (this.lost !== undefined) return
    this.#pending.add(askedAt)
    this.#session.lock(`${this.#name}:${++this.#pairs % 1_000}`, ({ type, fence }) => {
      this.#confirm(askedAt)
      if (type !== 'granted') {
        this.#pending.delete(askedAt)
        this.#lose('refused')
        return
      }
      const unlockedAt = performance.now()
      this.#session.unlock(fence, () => {
        this.#confirm(unlockedAt)
        this.#pending.delete(askedAt)
        this.#latencies.record(performance.now() - askedAt)
      })
    })
  }

  /** What was measured since the last call; what is not answered counts as long as it waits. */
  takeLatencies(): Latencies {
    const now = performance.now()
    for (const askedAt of this.#pending) this.#latencies.record(now - askedAt)
    const taken = this.#latencies
    this.#latencies = new Latencies()
    return taken
  }

  #confirm(sentAt: number): void {
    // An answer that comes when a client has given up does not bring anything back.
    if (performance.now() - this.#confirmedAt > believesMs) this.#lose('not heard for its lease')
    this.#confirmedAt = Math.max(this.#confirmedAt, sentAt)
  }

  #lose(how: string): void {
    this.lost ??= how
  }
}
