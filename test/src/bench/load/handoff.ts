/**
 * The common part of the loads of W2: clients that queue for one hot key again and again, and the
 * record of each hand-off. During the slices of the reference, the newest holder keeps the lock.
 */
import type { Contestant } from './contest.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'

export abstract class Handoff implements Contestant {
  readonly system: string
  readonly serverPid: number
  /** From sending a release to receiving the next grant. */
  readonly latencies = new Latencies()
  readonly key: string
  readonly #exclusion: ExclusionCheck
  readonly #grantsOf: number[]
  #isRunning = false
  #releasedAt = Number.NaN
  #onGrant: (() => void) | undefined
  /** Continues the holder that kept the lock during the slices of others. */
  #continueHolder: (() => void) | undefined
  pairs = 0

  constructor(
    { system, serverPid, key }: { system: string; serverPid: number; key: string },
    clients: number,
    exclusion: ExclusionCheck,
  ) {
    this.system = system
    this.serverPid = serverPid
    this.key = key
    this.#exclusion = exclusion
    this.#grantsOf = new Array<number>(clients).fill(0)
  }

  /** The difference between the largest and the smallest number of grants of a client. */
  get unfairness(): number {
    return Math.max(...this.#grantsOf) - Math.min(...this.#grantsOf)
  }

  start(): void {
    this.#isRunning = true
    const continueHolder = this.#continueHolder
    this.#continueHolder = undefined
    if (continueHolder === undefined) this.begin()
    else continueHolder()
  }

  stop(): Promise<void> {
    this.#isRunning = false
    return new Promise((resolve) => {
      this.#onGrant = resolve
    })
  }

  /** Lets every client queue for the first time. */
  protected abstract begin(): void

  /**
   * Must be called at each grant.
   *
   * @param release Releases the lock and queues again; called now or in the next slice.
   */
  protected onGranted(client: number, fence: number | undefined, release: () => void): void {
    // The release before the first grant of a slice was in an earlier slice.
    if (!Number.isNaN(this.#releasedAt)) this.latencies.record(performance.now() - this.#releasedAt)
    this.#exclusion.granted(this.key, fence)
    this.#grantsOf[client]!++
    this.pairs++
    const continueHolder = (): void => {
      this.#exclusion.released(this.key)
      this.#releasedAt = performance.now()
      release()
    }
    if (this.#isRunning) continueHolder()
    else {
      this.#continueHolder = continueHolder
      this.#onGrant?.()
    }
  }
}
