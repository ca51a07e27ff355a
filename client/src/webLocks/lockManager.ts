/**
 * `session.locks`: the interface of `navigator.locks` for the locks of a broker.
 *
 * The members, the order of the checks and the order of the events follow the W3C specification
 * (https://w3c.github.io/web-locks/). By the specification a lock ends only when its callback ends
 * or when another request steals the lock. A lock of a broker may also be lost. The request of a
 * lost lock rejects with an `AbortError`, as after a steal, and the `cause` of the error says why.
 */
import { HoldfastError } from '@holdfast/shared'
import type { GrantedLock } from '../locks/grantedLock.js'
import { likelyReason } from '../locks/heldLocks.js'
import { Lock } from '../locks/lock.js'
import type { CheckedLock } from '../locks/options.js'
import type { Request } from '../requests/requests.js'
import { queryRequest } from '../requests/simpleRequests.js'
import {
  type Arguments,
  checkArguments,
  convertArguments,
  type LockRequestOptions,
} from './arguments.js'
import { HeldLock, type LockCallback, type WebLockMode } from './heldLock.js'
import { nameForKey } from './names.js'

/** The parts of a session that the lock manager uses. */
export interface LockManagerSession {
  readonly controller: {
    readonly state: string
    closedError(): HoldfastError
    submit<T>(request: Request<T>): Promise<T>
  }
  /** Calls the callback in a new task of the event loop. */
  readonly newTask: (callback: () => void) => void
  requestLock(checkedLock: CheckedLock): Promise<GrantedLock>
}

/** A held lock or a waiting request, as the specification describes it. */
export interface LockInfo {
  name: string
  mode: WebLockMode
  /** Id of the session. */
  clientId: string
}

/** The locks and waiting requests of all sessions, at most 1,000 of each. */
export interface LockManagerSnapshot {
  held: LockInfo[]
  /** The requests for a name are in the order in which they will be granted. */
  pending: LockInfo[]
  /** Not in the specification: how many held locks there are, including those beyond 1,000. */
  heldCount: number
  /**
   * Not in the specification: how many waiting requests there are, including those beyond 1,000.
   */
  pendingCount: number
}

export class LockManager {
  readonly #session: LockManagerSession

  /** Internal. Use `session.locks`. */
  constructor(session: LockManagerSession) {
    this.#session = session
  }

  /**
   * Asks for a lock, and runs the callback while the session holds the lock. When the callback has
   * ended, or its promise has settled, unlocks the lock. The broker confirms the unlock. Then the
   * returned promise settles with the result or the error of the callback.
   *
   * Never throws. Rejects without running the callback:
   * - with a `TypeError` for arguments of a wrong type (`cause` may be a `HoldfastError`);
   * - with a `NotSupportedError` for options that exclude each other, and for a name that begins
   *   with `-` or does not fit into a key;
   * - with an `InvalidStateError` if the session is closed;
   * - with the reason of `signal`, if `signal` is aborted before the callback runs;
   * - with an `AbortError`, if the lock is lost before the callback runs, or if the session ends
   *   while the request waits; the `cause` says why;
   * - with a `HoldfastError` if the broker refuses: `QUOTA_EXCEEDED`, `UNAVAILABLE`, `FORBIDDEN`;
   * - with the `HoldfastError` `UNAVAILABLE` also if the client has no connection and the request
   *   has `ifAvailable`.
   *
   * If the lock is stolen or lost while the callback runs, rejects immediately with an
   * `AbortError`. Its `cause` is the `HoldfastError` `LOCK_LOST`, whose `reason` says how the lock
   * was lost. The `signal` of the lock is aborted. The callback keeps running.
   */
  request<T>(name: string, callback: LockCallback<T>): Promise<Awaited<T>>
  request<T>(
    name: string,
    options: LockRequestOptions,
    callback: LockCallback<T>,
  ): Promise<Awaited<T>>
  async request(...args: readonly unknown[]): Promise<unknown> {
    const requested = convertArguments(args)
    this.#throwIfClosed()
    const lock = await this.#lockOrNull(checkArguments(requested))
    // As in a browser, the callback runs in a new task, after all microtasks of earlier events.
    // `newTask` gets the promise's `resolve` as its callback.
    await new Promise<void>(this.#session.newTask)
    return lock === null ? requested.callback(null) : runUnderLock(lock, requested)
  }

  /**
   * Returns the locks and the waiting requests. The result may be slightly stale. Rejects with an
   * `InvalidStateError` if the session is closed, and with an `AbortError` if the session ends
   * during the call.
   */
  async query(): Promise<LockManagerSnapshot> {
    this.#throwIfClosed()
    try {
      const result = await this.#session.controller.submit(queryRequest({}))
      return {
        held: result.held.map(infoOf),
        pending: result.waiting.map(infoOf),
        heldCount: result.heldCount,
        pendingCount: result.waitingCount,
      }
    } catch (error) {
      throw this.#abortErrorIfClosed(error)
    }
  }

  /**
   * Requests the lock. Returns `null` if the request has `ifAvailable` and the lock is not free.
   */
  async #lockOrNull(checkedLock: CheckedLock): Promise<Lock | null> {
    try {
      return new Lock(await this.#session.requestLock(checkedLock))
    } catch (error) {
      const { code } = error as HoldfastError
      if (code === 'LOCK_HELD') return null
      if (code === 'ABORTED' && checkedLock.signal?.aborted) throw checkedLock.signal.reason
      throw code === 'LOCK_LOST'
        ? abortError(error as HoldfastError)
        : this.#abortErrorIfClosed(error)
    }
  }

  get #isClosed(): boolean {
    return this.#session.controller.state === 'closed'
  }

