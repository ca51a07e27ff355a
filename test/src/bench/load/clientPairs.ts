/**
 * A load of pairs: each client locks and unlocks its own keys, again and again. A pair is one lock
 * and its unlock. The load works with the client library and with the client of any other lock
 * service (a peer). A contestant is a system together with its load; a contest compares
 * contestants.
 */
import type { Contestant } from './contest.js'
import type { ExclusionCheck } from './exclusion.js'
import { Latencies } from './latencies.js'
import { LoopGate } from './loopGate.js'

/** A client of a lock service. */
export interface LockClient {
  lock(key: string): Promise<HeldLock>
  close(): Promise<void>
}

export interface HeldLock {
  /** The number of the grant, higher for a later grant; undefined if the service has no fences. */
  readonly fence: number | undefined
  unlock(): Promise<void>
}

export interface ClientPairsOptions {
  /** The name of the contestant. */
  readonly system: string
  readonly serverPid: number
  readonly clients: readonly LockClient[]
  /** The number of pairs under way in each client. */
  readonly inFlight: number
  /** The prefix of the keys. */
  readonly prefix: string
  readonly exclusion: ExclusionCheck
}

export class ClientPairs implements Contestant {
  readonly system: string
  readonly serverPid: number
  readonly latencies = new Latencies()
  readonly #options: ClientPairsOptions
  /** Makes `stop` wait for every `#runPairs`. */
  readonly #loopGate = new LoopGate()
  pairs = 0

  constructor(options: ClientPairsOptions) {
    this.system = options.system
    this.serverPid = options.serverPid
    this.#options = options
  }

  start(): void {
    const { clients, inFlight, prefix } = this.#options
    this.#loopGate.open()
    for (const [i, client] of clients.entries()) {
      for (let j = 0; j < inFlight; j++) {
        this.#loopGate.enter()
        void this.#runPairs(client, `${prefix}:${i}:${j}`)
      }
    }
  }

  stop(): Promise<void> {
    return this.#loopGate.close()
  }

  /** Locks and unlocks one key until the load is stopped. */
  async #runPairs(client: LockClient, key: string): Promise<void> {
    const { exclusion } = this.#options
    while (this.#loopGate.isOpen) {
      const requestedAt = performance.now()
      const lock = await client.lock(key)
      this.latencies.record(performance.now() - requestedAt)
      exclusion.granted(key, lock.fence)
      // The check must know of the release before the broker can grant the lock again.
      exclusion.released(key)
      await lock.unlock()
      this.pairs++
    }
    this.#loopGate.leave()
  }
}
