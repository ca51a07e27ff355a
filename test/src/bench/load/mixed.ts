/**
 * A load of mixed requests: shared and exclusive locks of common keys, refreshes of locks with a
 * ttl, requests that time out, and aborted requests. Watches report the changes of the common keys.
 * The ttl is how long a lock lasts without a refresh; a fence is the number of a grant.
 */
import type { Endpoint } from '../job.js'
import type { Contestant } from './contest.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'
import { LoopGate } from './loopGate.js'
import { type RawAnswer, RawSession } from './rawSession.js'
import { seededRandom } from './statistics.js'

/**
 * The shares of the kinds of requests, each added to the shares before it. The remaining requests
 * are aborted.
 */
const cumulativeShares = { read: 0.45, write: 0.65, refresh: 0.9, timeout: 0.95 } as const
/** The number of common keys: few, so that readers and writers often use the same key. */
const commonKeys = 200
/** The JSON field of a request for a lock with a ttl of 30 s. */
const ttlField = ',"ttl":30000'
/** A key that is held all the time, so that requests for it time out or are aborted. */
const blockedKey = 'mix:blocked'
/** The longest timeout of a request for the blocked key, in ms. */
const longestTimeout = 5

/** How many requests of each kind have succeeded as expected, and how many events have arrived. */
export interface MixedCounts {
  reads: number
  writes: number
  refreshes: number
  timeouts: number
  aborts: number
  events: number
}

export class MixedLoad implements Contestant {
  /** "By hand" means without the client library. */
  readonly system = 'holdfast, by hand'
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly counts: MixedCounts = {
    reads: 0,
    writes: 0,
    refreshes: 0,
    timeouts: 0,
    aborts: 0,
    events: 0,
  }
  readonly #exclusion: ExclusionCheck
  readonly #loopGate = new LoopGate()
  readonly #random = seededRandom(1)
  readonly #sessions: RawSession[] = []
  readonly #inFlight: number
  /** Finished requests of all kinds. In other loads a pair is a lock and its unlock. */
  pairs = 0

  private constructor(server: Endpoint, inFlight: number, exclusion: ExclusionCheck) {
    this.serverPid = server.pid
    this.#inFlight = inFlight
    this.#exclusion = exclusion
  }

  /** Opens the sessions. Each session has `inFlight` requests under way. */
  static async open(
    server: Endpoint,
    { sessions, inFlight, watchers }: { sessions: number; inFlight: number; watchers: number },
    exclusion: ExclusionCheck,
  ): Promise<MixedLoad> {
    const load = new MixedLoad(server, inFlight, exclusion)
    const blocker = await RawSession.open(server.url)
    await new Promise((resolve) => blocker.lock(blockedKey, resolve))
    for (let i = 0; i < sessions; i++) load.#sessions.push(await RawSession.open(server.url))
    for (let i = 0; i < watchers; i++) {
      const watcher = await RawSession.open(server.url)
      watcher.onPush = () => load.counts.events++
      // Watches a prefix: `mix:common:1` also matches `mix:common:12`.
      watcher.watch(`mix:common:${i}`)
    }
    return load
  }

  start(): void {
    this.#loopGate.open()
    for (const [i, session] of this.#sessions.entries()) {
      for (let j = 0; j < this.#inFlight; j++) {
        this.#loopGate.enter()
        this.#next(session, `mix:own:${i}:${j}`)
      }
    }
  }

  stop(): Promise<void> {
    return this.#loopGate.close()
  }

  /** Makes the next request of a loop, or ends the loop. */
  #next(session: RawSession, ownKey: string): void {
    if (!this.#loopGate.isOpen) {
      this.#loopGate.leave()
      return
    }
    const onFinished = (): void => {
      this.pairs++
      this.#next(session, ownKey)
    }
    const choice = this.#random()
    const isReader = choice < cumulativeShares.read
    if (choice < cumulativeShares.write) this.#useCommon(session, isReader, onFinished)
    else if (choice < cumulativeShares.refresh) this.#refresh(session, ownKey, onFinished)
    else if (choice < cumulativeShares.timeout) this.#timeOut(session, onFinished)
    else this.#abort(session, onFinished)
  }

  #useCommon(session: RawSession, isReader: boolean, onFinished: () => void): void {
    const key = `mix:common:${Math.floor(this.#random() * commonKeys)}`
    const mode = isReader ? 'shared' : 'exclusive'
    const requestedAt = performance.now()
    const onGranted = ({ fence }: RawAnswer): void => {
      this.latencies.record(performance.now() - requestedAt)
      this.counts[isReader ? 'reads' : 'writes']++
      this.#exclusion.granted(key, fence, mode)
      // Holds the lock for a turn of the event loop, so that other requests queue.
      setImmediate(() => {
        this.#exclusion.released(key, mode)
        session.unlock(fence, onFinished)
      })
    }
    // With this timeout, which never passes, the broker must keep a deadline for the request.
    session.lock(key, onGranted, `,"mode":"${mode}","timeout":60000`)
  }

  #refresh(session: RawSession, key: string, onFinished: () => void): void {
    const requestedAt = performance.now()
    const onGranted = ({ fence }: RawAnswer): void => {
      this.latencies.record(performance.now() - requestedAt)
      session.refresh(fence, ({ type }) => {
        if (type === 'refreshed') this.counts.refreshes++
        session.unlock(fence, onFinished)
      })
    }
    session.lock(key, onGranted, ttlField)
  }

  #timeOut(session: RawSession, onFinished: () => void): void {
    const onAnswer = ({ code }: RawAnswer): void => {
      if (code === 'LOCK_TIMEOUT') this.counts.timeouts++
      onFinished()
    }
    session.lock(
      blockedKey,
      onAnswer,
      `,"timeout":${1 + Math.floor(this.#random() * longestTimeout)}`,
    )
  }

  #abort(session: RawSession, onFinished: () => void): void {
    const onAnswer = ({ code }: RawAnswer): void => {
      if (code === 'ABORTED') this.counts.aborts++
      onFinished()
    }
    const request = session.lock(blockedKey, onAnswer)
    session.cancel(request)
  }
}
