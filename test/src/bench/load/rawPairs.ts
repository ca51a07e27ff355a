/**
 * Pairs of lock and unlock on keys of one's own, with frames by hand: the load of W1.
 */
import type { Endpoint } from '../job.js'
import type { Contestant } from './contest.js'
import type { Exclusion } from './exclusion.js'
import { Latencies } from './latencies.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { Turnstile } from './turnstile.js'

export class RawPairs implements Contestant {
  readonly system = 'holdfast, by hand'
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly turnstile = new Turnstile()
  readonly exclusion: Exclusion
  readonly #lanes: Lane[] = []
  pairs = 0

  private constructor(server: Endpoint, exclusion: Exclusion) {
    this.serverPid = server.pid
    this.exclusion = exclusion
  }

  /** @param prefix Of the keys, so that two contestants never meet. */
  static async open(
    server: Endpoint,
    { sessions, inFlight, prefix }: { sessions: number; inFlight: number; prefix: string },
    exclusion: Exclusion,
  ): Promise<RawPairs> {
    const contestant = new RawPairs(server, exclusion)
    for (let i = 0; i < sessions; i++) {
      const session = await RawSession.open(server.url)
      for (let j = 0; j < inFlight; j++) {
        contestant.#lanes.push(new Lane(session, `${prefix}:${i}:${j}`, contestant))
      }
    }
    return contestant
  }

  start(): void {
    this.turnstile.open()
    for (const lane of this.#lanes) {
      this.turnstile.enter()
      lane.lock()
    }
  }

  stop(): Promise<void> {
    return this.turnstile.close()
  }
}

/** One pair after another on one key. */
class Lane {
  readonly #session: RawSession
  readonly #key: string
  readonly #owner: RawPairs
  #askedAt = 0

  constructor(session: RawSession, key: string, owner: RawPairs) {
    this.#session = session
    this.#key = key
    this.#owner = owner
  }

  lock(): void {
    this.#askedAt = performance.now()
    this.#session.lock(this.#key, this.#onGranted)
  }

  readonly #onGranted = ({ type, fence, code }: RawAnswer): void => {
    if (type !== 'granted') throw new Error(`${this.#key} was not granted: ${code}`)
    this.#owner.latencies.record(performance.now() - this.#askedAt)
    this.#owner.exclusion.granted(this.#key, fence)
    this.#owner.exclusion.released(this.#key)
    this.#session.unlock(fence, this.#onUnlocked)
  }

  readonly #onUnlocked = ({ type, code }: RawAnswer): void => {
    if (type !== 'unlocked') throw new Error(`${this.#key} was not unlocked: ${code}`)
    this.#owner.pairs++
    if (this.#owner.turnstile.isOpen) this.lock()
    else this.#owner.turnstile.leave()
  }
}
