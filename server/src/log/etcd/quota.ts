/**
 * A look at etcd's quota now and then: once it is used up, nothing can be written, and until then
 * nothing tells.
 */
import type { Clock, Timer } from '@holdfast/shared'
import type { EtcdClient } from './client.js'

const everyMs = 60_000
/** The share of the quota from which on an operator should know. */
const highShare = 0.8

export class QuotaMonitor {
  readonly #client: EtcdClient
  readonly #clock: Clock
  #timer: Timer
  #isOver = false
  #warning: string | undefined

  constructor(client: EtcdClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** What an operator should know, if anything. */
  get warning(): string | undefined {
    return this.#warning
  }

  async check(): Promise<void> {
    try {
      const usage = await this.#client.usage()
      const share = usage === undefined ? 0 : usage.used / usage.quota
      this.#warning =
        share < highShare
          ? undefined
          : `etcd at ${usage!.endpoint} has used ${Math.round(100 * share)} % of its quota`
    } catch {
      // A member that does not answer is noticed elsewhere; one may keep its metrics to itself.
    }
    if (!this.#isOver) this.#timer = this.#clock.setTimer(() => void this.check(), everyMs)
  }

  stop(): void {
    this.#isOver = true
    this.#clock.clearTimer(this.#timer)
  }
}
