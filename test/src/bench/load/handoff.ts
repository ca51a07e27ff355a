/**
 * What all loads of W2 share: one hot key, clients that queue for it again and again, and the
 * account of each hand-off. While the yardstick has its turn, whoever was granted last keeps the
 * lock.
 */
import type { Contestant } from './contest.js'
import type { Exclusion } from './exclusion.js'
import { Latencies } from './latencies.js'

export abstract class Handoff implements Contestant {
  readonly system: string
  readonly serverPid: number
  /** From the sending of a release to the sight of the next grant. */
  readonly latencies = new Latencies()
  readonly key: string
  readonly #exclusion: Exclusion
  readonly #grantsOf: number[]
  #isRunning = false
  #releasedAt = Number.NaN
  #onGrant: (() => void) | undefined
  /** Lets the one go on who kept the lock over somebody else's turn. */
  #goOn: (() => void) | undefined
  pairs = 0

  constructor(
    { system, serverPid, key }: { system: string; serverPid: number; key: string },
    clients: number,
    exclusion: Exclusion,
  ) {
    this.system = system
    this.serverPid = serverPid
    this.key = key
    this.#exclusion = exclusion
    this.#grantsOf = new Array<number>(clients).fill(0)
  }

  /** How many grants the luckiest client had more than the least lucky one. */
  get unfairness(): number {
    return Math.max(...this.#grantsOf) - Math.min(...this.#grantsOf)
  }

  start(): void {
    this.#isRunning = true
    const goOn = this.#goOn
    this.#goOn = undefined
    if (goOn === undefined) this.begin()
    else goOn()
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
   * To be called at each grant.
   *
   * @param release Gives the lock back and queues again; called now or at the next turn.
   */
  protected onGranted(client: number, fence: number | undefined, release: () => void): void {
    // Nobody released before the first grant of a turn but in another turn.
    if (!Number.isNaN(this.#releasedAt)) this.latencies.record(performance.now() - this.#releasedAt)
    this.#exclusion.granted(this.key, fence)
    this.#grantsOf[client]!++
    this.pairs++
    const goOn = (): void => {
      this.#exclusion.released(this.key)
      this.#releasedAt = performance.now()
      release()
    }
    if (this.#isRunning) goOn()
    else {
      this.#goOn = goOn
      this.#onGrant?.()
    }
  }
}
