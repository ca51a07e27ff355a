/**
 * The results of `once` in the model of the lock table. The first `once` of a key runs a task. A
 * follower is a `once` that waits for the result of this run. A kept result also answers later
 * calls. A delivery is the newest result of a key with its followers, of which some may still wait.
 * The model has a flat list of kept results and a flat list of deliveries.
 */
import { type ModelSession, type ModelState, removeFirst } from './modelState.js'
import type { PlainAnswer, PlainEffect, PlainKeptResult, PlainRequest } from './plainValues.js'

/** A completed run of a `once`. */
interface Run {
  readonly key: string
  readonly fence: number
  readonly value: string | undefined
  /** How long the result is kept for later calls, in ms; undefined if it is not kept. */
  readonly keep: number | undefined
}

export class ModelResults {
  readonly #state: ModelState
  readonly #effect: (effect: PlainEffect) => void

  constructor(state: ModelState, effect: (effect: PlainEffect) => void) {
    this.#state = state
    this.#effect = effect
  }

  /** The kept result of a key. */
  keptFor(key: string): PlainKeptResult | undefined {
    return this.#state.keptResults.find((kept) => kept.key === key)
  }

  /** Adds the delivery of a completed run. With `keep`, also keeps the result. */
  complete(session: ModelSession, { key, fence, value, keep }: Run): void {
    const state = this.#state
    const followers = state.waitingRequests.filter((waiter) => waiter.key === key && waiter.once)
    state.deliveries = state.deliveries.filter((delivery) => delivery.key !== key)
    state.deliveries.push({ key, fence, value, followers })
    if (keep === undefined) return
    const former = this.keptFor(key)
    if (former !== undefined) this.#forget(former)
    const kept = { key, fence, value, keep, ownerBroker: session.ownerBroker }
    state.keptResults.push(kept)
    this.#effect({ kind: 'kept', kept: { ...kept } })
    // Forgets the oldest results until the rest is within the limits of the session.
    const { keptResults: maxResults, keptResultBytes: maxBytes } = session.limits
    for (;;) {
      const [oldest] = state.keptResults
      const bytes = state.keptResults.reduce((sum, result) => sum + sizeOf(result), 0)
      if (oldest === undefined) return
      if (state.keptResults.length <= maxResults! && bytes <= maxBytes!) return
      this.#forget(oldest)
    }
  }

  /**
   * Removes the key's first follower that must be answered. Returns the follower, its answer, and
   * for how many grants the answer counts.
   */
  removeFollower(key: string): { request: PlainRequest; answer: PlainAnswer; cost: number } {
    const [request] = this.#state.followersToAnswer(key) as [PlainRequest]
    const { fence, value } = this.#state.deliveries.find((delivery) => delivery.key === key)!
    removeFirst(this.#state.waitingRequests, (waiting) => waiting === request)
    this.#effect({ kind: 'withdrawn', request, reason: 'answered' })
    // An answer counts as one grant, and each 512 characters of the value count as one more.
    const cost = 1 + Math.floor((value ?? '').length / 512)
    return { request, answer: this.answerOf({ fence, value }), cost }
  }

  answerOf({ fence, value }: Pick<PlainKeptResult, 'fence' | 'value'>): PlainAnswer {
    return { kind: 'result', fence, value }
  }

  /** Forgets a kept result whose time is over. A newer result of the key has another fence. */
  forget(key: string, fence: number): void {
    const kept = this.keptFor(key)
    if (kept?.fence === fence) this.#forget(kept)
  }

  /**
   * Makes `ownerBroker` the owner of the kept results of a broker that has ended.
   *
   * @param formerOwner The broker that has ended; undefined for the results of all brokers.
   */
  takeOwnership(formerOwner: string | undefined, ownerBroker: string): void {
    for (const kept of this.#state.keptResults) {
      if (formerOwner !== undefined && formerOwner !== kept.ownerBroker) continue
      kept.ownerBroker = ownerBroker
      this.#effect({ kind: 'keepRestarted', kept: { ...kept } })
    }
  }

  #forget(kept: PlainKeptResult): void {
    this.#state.keptResults = this.#state.keptResults.filter((other) => other !== kept)
    this.#effect({ kind: 'forgotten', kept })
  }
}

/**
 * The bytes that the table estimates for a kept result: 384, plus the bytes of the key and of the
 * value. A text takes 32 bytes, plus two and an eighth for each character, rounded down.
 */
function sizeOf({ key, value }: PlainKeptResult): number {
  const sizes = [key, value].map((text) =>
    text === undefined ? 0 : 32 + 2 * text.length + Math.floor(text.length / 8),
  )
  return 384 + sizes[0]! + sizes[1]!
}
