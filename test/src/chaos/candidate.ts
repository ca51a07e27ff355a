/**
 * A candidate is a client that campaigns in one election all the time, publishes values while it
 * leads, and records its leaderships. To end a leadership, the candidate resigns, closes its
 * session, or is cut off from all brokers until its client reports the loss.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldfastError, type Leadership, type Session } from '@holdfast/client'
import type { Publication } from '../faults/electionHistory.js'
import type { Tenure } from '../faults/history.js'
import type { Random } from '../support/counts.js'
import { ClientLink, leaseMs } from './clientLink.js'

/** One in this many leaderships ends because the candidate closes its session. */
const closesOneIn = 20
/**
 * One in this many leaderships ends because the candidate is cut off. Such a fault is rare, because
 * the broker then keeps the lock for a lease, and no candidate leads.
 */
const cutsOneIn = 200
/**
 * The longest time for which a leader is cut off, in ms. A correct client reports the loss earlier.
 */
const maxCutMs = 2 * leaseMs

export class Candidate {
  readonly name: string
  /**
   * The leaderships of this candidate. A tenure is one use of a lock, here of the election's lock.
   */
  readonly tenures: Tenure[] = []
  readonly publications: Publication[] = []
  /** How often the client reported that the candidate had lost its leadership. */
  lossCount = 0
  readonly #key: string
  readonly #random: Random
  readonly #link: ClientLink
  readonly #closing = new AbortController()
  #session: Session | undefined
  #isPaused = true
  #working: Promise<void> = Promise.resolve()

  constructor(name: string, key: string, urls: readonly string[], random: Random) {
    this.name = name
    this.#key = key
    this.#random = random
    this.#link = new ClientLink(urls)
  }

  /** Campaigns in a loop until the candidate is paused or closed. */
  work(): void {
    this.#isPaused = false
    this.#working = this.#loop()
  }

  /** Pauses the candidate; resolves when the candidate no longer leads. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#working
  }

  /**
   * Closes the session, unless the candidate is connected to its own broker: the first of its URLs.
   * `work` then opens a new session. The candidate must be paused.
   */
  async returnToOwnBroker(): Promise<void> {
    if (this.#link.isAtOwnBroker) return
    await this.#closeSession()
  }

  async close(): Promise<void> {
    this.#isPaused = true
    this.#closing.abort()
    await this.#closeSession()
    await this.#working
  }

  async #closeSession(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.close()
  }

  async #loop(): Promise<void> {
    while (!this.#isPaused) {
      try {
        this.#session ??= await this.#link.connect(this.name, this.#closing.signal)
        await this.#lead(this.#session)
      } catch (error) {
        // The leadership was lost, or no broker was reached. The faults cause such errors.
        if (!(error instanceof HoldfastError)) throw error
      }
      // The pauses differ, so that the candidates campaign in different orders.
      await sleep(5 + this.#random.below(20))
    }
  }

  /** Campaigns once, leads for a short time, and records the leadership. */
  async #lead(session: Session): Promise<void> {
    const requestedAt = process.hrtime.bigint()
    const publication = { ...this.#nextPublication(), fence: undefined as number | undefined }
    // Recorded before the grant, because observers may see the value before the candidate receives
    // the grant and its fence.
    this.publications.push(publication)
    const leadership = await session.campaign(this.#key, { value: publication.value })
    const grantedAt = process.hrtime.bigint()
    const { fence } = leadership
    publication.fence = fence
    // If the client lost the leadership before it received the grant, the candidate never led.
    if (!leadership.held) return
    const tenure = { process: this.name, fence, requestedAt, grantedAt, givenUpAt: grantedAt }
    // While the candidate leads, each call sets `givenUpAt` to the present time. In the end,
    // `givenUpAt` is the last time at which the candidate was known to lead.
    const confirmHeld = (): boolean => {
      const { held } = leadership
      if (held) tenure.givenUpAt = process.hrtime.bigint()
      return held
    }
    let unlockConfirmedAt: bigint | undefined
    try {
      await this.#publish(leadership, confirmHeld)
      unlockConfirmedAt = await this.#end(leadership, confirmHeld)
    } finally {
      this.#link.mend()
      // The signal is also aborted if the candidate closed its session, which is no loss.
      const wasLost = leadership.signal.aborted && this.#session === session
      if (wasLost) this.lossCount++
      this.tenures.push({ ...tenure, unlockConfirmedAt })
    }
  }

  /** Publishes from 0 to 2 values as the leader, each after a random pause. */
  async #publish(leadership: Leadership, confirmHeld: () => boolean): Promise<void> {
    for (let remaining = this.#random.below(3); remaining > 0; remaining--) {
      await sleep(this.#random.below(10))
      if (!confirmHeld()) return
      const publication = { ...this.#nextPublication(), fence: leadership.fence }
      this.publications.push(publication)
      await leadership.proclaim(publication.value)
      confirmHeld()
    }
  }

  /** Ends the leadership. If the candidate resigned, resolves with the time of the confirmation. */
  async #end(leadership: Leadership, confirmHeld: () => boolean): Promise<bigint | undefined> {
    if (this.#random.below(closesOneIn) === 0) {
      confirmHeld()
      await this.#closeSession()
      return undefined
    }
    if (this.#random.below(cutsOneIn) === 0) {
      const endAt = performance.now() + maxCutMs
      this.#link.cut()
      while (confirmHeld() && performance.now() < endAt) await sleep(5)
      return undefined
    }
    confirmHeld()
    await leadership.resign()
    return process.hrtime.bigint()
  }

  /** A publication at the present time, of a value that no candidate has published before. */
  #nextPublication() {
    const value = `${this.name} ${this.publications.length}`
    return { process: this.name, value, publishedAt: process.hrtime.bigint() }
  }
}