  #throwIfClosed(): void {
    if (!this.#isClosed) return
    const cause = this.#session.controller.closedError()
    throw withCause(new DOMException(cause.message, 'InvalidStateError'), cause)
  }

  /** Returns an `AbortError` if the session has ended during the call; otherwise `error`. */
  #abortErrorIfClosed(error: unknown): unknown {
    return this.#isClosed ? abortError(error as HoldfastError) : error
  }
}

/** Runs the callback while the session holds the lock, and then unlocks the lock. */
async function runUnderLock(lock: Lock, requested: Arguments): Promise<unknown> {
  const { signal, callback } = requested
  if (signal?.aborted) {
    void lock.unlock()
    throw signal.reason
  }
  // The client has not unlocked the lock yet. So the loss is the only reason why `held` is false.
  if (!lock.held) throw abortError(lock.lost!)
  const rejectionWhenLost = new Promise<never>((_, reject) => {
    const lossSignal = lock.signal
    const onLoss = () => reject(abortError(lossSignal.reason as HoldfastError))
    lossSignal.addEventListener('abort', onLoss)
  })
  const callbackPromise = (async () => callback(new HeldLock(lock, requested)))()
  try {
    await Promise.race([rejectionWhenLost, callbackPromise])
  } catch (error) {
    // Ignores an error of the unlock. The caller gets the error of the callback, or the loss.
    await lock.unlock().catch(() => {})
    throw error
  }
  try {
    await lock.unlock()
  } catch (cause) {
    // The broker had ended the lock already. If the client does not know why, the error has the
    // likely reason.
    const reason = likelyReason(requested.ttl, lock.holdLeft === 0)
    throw abortError(
      lock.lost ?? new HoldfastError('LOCK_LOST', undefined, { cause, reason, key: lock.key }),
    )
  }
  return callbackPromise
}

function infoOf({ key, mode, session }: { key: string; mode: string; session: string }): LockInfo {
  // A lock with permits, as on a semaphore, has a mode that the specification does not have. Such
  // locks count as shared, because several sessions may hold them at the same time.
  const webMode = mode === 'exclusive' ? 'exclusive' : 'shared'
  return { name: nameForKey(key), mode: webMode, clientId: session }
}

function abortError(cause: HoldfastError): DOMException {
  return withCause(new DOMException(cause.message, 'AbortError'), cause)
}

/** Sets `cause` afterwards, because the constructor of `DOMException` does not accept a cause. */
function withCause(error: DOMException, cause: HoldfastError): DOMException {
  return Object.assign(error, { cause })
}
