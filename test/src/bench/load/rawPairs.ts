/**
 * The load of the workload W1: each session locks and unlocks its own keys. The load generator
 * writes the frames itself, without the client library. A pair is one lock and its unlock. A fence
 * is the number of a grant.
 */
import type { Endpoint } from '../job.js'
import type { Contestant } from './contest.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'
import { LoopGate } from './loopGate.js'
import { type RawAnswer, RawSession } from './rawSession.js'

export class RawPairs implements Contestant {
  readonly system = 'holdfast, by hand'
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly loopGate = new LoopGate()
  readonly exclusion: ExclusionCheck
  readonly #loops: PairLoop[] = []
  pairs = 0

  private constructor(server: Endpoint, exclusion: ExclusionCheck) {
    this.serverPid = server.pid
    this.exclusion = exclusion
  }

  /**
   * Opens the sessions.
   *
   * @param inFlight The number of pairs under way in each session.
   * @param prefix The prefix of the keys, which must differ between two loads of one broker.
   */
  static async open(
    server: Endpoint,
    { sessions, inFlight, prefix }: { sessions: number; inFlight: number; prefix: string },
    exclusion: ExclusionCheck,
  ): Promise<RawPairs> {
    const load = new RawPairs(server, exclusion)
    for (let i = 0; i < sessions; i++) {
      const session = await RawSession.open(server.url)
      for (let j = 0; j < inFlight; j++) {
        load.#loops.push(new PairLoop(session, `${prefix}:${i}:${j}`, load))
      }
    }
    return load
  }

  start(): void {
    this.loopGate.open()
    for (const loop of this.#loops) {
      this.loopGate.enter()
      loop.lock()
    }
  }

  stop(): Promise<void> {
    return this.loopGate.close()
  }
}

/** Runs one pair after another on one key. */
class PairLoop {
  readonly #session: RawSession
  readonly #key: string
  readonly #load: RawPairs
  #requestedAt = 0

  constructor(session: RawSession, key: string, load: RawPairs) {
    this.#session = session
    this.#key = key
    this.#load = load
  }

  lock(): void {
    this.#requestedAt = performance.now()
    this.#session.lock(this.#key, this.#onGranted)
  }

  readonly #onGranted = ({ type, fence, code }: RawAnswer): void => {
    if (type !== 'granted') throw new Error(`Lock of ${this.#key} was not granted: ${code}`)
    this.#load.latencies.record(performance.now() - this.#requestedAt)
    this.#load.exclusion.granted(this.#key, fence)
    // Before the unlock, because the broker may grant the lock again at once after the unlock.
    this.#load.exclusion.released(this.#key)
    this.#session.unlock(fence, this.#onUnlocked)
  }

  readonly #onUnlocked = ({ type, code }: RawAnswer): void => {
    if (type !== 'unlocked') throw new Error(`Lock of ${this.#key} was not unlocked: ${code}`)
    this.#load.pairs++
    if (this.#load.loopGate.isOpen) this.lock()
    else this.#load.loopGate.leave()
  }
}
