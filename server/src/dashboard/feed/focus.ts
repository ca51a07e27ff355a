/**
 * One key that a person looks at: asked for by itself, at once when something happens to it, so
 * that its queue is seen to move and is whole, however much else the broker has.
 */
import type { HoldfastError, LockEvent, QueryResult } from '@holdfast/client'
import type { PageEnvironment } from '../pageEnvironment.js'
import type { Feed } from './feed.js'
import type { Store } from './store.js'

/** Between two questions, in ms: after an event, and when nothing happens. */
const eagerMs = 100
const idleMs = 1_000

export class Focus {
  readonly #feed: Feed
  readonly #machine: PageEnvironment
  readonly #store: Store
  key: string | undefined
  result: QueryResult | undefined
  problem: string | undefined
  #isAsking = false
  #isStale = false
  #stop: (() => void) | undefined

  constructor(feed: Feed, machine: PageEnvironment, store: Store) {
    this.#feed = feed
    this.#machine = machine
    this.#store = store
  }

  /** Looks at this key from now on; undefined for none. */
  on(key: string | undefined): void {
    if (key === this.key) return
    this.key = key
    this.result = undefined
    this.problem = undefined
    this.look()
  }

  onEvent({ key }: LockEvent): void {
    if (key !== this.key) return
    if (this.#isAsking) this.#isStale = true
    else this.#next(eagerMs)
  }

  /** Asks now, unless it is asking. */
  look(): void {
    if (this.#isAsking) this.#isStale = true
    else void this.#ask()
  }

  async #ask(): Promise<void> {
    this.#stop?.()
    const { key } = this
    const { session } = this.#feed
    if (key === undefined || session === undefined) return
    this.#isAsking = true
    this.#isStale = false
    try {
      const result = await session.query({ key })
      if (key === this.key) this.result = result
      this.problem = undefined
    } catch (error) {
      const { code, message } = error as HoldfastError
      if (code === 'FORBIDDEN') this.problem = message
    }
    this.#isAsking = false
    this.#store.renew()
    this.#next(this.#isStale || key !== this.key ? eagerMs : idleMs)
  }

  #next(ms: number): void {
    this.#stop?.()
    this.#stop = this.#machine.after(ms, () => {
      if (this.#machine.isVisible()) void this.#ask()
      else this.#next(idleMs)
    })
  }
}
