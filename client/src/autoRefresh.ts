/**
 * Refreshes a lock again and again. The interval counts from the sending of one refresh to that of
 * the next, so that interval and timeout together are all that a ttl has to cover.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Grant } from './grant.js'
import type { AutoRefreshOptions } from './lock.js'
import type { Task } from './schedule.js'

export class AutoRefresh implements Task {
  /** Resolves when it was ended without an error. */
  readonly promise: Promise<void>
  readonly #grant: Grant
  readonly #options: AutoRefreshOptions
  #resolve!: () => void
  #reject!: (error: unknown) => void
  #isRefreshing = false
  #ended = false
  #begunAt: number

  constructor(grant: Grant, options: AutoRefreshOptions) {
    this.#grant = grant
    this.#options = options
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#begunAt = grant.schedule.now().monotonic
    this.#sleep()
  }

  /** The lock was unlocked, or lost for this reason. */
  end(error: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#grant.schedule.cancel(this)
    if (error === undefined) this.#resolve()
    else this.#reject(error)
  }

  run(): void {
    if (this.#isRefreshing) {
      this.end(new HoldfastError('LOCK_TIMEOUT'))
      return
    }
    const { schedule } = this.#grant
    this.#begunAt = schedule.now().monotonic
    this.#isRefreshing = true
    schedule.after(this, this.#options.timeout)
    this.#grant.refresh(undefined).promise.then(
      () => {
        this.#isRefreshing = false
        if (!this.#ended) this.#sleep()
      },
      (error) => this.end(error),
    )
  }

  #sleep(): void {
    this.#grant.schedule.at(this, this.#begunAt + this.#options.interval)
  }
}
