/**
 * A client that uses locks all the time and records what it was told. It uses one lock that it
 * keeps, one that it shares with all others, and one of its own, which shows when it is served
 * again after a fault.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  connect,
  fixedInterval,
  HoldfastError,
  type Lock,
  type Session,
  type WebSocketConstructor,
} from '@holdfast/client'
import { WebSocket } from 'ws'
import type { Tenure } from '../faults/history.js'
import type { Random } from '../support/counts.js'

export const leaseMs = 3_000

/** The lock that it keeps, and its history. */
export interface KeptLock {
  readonly lock: Lock
  readonly session: string
}

export class Worker {
  readonly name: string
  /** The tenures of the shared keys. */
  readonly history = new Map<string, Tenure[]>()
  /** How it lost the lock that it keeps. */
  readonly losses: string[] = []
  readonly #urls: readonly string[]
  readonly #shared: readonly string[]
  readonly #random: Random
  #session: Session | undefined
  #kept: Lock | undefined
  #url = ''
  /** When it requested the newest granted lock of its own, and when that was granted. */
  #served = { asked: 0, granted: 0 }
  #isPaused = true
  #isClosed = false
  #onChange: () => void = () => {}
  #working: Promise<void> = Promise.resolve()

  constructor(name: string, urls: readonly string[], shared: readonly string[], random: Random) {
    this.name = name
    this.#urls = urls
    this.#shared = shared
    this.#random = random
  }

  /** The broker that it is connected to, or was last. */
  get url(): string {
    return this.#url
  }

  /** Undefined if it has lost the lock. */
  get kept(): KeptLock | undefined {
    if (this.#kept?.held !== true) return undefined
    return { lock: this.#kept, session: this.#session!.id }
  }

  async connect(): Promise<void> {
    const connected = (url: string): void => {
      this.#url = url
    }
    class Noting extends WebSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols)
        this.once('message', () => connected(new URL(url).origin))
      }
    }
    this.#session = await connect(this.#urls, {
      name: this.name,
      lease: leaseMs,
      grace: 'lease',
      reconnect: fixedInterval({ interval: 50, jitter: 'full' }),
      WebSocket: Noting as unknown as WebSocketConstructor,
    })
  }

  work(): void {
    this.#isPaused = false
    this.#working = this.#loop()
  }

  /** Returns to its own broker with a new session, if it had to leave it. */
  async goHome(): Promise<void> {
    if (this.#url === this.#urls[0]) return
    await this.pause()
    await this.#session?.close()
    this.#kept = undefined
    this.losses.length = 0
    await this.connect()
    this.work()
  }

  /** Resolves when it has unlocked the shared lock. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#working
  }

  /** Resolves with the time of a grant that was requested after this time. */
  async servedSince(time: number): Promise<number> {
    while (this.#served.asked < time) {
      await new Promise<void>((resolve) => {
        this.#onChange = resolve
      })
    }
    return this.#served.granted
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#session?.close()
    await this.#working
  }

  async #loop(): Promise<void> {
    while (!this.#isPaused && !this.#isClosed) {
      try {
        await this.#keep()
        await this.#share(this.#shared[this.#random.below(this.#shared.length)]!)
        await this.#beServed()
      } catch (error) {
        // The lock was lost, or all brokers disconnected the client. Chaos causes both.
        if (!(error instanceof HoldfastError)) throw error
      }
      await sleep(5 + this.#random.below(20))
    }
  }

  async #keep(): Promise<void> {
    if (this.#kept?.held) return
    const lock = await this.#session!.lock(`kept by ${this.name}`)
    this.#kept = lock
    lock.signal.addEventListener('abort', () => {
      if (!this.#isClosed) this.losses.push((lock.signal.reason as Error).message)
    })
  }

  async #share(key: string): Promise<void> {
    const requestedAt = process.hrtime.bigint()
    const lock = await this.#session!.lock(key)
    const grantedAt = process.hrtime.bigint()
    // Granted and lost before the client received the grant, so it never used the lock.
    if (!lock.held) return
    // The worker uses the lock only if `held` is true.
    let givenUpAt = grantedAt
    await sleep(this.#random.below(4))
    if (lock.held) givenUpAt = process.hrtime.bigint()
    const unlockConfirmedAt = await lock.unlock().then(
      () => process.hrtime.bigint(),
      () => undefined,
    )
    const times = { requestedAt, grantedAt, givenUpAt, unlockConfirmedAt }
    const tenure: Tenure = { process: this.name, fence: lock.fence, ...times }
    const tenures = this.history.get(key)
    if (tenures === undefined) this.history.set(key, [tenure])
    else tenures.push(tenure)
  }

  async #beServed(): Promise<void> {
    const asked = performance.now()
    const lock = await this.#session!.lock(`only of ${this.name}`)
    this.#served = { asked, granted: performance.now() }
    this.#onChange()
    await lock.unlock()
  }
}
