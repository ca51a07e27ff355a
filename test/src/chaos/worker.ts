/**
 * A worker is a client that uses locks all the time and records the answers of the brokers. Each
 * worker holds one lock, the kept lock, all the time. Each worker shares some keys with all other
 * workers. Again and again, the worker locks one or two shared keys, and one or two of the three
 * permits of a further key. The worker also locks and unlocks its own lock, whose key no other
 * worker uses. The grants of the own lock show when the worker is served again after a fault.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { HoldfastError, type Lock, type Session } from '@holdfast/client'
import type { Tenure } from '../faults/history.js'
import type { Random } from '../support/counts.js'
import { ClientLink } from './clientLink.js'

/** The key whose permits all workers share. */
export const permitsKey = 'permits'
/** The number of permits of this key. */
export const permitsCapacity = 3

/** The lock that a worker keeps, and the id of its session. */
export interface KeptLock {
  readonly lock: Lock
  readonly session: string
}

export class Worker {
  readonly name: string
  /** The tenures of the shared keys, by key. A tenure is one use of a lock. */
  readonly history = new Map<string, Tenure[]>()
  /** The tenures of the key whose permits all workers share. */
  readonly permitsHistory: Tenure[] = []
  /** Why the worker lost the lock that it keeps, once for each loss. */
  readonly losses: string[] = []
  readonly #link: ClientLink
  readonly #sharedKeys: readonly string[]
  readonly #random: Random
  #session: Session | undefined
  #kept: Lock | undefined
  /**
   * When the worker sent the last granted request for its own lock, and when it received the grant.
   */
  #lastServed = { requestedAt: 0, grantedAt: 0 }
  #isPaused = true
  #isClosed = false
  #onServed: () => void = () => {}
  #working: Promise<void> = Promise.resolve()

  constructor(
    name: string,
    urls: readonly string[],
    sharedKeys: readonly string[],
    random: Random,
  ) {
    this.name = name
    this.#link = new ClientLink(urls)
    this.#sharedKeys = sharedKeys
    this.#random = random
  }

  /** The URL of the broker that the worker is connected to, or was last connected to. */
  get url(): string {
    return this.#link.url
  }

  /** The lock that the worker keeps; undefined if the worker has lost this lock. */
  get kept(): KeptLock | undefined {
    if (this.#kept?.held !== true) return undefined
    return { lock: this.#kept, session: this.#session!.id }
  }

  async connect(): Promise<void> {
    this.#session = await this.#link.connect(this.name)
  }

  /** Uses locks in a loop until the worker is paused or closed. */
  work(): void {
    this.#isPaused = false
    this.#working = this.#loop()
  }

  /**
   * Returns to the worker's own broker (the first of its URLs) with a new session, if the worker is
   * connected to another broker.
   */
  async returnToOwnBroker(): Promise<void> {
    if (this.#link.isAtOwnBroker) return
    await this.pause()
    await this.#session?.close()
    this.#kept = undefined
    // The close of the session ended the kept lock, which is no loss by a fault. The losses of
    // earlier faults have been counted already.
    this.losses.length = 0
    await this.connect()
    this.work()
  }

  /** Pauses the worker; resolves when the worker holds no lock except its kept lock. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#working
  }

  /**
   * Waits until the worker is granted its own lock, requested at `time` or later. Resolves with the
   * time of the grant.
   */
  async waitUntilServed(time: number): Promise<number> {
    while (this.#lastServed.requestedAt < time) {
      await new Promise<void>((resolve) => {
        this.#onServed = resolve
      })
    }
    return this.#lastServed.grantedAt
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#session?.close()
    await this.#working
  }

  async #loop(): Promise<void> {
    while (!this.#isPaused && !this.#isClosed) {
      try {
        await this.#acquireKeptLock()
        await this.#useSharedLock()
        await this.#usePermits()
        await this.#useOwnLock()
      } catch (error) {
        // The lock was lost, or no broker was reached. The faults cause such errors.
        if (!(error instanceof HoldfastError)) throw error
      }
      // The pauses differ, so that the workers contend in different orders.
      await sleep(5 + this.#random.below(20))
    }
  }

  async #acquireKeptLock(): Promise<void> {
    if (this.#kept?.held) return
    const lock = await this.#session!.lock(`kept by ${this.name}`)
    this.#kept = lock
    lock.signal.addEventListener('abort', () => {
      if (!this.#isClosed) this.losses.push((lock.signal.reason as Error).message)
    })
  }

  /** Uses one shared key, or two shared keys as a set. */
  async #useSharedLock(): Promise<void> {
    const keyCount = this.#sharedKeys.length
    const firstIndex = this.#random.below(keyCount)
    // Another key than the first key.
    const secondIndex = (firstIndex + 1 + this.#random.below(keyCount - 1)) % keyCount
    const keys = [this.#sharedKeys[firstIndex]!, this.#sharedKeys[secondIndex]!]
    // One in four uses is a set.
    const isSet = this.#random.below(4) === 0
    const session = this.#session!
    const tenure = await this.#use(() => (isSet ? session.lockAll(keys) : session.lock(keys[0]!)))
    if (tenure === undefined) return
    for (const key of isSet ? keys : keys.slice(0, 1)) {
      const tenures = this.history.get(key)
      if (tenures === undefined) this.history.set(key, [tenure])
      else tenures.push(tenure)
    }
  }

  async #usePermits(): Promise<void> {
    // One or two of the three permits.
    const permits = 1 + this.#random.below(2)
    const request = () => this.#session!.lock(permitsKey, { capacity: permitsCapacity, permits })
    const tenure = await this.#use(request)
    if (tenure !== undefined) this.permitsHistory.push({ ...tenure, permits })
  }

  /** Requests, holds and unlocks a lock. Resolves with undefined if the lock was never used. */
  async #use(request: () => Promise<Lock>): Promise<Tenure | undefined> {
    const requestedAt = process.hrtime.bigint()
    const lock = await request()
    const grantedAt = process.hrtime.bigint()
    // A lock that is not held now was lost before the client received the grant. So the client
    // never used the lock.
    if (!lock.held) return undefined
    // The worker uses the lock for up to 3 ms, but only while `held` is true. If the worker loses
    // the lock meanwhile, the use ends at the grant.
    let givenUpAt = grantedAt
    await sleep(this.#random.below(4))
    if (lock.held) givenUpAt = process.hrtime.bigint()
    const unlockConfirmedAt = await lock.unlock().then(
      () => process.hrtime.bigint(),
      () => undefined,
    )
    const times = { requestedAt, grantedAt, givenUpAt, unlockConfirmedAt }
    return { process: this.name, fence: lock.fence, ...times }
  }

  async #useOwnLock(): Promise<void> {
    const requestedAt = performance.now()
    const lock = await this.#session!.lock(`only of ${this.name}`)
    this.#lastServed = { requestedAt, grantedAt: performance.now() }
    this.#onServed()
    await lock.unlock()
  }
}
