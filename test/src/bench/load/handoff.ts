/**
 * The common part of the loads of the workload W2, in which clients queue for one hot key again and
 * again. A hand-off is the release of one client and the grant to the next client. The contestants
 * (the systems to compare) run by turns, each for a slice of time. Between two slices of one
 * contestant, the newest holder keeps the lock. A fence is the number of a grant; a later grant has
 * a higher fence.
 */
import type { Contestant } from './contest.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'

export abstract class Handoff implements Contestant {
  readonly system: string
  readonly serverPid: number
  /** The times from sending a release to receiving the next grant. */
  readonly latencies = new Latencies()
  readonly key: string
  readonly #exclusion: ExclusionCheck
  /** The number of grants of each client. */
  readonly #grantsOf: number[]
  #isRunning = false
  #releasedAt = Number.NaN
  /** Resolves the promise of `stop`. Called at the first grant after `stop`. */
  #resolveStop: (() => void) | undefined
  /** Releases the lock that the newest holder kept after `stop`. */
  #releaseKept: (() => void) | undefined
  /** The number of grants. Each grant counts as one pair: a lock and its unlock. */
  pairs = 0

  constructor(
    { system, serverPid, key }: { system: string; serverPid: number; key: string },
    clientCount: number,
    exclusion: ExclusionCheck,
  ) {
    this.system = system
    this.serverPid = serverPid
    this.key = key
    this.#exclusion = exclusion
    this.#grantsOf = new Array<number>(clientCount).fill(0)
  }

  /** The difference between the largest and the smallest number of grants of a client. */
  get unfairness(): number {
    return Math.max(...this.#grantsOf) - Math.min(...this.#grantsOf)
  }

  start(): void {
    this.#isRunning = true
    const releaseKept = this.#releaseKept
    this.#releaseKept = undefined
    if (releaseKept === undefined) this.begin()
    else releaseKept()
  }

  stop(): Promise<void> {
    this.#isRunning = false
    return new Promise((resolve) => {
      this.#resolveStop = resolve
    })
  }

  /** Lets every client queue for the first time. */
  protected abstract begin(): void

  /**
   * Must be called at each grant.
   *
   * @param release Releases the lock and makes the client queue again. Called now, or in the next
   *   slice if the load was stopped.
   */
  protected onGranted(client: number, fence: number | undefined, release: () => void): void {
    // Before the first grant there was no release.
    if (!Number.isNaN(this.#releasedAt)) this.latencies.record(performance.now() - this.#releasedAt)
    this.#exclusion.granted(this.key, fence)
    this.#grantsOf[client]!++
    this.pairs++
    const releaseLock = (): void => {
      this.#exclusion.released(this.key)
      this.#releasedAt = performance.now()
      release()
    }
    if (this.#isRunning) releaseLock()
    else {
      this.#releaseKept = releaseLock
      this.#resolveStop?.()
    }
  }
}
