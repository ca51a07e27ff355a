/**
 * What all calls of one client program share: the process, the random numbers, the plan and the
 * oracles of the program. `CallContext` also makes the random options of the calls, and the random
 * pauses between the calls. A new or moved draw of a random number changes the run of every seed.
 * Probabilities and ranges without a comment only set how often the program does something.
 */
import type { LockItem } from '@holdfast/client'
import { CallOracle, type LockRequest } from './callOracle.js'
import type { Oracles } from './oracles.js'
import type { Plan } from './plan.js'
import type { Random } from './random.js'
import type { SimProcess } from './simProcess.js'

/**
 * The capacity with which calls request permits. The broker refuses another capacity while the key
 * is in use.
 */
export const usualCapacity = 3

export interface CallContextDeps {
  readonly process: SimProcess
  readonly random: Random
  readonly plan: Plan
  readonly oracles: Oracles
}

export class CallContext {
  readonly process: SimProcess
  readonly random: Random
  readonly plan: Plan
  readonly oracles: Oracles
  readonly callOracle: CallOracle
  /** Whether the program must start no new actions. */
  isStopping = false
  /** The number of names given to requests so far, which makes each name unique. */
  #ops = 0

  constructor({ process, random, plan, oracles }: CallContextDeps) {
    this.process = process
    this.random = random
    this.plan = plan
    this.oracles = oracles
    this.callOracle = new CallOracle(process, oracles)
  }

  // ------------------------------------------------------------------------------ options of calls

  newMetadata(): LockRequest['metadata'] {
    return { op: `${this.process.name}.${++this.#ops}` }
  }

  newRequest(): LockRequest {
    const { random, plan } = this
    const request: LockRequest = { metadata: this.newMetadata() }
    if (random.chance(plan.shared)) request.mode = 'shared'
    if (random.chance(plan.ttl)) request.ttl = random.int(100, 5_000)
    if (random.chance(plan.timeout)) request.timeout = random.chance(0.1) ? 0 : random.int(1, 4_000)
    if (random.chance(plan.maxHold)) request.maxHold = random.int(100, 4_000)
    if (random.chance(plan.notices)) this.#askForNotices(request)
    if (random.chance(plan.abort)) this.#addAbort(request)
    return request
  }

  /** Asks for the notices `queued` and `contended`. A request may get `queued` only once. */
  #askForNotices(request: LockRequest): void {
    let isQueued = false
    request.onQueued = () => {
      if (isQueued) this.callOracle.violated('onQueued is called once', request.metadata.op)
      isQueued = true
      this.callOracle.count('onQueued')
    }
    request.onContended = () => this.callOracle.count('onContended')
  }

  /** Aborts the request now or later. The reason of the abort is the name of the request. */
  #addAbort(request: LockRequest): void {
    const controller = new AbortController()
    const abort = () => controller.abort(request.metadata.op)
    request.signal = controller.signal
    if (this.random.chance(0.1)) abort()
    else request.abortTimer = this.process.clock.setTimer(abort, this.#randomTimeNear(500))
  }

  /** The items of a set (a request for several keys): keys in random order with random modes. */
  newItems(): LockItem[] {
    const { random, plan } = this
    const keys = [...plan.keys]
    const size = random.int(1, Math.min(3, keys.length))
    return Array.from({ length: size }, (): LockItem => {
      const [key] = keys.splice(random.int(0, keys.length - 1), 1)
      const kind = random.pickWeighted({ exclusive: 4, shared: 2, permits: 1 })
      if (kind === 'permits') return { key: key!, capacity: usualCapacity }
      return kind === 'shared' ? { key: key!, mode: 'shared' } : { key: key! }
    })
  }

  // ---------------------------------------------------------------------------------------- pauses

  /** Takes about as long as the program usually holds a lock. */
  work(): Promise<void> {
    return this.pauseNear(this.plan.holdMs)
  }

  /** Pauses for a random time near `ms`. */
  pauseNear(ms: number): Promise<void> {
    return this.pause(this.#randomTimeNear(ms))
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.process.clock.setTimer(resolve, ms))
  }

  /** Returns a random time: mostly up to twice `ms`, sometimes 0, sometimes much longer. */
  #randomTimeNear(ms: number): number {
    const factor = this.random.pickWeighted({ none: 1, some: 6, much: 1 })
    if (factor === 'none') return 0
    return factor === 'some' ? this.random.between(0, 2 * ms) : this.random.between(ms, 6 * ms)
  }
}
