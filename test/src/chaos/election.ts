/**
 * An election in a world of brokers. Candidates campaign all the time, and record the values that
 * they publish. An observer at each broker records every leader that the observer sees.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldfastError, type Session } from '@holdfast/client'
import {
  type ElectionHistory,
  findObservationViolations,
  type Observation,
} from '../faults/electionHistory.js'
import { findFenceViolations } from '../faults/history.js'
import type { Random } from '../support/counts.js'
import { Candidate } from './candidate.js'
import { ClientLink, urlsFromOwnBroker } from './clientLink.js'
import { itemsSince } from './itemsSince.js'

/** The key of the election. */
export const electionKey = 'election'
/** How often this file polls candidates or observers while it waits for them, in ms. */
const pollMs = { candidates: 10, observers: 20 }
/** How long an observer waits before it opens a new session, in ms. */
const reopenMs = 20
/** The number of candidates for each broker. */
const candidatesPerBroker = 2

export class Election {
  readonly #candidates: readonly Candidate[]
  readonly #observers: readonly Observer[]

  /** @param urls The URLs at which clients reach the brokers. */
  constructor(urls: readonly string[], random: Random) {
    this.#candidates = Array.from({ length: urls.length * candidatesPerBroker }, (_, i) => {
      return new Candidate(`c${i}`, electionKey, urlsFromOwnBroker(urls, i), random)
    })
    this.#observers = urls.map((_, i) => {
      return new Observer(`o${i}`, urlsFromOwnBroker(urls, i))
    })
  }

  work(): void {
    for (const observer of this.#observers) observer.work()
    for (const candidate of this.#candidates) candidate.work()
  }

  /** Pauses the candidates; resolves when no candidate leads. */
  async pause(): Promise<void> {
    await Promise.all(this.#candidates.map((candidate) => candidate.pause()))
  }

  /** Moves each candidate and observer back to its own broker: the first of its URLs. */
  async returnToOwnBrokers(): Promise<void> {
    await this.pause()
    const clients = [...this.#candidates, ...this.#observers]
    await Promise.all(clients.map((client) => client.returnToOwnBroker()))
    this.work()
  }

  /** Resolves when each candidate has led `count` times. */
  async waitForLeaderships(count: number): Promise<void> {
    while (this.#candidates.some(({ tenures }) => tenures.length < count))
      await sleep(pollMs.candidates)
  }

  /**
   * Checks that no two candidates led at the same time, and that the observers saw only leaders
   * that the candidates recorded. The candidates must be paused: this function also checks that
   * each observer sees that no session leads now.
   *
   * @param since Only the history since this time is checked. The candidates must have been paused
   *   at this time too.
   * @param settleMs How long the observers may take until they see that no session leads, in ms.
   */
  async findViolations(since: bigint, settleMs: number): Promise<string[]> {
    const endAt = performance.now() + settleMs
    while (this.#observers.some(({ maySeeLeader }) => maySeeLeader) && performance.now() < endAt)
      await sleep(pollMs.observers)
    const history = this.#historySince(since)
    return [
      ...findFenceViolations(history.tenures),
      ...findObservationViolations(history),
      ...this.#observers
        .filter(({ maySeeLeader }) => maySeeLeader)
        .map(({ name }) => `${name} has not seen the end of the last leadership`),
    ].map((violation) => `${electionKey}: ${violation}`)
  }

  get history(): ElectionHistory {
    return this.#historySince(0n)
  }

  #historySince(time: bigint): ElectionHistory {
    return {
      tenures: this.#candidates.flatMap(({ tenures }) => {
        return itemsSince(time, tenures, ({ requestedAt }) => requestedAt)
      }),
      publications: this.#candidates.flatMap(({ publications }) => {
        return itemsSince(time, publications, ({ publishedAt }) => publishedAt)
      }),
      observations: this.#observers.flatMap(({ observations }) => {
        return itemsSince(time, observations, ({ seenAt }) => seenAt)
      }),
    }
  }

  /** The number of leaderships whose loss a client reported. */
  get lossCount(): number {
    return this.#candidates.reduce((sum, { lossCount }) => sum + lossCount, 0)
  }

  async close(): Promise<void> {
    const clients = [...this.#candidates, ...this.#observers]
    await Promise.all(clients.map((client) => client.close()))
  }
}

/** A client that observes the election, and begins again whenever its session has ended. */
class Observer {
  readonly name: string
  readonly observations: Observation[] = []
  /**
   * True at the start of each session, and while the newest observation of the session has a
   * leader.
   */
  maySeeLeader = true
  readonly #link: ClientLink
  readonly #closing = new AbortController()
  #session: Session | undefined
  #working: Promise<void> | undefined

  constructor(name: string, urls: readonly string[]) {
    this.name = name
    this.#link = new ClientLink(urls)
  }

  /** Observes from now on. Does nothing if the observer already observes. */
  work(): void {
    this.#working ??= this.#loop()
  }

  /** Closes the session if the observer is at another broker. The loop opens a new session. */
  async returnToOwnBroker(): Promise<void> {
    if (!this.#link.isAtOwnBroker) await this.#session?.close()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#session?.close()
    await this.#working
  }

  async #loop(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.maySeeLeader = true
      try {
        this.#session = await this.#link.connect(this.name, this.#closing.signal)
        await this.#observe(this.#session)
      } catch (error) {
        // The session has ended, or no broker was reached. The faults cause such errors.
        if (!(error instanceof HoldfastError)) throw error
      }
      await sleep(reopenMs)
    }
  }

  async #observe(session: Session): Promise<void> {
    for await (const leader of session.observe(electionKey)) {
      const seenAt = process.hrtime.bigint()
      const seenLeader = leader && { fence: leader.fence, value: String(leader.value) }
      this.observations.push({ observer: this.name, seenAt, leader: seenLeader })
      this.maySeeLeader = leader !== undefined
    }
  }
}
