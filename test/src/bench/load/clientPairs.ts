/**
 * Pairs of lock and unlock on keys of one's own, through anything that has an `await`-able lock:
 * the client library, or a peer's.
 */
import type { Contestant } from './contest.js'
import type { Exclusion } from './exclusion.js'
import { Latencies } from './latencies.js'
import { Turnstile } from './turnstile.js'

/** A client of a lock service, as this bench drives it: one connection. */
export interface LockClient {
  lock(key: string): Promise<HeldLock>
  close(): Promise<void>
}

export interface HeldLock {
  /** Undefined where the service has no fences. */
  readonly fence: number | undefined
  unlock(): Promise<void>
}

export interface ClientPairsOptions {
  readonly system: string
  readonly serverPid: number
  readonly clients: readonly LockClient[]
  readonly inFlight: number
  readonly prefix: string
  readonly exclusion: Exclusion
}

export class ClientPairs implements Contestant {
  readonly system: string
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly #options: ClientPairsOptions
  readonly #turnstile = new Turnstile()
  pairs = 0

  constructor(options: ClientPairsOptions) {
    this.system = options.system
    this.serverPid = options.serverPid
    this.#options = options
  }

  start(): void {
    const { clients, inFlight, prefix } = this.#options
    this.#turnstile.open()
    for (const [i, client] of clients.entries()) {
      for (let j = 0; j < inFlight; j++) {
        this.#turnstile.enter()
        void this.#runLane(client, `${prefix}:${i}:${j}`)
      }
    }
  }

  stop(): Promise<void> {
    return this.#turnstile.close()
  }

  async #runLane(client: LockClient, key: string): Promise<void> {
    const { exclusion } = this.#options
    while (this.#turnstile.isOpen) {
      const askedAt = performance.now()
      const lock = await client.lock(key)
      this.latencies.record(performance.now() - askedAt)
      exclusion.granted(key, lock.fence)
      exclusion.released(key)
      await lock.unlock()
      this.pairs++
    }
    this.#turnstile.leave()
  }
}
