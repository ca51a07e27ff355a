/**
 * The calls of a client program that request one lock: the methods of the session that return a
 * lock, and `withLock`. Each call makes random options and checks the outcome. Then the program
 * holds the lock for a while and unlocks it.
 */
import type { Lock, Session } from '@holdfast/client'
import { type CallContext, usualCapacity } from './callContext.js'
import type { LockRequest } from './callOracle.js'
import type { HeldLock } from './holderOracle.js'
import { changeModes } from './modeCalls.js'
import type { ProgramLocks } from './programLocks.js'

/** The options of a request, as the client accepts them. */
export type LockOptions = Omit<LockRequest, 'abortTimer'>

/**
 * The methods that only call `request` are not `async`, because a further promise would change the
 * order of events of a seed.
 */
export class LockCalls {
  readonly #context: CallContext
  readonly #locks: ProgramLocks

  constructor(context: CallContext, locks: ProgramLocks) {
    this.#context = context
    this.#locks = locks
  }

  lock(session: Session, key: string): Promise<void> {
    const request = this.#context.newRequest()
    return this.request(key, request, (options) => session.lock(key, options))
  }

  tryLock(session: Session, key: string): Promise<void> {
    // `tryLock` never waits, so it has neither `timeout` nor `onQueued`.
    const { timeout: _, onQueued: __, ...request } = this.#context.newRequest()
    return this.request(key, request, (options) => session.tryLock(key, options))
  }

  steal(session: Session, key: string): Promise<void> {
    const steal: LockRequest = { steal: true, metadata: this.#context.newMetadata() }
    return this.request(key, steal, (options) => session.lock(key, options))
  }

  singleflightLock(session: Session, key: string): Promise<void> {
    // Only callers with equal mode, ttl and maxHold share a request, so these options are left out.
    // `singleflightLock` refuses notices and the timeout 0.
    const { mode: _, ttl: __, maxHold: ___, ...request } = this.#context.newRequest()
    delete request.onQueued
    delete request.onContended
    if (request.timeout === 0) request.timeout = 1
    // `joinable`: other callers may wait for this request, even after this call has failed.
    request.metadata.joinable = true
    return this.request(key, request, (options) => session.singleflightLock(key, options))
  }

  lockPermits(session: Session, key: string): Promise<void> {
    const { random } = this.#context
    const { mode: _, ...request } = this.#context.newRequest()
    // Rarely asks for another capacity, which the broker must refuse while the key is in use.
    const capacity = random.chance(0.95) ? usualCapacity : 2
    const permits = random.int(1, 2)
    const permitsRequest = { ...request, capacity, permits }
    return this.request(key, permitsRequest, (options) => session.lock(key, options))
  }

  lockAll(session: Session): Promise<void> {
    const { mode: _, ...request } = this.#context.newRequest()
    const items = this.#context.newItems()
    return this.request(items[0]!.key, request, (options) => session.lockAll(items, options))
  }

  /** Upgrades and downgrades a lock, which is mostly shared at first. */
  changeModes(session: Session, key: string): Promise<void> {
    const request = this.#context.newRequest()
    if (this.#context.random.chance(0.8)) request.mode = 'shared'
    const send = (options: LockOptions) => session.lock(key, options)
    return this.request(key, request, send, (heldLock) => changeModes(heldLock, this.#context))
  }

  /**
   * Requests a lock, checks the outcome, uses the lock and unlocks it.
   *
   * @param send Sends the request.
   * @param use What the program does with the held lock. Default: it holds the lock for a while.
   */
  async request(
    key: string,
    request: LockRequest,
    send: (options: LockOptions) => Promise<Lock>,
    use: (heldLock: HeldLock) => Promise<void> = ({ lock }) => this.#locks.hold(lock, request.ttl),
  ): Promise<void> {
    const { callOracle, process } = this.#context
    const start = callOracle.start()
    let isSettled = false
    let lock: Lock
    try {
      const task = callOracle.track(`${request.metadata.op} ${key}`, send(clientOptions(request)))
      callOracle.watchAbort(request, () => isSettled)
      lock = await task
    } catch (error) {
      callOracle.checkFailure(error, request, start)
      return
    } finally {
      isSettled = true
      process.clock.clearTimer(request.abortTimer)
    }
    callOracle.checkSettledInTime(request, start)
    const heldLock = this.#locks.acquired(lock)
    try {
      await use(heldLock)
    } finally {
      await this.#locks.unlock(heldLock)
    }
  }

  async withLock(session: Session, key: string): Promise<void> {
    const { callOracle, process } = this.#context
    const request = this.#context.newRequest()
    const start = callOracle.start()
    let heldLock: HeldLock | undefined
    let isSettled = false
    callOracle.watchAbort(request, () => isSettled || heldLock !== undefined)
    try {
      const task = session.withLock(
        key,
        async (lock: Lock) => {
          heldLock = this.#locks.acquired(lock)
          await this.#locks.hold(lock, request.ttl)
          heldLock.isReturned = true
        },
        clientOptions(request),
      )
      await callOracle.track(`${request.metadata.op} ${key}`, task)
      if (heldLock?.wasLost === true)
        callOracle.violated('withLock rejects after a loss', request.metadata.op)
    } catch (error) {
      if (heldLock === undefined) callOracle.checkFailure(error, request, start)
      else callOracle.expect(error, new Set(['LOCK_LOST']), 'withLock')
    } finally {
      isSettled = true
      process.clock.clearTimer(request.abortTimer)
      if (heldLock !== undefined) this.#locks.forget(heldLock)
    }
  }
}

/** Removes `abortTimer`, because the client rejects unknown options. */
function clientOptions({ abortTimer: _, ...options }: LockRequest): LockOptions {
  return options
}
