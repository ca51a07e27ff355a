/**
 * Sends the requests that may wait at the broker: requests for locks, calls of `once`, and calls at
 * barriers. At a barrier, calls wait for each other. A request ends when the broker answers, when
 * the timeout of the request passes, or when the caller aborts the request.
 */
import { HoldfastError, type Result } from '@holdfast/shared'
import { callSafely, onAbort, throwIfAborted } from '../platform/callbacks.js'
import type { Scheduler } from '../platform/scheduler.js'
import { type BarrierOptions, BarrierRequest } from '../requests/barrierRequest.js'
import { OnceRequest } from '../requests/onceRequest.js'
import type { PendingRequests } from '../requests/pendingRequests.js'
import {
  type LockRegistry,
  LockRequest,
  type Request,
  type TimeoutListener,
} from '../requests/requests.js'
import type { GrantedLock } from './grantedLock.js'
import type { HeldLocks } from './heldLocks.js'
import { Lock } from './lock.js'
import type { CheckedLock } from './options.js'
import type { SelfDeadlockWarner } from './selfDeadlockWarner.js'
import type { RequestTrace, Tracer } from './tracing.js'

/** Sends a lock request, as `LockRequester.request` does. */
export type RequestLock = (checkedLock: CheckedLock) => Promise<GrantedLock>

/** The parts of a session that the requester uses. */
interface RequestingSession {
  readonly scheduler: Scheduler
  readonly heldLocks: HeldLocks
  readonly pendingRequests: PendingRequests
  submit<T>(request: Request<T>): Promise<T>
}

/**
 * Adds granted locks to `HeldLocks`, and returns a handle (`Lock`) for each of them. All sessions
 * share the methods of this class, so V8 can inline them. V8 would not inline closures that each
 * session makes.
 */
export class HandleRegistry implements LockRegistry<Lock> {
  readonly #heldLocks: HeldLocks

  constructor(heldLocks: HeldLocks) {
    this.#heldLocks = heldLocks
  }

  get(fence: number): GrantedLock | undefined {
    return this.#heldLocks.get(fence)
  }

  hold(request: LockRequest, fence: number, at: number | undefined): Lock {
    return new Lock(this.#heldLocks.hold(request, fence, at))
  }

  unlockFence(fence: number): void {
    void this.#heldLocks.unlockFence(fence)
  }
}

export class LockRequester implements TimeoutListener {
  readonly #session: RequestingSession
  readonly #tracer: Tracer | undefined
  readonly #selfDeadlockWarner: SelfDeadlockWarner | undefined

  constructor(
    session: RequestingSession,
    tracer: Tracer | undefined,
    selfDeadlockWarner: SelfDeadlockWarner | undefined,
  ) {
    this.#session = session
    this.#tracer = tracer
    this.#selfDeadlockWarner = selfDeadlockWarner
  }

  /** Requests a lock. If the session has a tracer, reports the wait and the hold to the tracer. */
  request(checkedLock: CheckedLock): Promise<GrantedLock> {
    const { key, mode, metadata } = checkedLock.params
    const trace = this.#tracer?.request(key, mode, metadata)
    return trace === undefined
      ? this.send(checkedLock, this.#session.heldLocks)
      : this.#requestTraced(checkedLock, trace)
  }

  async #requestTraced(checkedLock: CheckedLock, trace: RequestTrace): Promise<GrantedLock> {
    try {
      const params = { ...checkedLock.params, metadata: trace.metadata }
      const tracedLock = { ...checkedLock, params }
      const grantedLock = await this.send(tracedLock, this.#session.heldLocks)
      callSafely(() => {
        const holdTrace = trace.granted(grantedLock.fence)
        // The lock may have been lost after the grant and before this code runs.
        if (grantedLock.lossError === undefined) grantedLock.trace = holdTrace
        else holdTrace.ended(grantedLock.lossError)
      })
      return grantedLock
    } catch (error) {
      callSafely(() => trace.failed(error as HoldfastError))
      throw error
    }
  }

  /**
   * Sends the request of a lock, without a trace. Resolves with the object that `registry` makes
   * for the granted lock.
   *
   * `send` and `request` are not `async`, because an `async` function makes one more promise, which
   * costs time for every lock.
   *
   * Several grants may arrive in one frame. All calls of `session.lock` await equally many
   * promises, so the calls resolve in the order of their grants.
   */
  send<L>({ params, timeout, signal }: CheckedLock, registry: LockRegistry<L>): Promise<L> {
    throwIfAborted(signal, params.key)
    const request = new LockRequest<L>(params, timeout, this.#dueAt(timeout), registry, this)
    const response = this.#submit(request, signal)
    this.#selfDeadlockWarner?.onRequest()
    return response
  }

  /**
   * Requests the lock for a run, which is one call of the function that a caller passes to `once`.
   * The broker grants the lock, or answers with the value of another caller's run.
   */
  sendOnce({ params, timeout, signal }: CheckedLock): Promise<GrantedLock | Result> {
    throwIfAborted(signal, params.key)
    const { heldLocks } = this.#session
    const request = new OnceRequest<GrantedLock>(
      params,
      timeout,
      this.#dueAt(timeout),
      heldLocks,
      this,
    )
    const response = this.#submit(request, signal)
    this.#selfDeadlockWarner?.onRequest()
    return response
  }

  /** Waits at a barrier. */
  sendBarrierCall(key: string, options: BarrierOptions): Promise<void> {
    const { timeout, signal } = options
    throwIfAborted(signal, key)
    const request = new BarrierRequest(key, options, this.#dueAt(timeout), this)
    return this.#submit(request, signal)
  }

  #submit<T>(request: Request<T>, signal: AbortSignal | undefined): Promise<T> {
    const response = this.#session.submit(request)
    if (signal !== undefined) {
      const stopListening = onAbort(signal, (error) => this.#giveUp(request, error))
      response.then(stopListening, stopListening)
    }
    return response
  }

  /** Called when the timeout of a request that this object sent has passed. */
  onTimeout(request: Request): void {
    this.#giveUp(request, timeoutError(request.timeout))
  }

  /** The end of a timeout that begins now, by the monotonic clock. */
  #dueAt(timeout: number | undefined): number | undefined {
    return timeout === undefined ? undefined : this.#session.scheduler.monotonic() + timeout
  }

  /** Rejects a request that waits, and cancels the request at the broker. */
  #giveUp(request: Request, error: HoldfastError): void {
    const { pendingRequests } = this.#session
    // A request that has a response already is not pending any more.
    if (pendingRequests.get(request.id) !== request) return
    pendingRequests.abandon(request)
    request.fail(error)
  }
}

/**
 * The error of a request whose timeout has passed. A timeout of 0 can pass only without a
 * connection. With a connection, the client waits for the broker's immediate answer instead.
 */
function timeoutError(timeout: number | undefined): HoldfastError {
  return new HoldfastError(timeout === 0 ? 'UNAVAILABLE' : 'LOCK_TIMEOUT')
}
