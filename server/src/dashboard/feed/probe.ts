/**
 * Measures hand-offs, if a person wants that: no event says how long a waiter takes to hear of a
 * release, so this page releases a lock of its own that it waits for itself, and times it. That is
 * a lock that others see and counters count, which is why nobody gets it unasked.
 */
import type { HoldfastError, Session } from '@holdfast/client'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { Feed } from './feed.js'
import type { Store } from './store.js'

const everyMs = 1_000
/** Longest wait for anything of it, and so the longest time that the lock stays behind. */
const patienceMs = 5_000

export class Probe {
  readonly #feed: Feed
  readonly #machine: PageEnvironment
  readonly #store: Store
  /** The key it uses; undefined while nothing is measured. */
  key: string | undefined
  problem: string | undefined
  #stop: (() => void) | undefined

  constructor(feed: Feed, machine: PageEnvironment, store: Store) {
    this.#feed = feed
    this.#machine = machine
    this.#store = store
  }

  get isOn(): boolean {
    return this.key !== undefined
  }

  start(): void {
    const { session } = this.#feed
    if (session === undefined || this.isOn) return
    this.key = `holdfast/dashboard/${session.id}`
    this.problem = undefined
    this.#store.renew()
    void this.#turn(this.key)
  }

  stop(): void {
    this.#stop?.()
    this.key = undefined
    this.#store.renew()
  }

  async #turn(key: string): Promise<void> {
    const { session, series } = this.#feed
    if (session?.state === 'connected' && this.#machine.isVisible()) {
      try {
        series.addHandoff(await this.#measure(session, key))
      } catch (error) {
        // What comes of a broken connection, the next turn makes good.
        if ((error as HoldfastError).code === 'FORBIDDEN') {
          this.stop()
          this.problem = 'This token may not take the lock that this needs.'
          return
        }
      }
    }
    if (this.key === key) this.#stop = this.#machine.after(everyMs, () => void this.#turn(key))
  }

  async #measure(session: Session, key: string): Promise<number> {
    const options = { timeout: patienceMs, ttl: 2 * patienceMs }
    const first = await session.lock(key, options)
    const second = session.lock(key, options)
    // Answered after what was sent before: by then, the second one is in the queue.
    await session.stats().catch(() => {})
    const released = this.#machine.now()
    void first.unlock().catch(() => {})
    const granted = await second
    const took = this.#machine.now() - released
    await granted.unlock()
    return took
  }
}
