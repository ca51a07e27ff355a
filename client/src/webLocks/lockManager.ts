/**
 * `session.locks`: the interface of `navigator.locks` for the locks of a broker.
 *
 * The members, the order of the checks and the order of the events are those of the W3C
 * specification (https://w3c.github.io/web-locks/). One case is added: a lock that is lost rejects
 * its request with an `AbortError`, as a steal does, and the `cause` of that error says why.
 */
import { HoldfastError, type LockMode } from '@holdfast/shared'
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
import { HeldLock, type LockCallback } from './heldLock.js'
import { nameForKey } from './names.js'

/** What the lock manager needs of its session. */
export interface LockManagerSession {
  readonly controller: {
    readonly state: string
    closedError(): HoldfastError
    submit<T>(request: Request<T>): Promise<T>
  }
  readonly newTask: (callback: () => void) => void
  requestLock(wanted: CheckedLock): Promise<GrantedLock>
}

export interface LockInfo {
  name: string
  mode: LockMode
  /** Id of the session. */
  clientId: string
}

/** The locks and waiting requests of all sessions, at most 1,000 of each. */
export interface LockManagerSnapshot {
  held: LockInfo[]
  /** For each name in the order of the queue. */
  pending: LockInfo[]
  /** Not in the specification: how many there are, in the list or not. */
  heldCount: number
  pendingCount: number
}

export class LockManager {
  readonly #session: LockManagerSession

  /** Use `session.locks`. */
  constructor(session: LockManagerSession) {
    this.#session = session
  }

  /**
   * Asks for a lock, runs the callback while the lock is held, and unlocks when the promise of the
   * callback has settled. Then settles like the callback, once the broker has confirmed the unlock.
   *
   * Never throws. Rejects, and does not run the callback:
   * - with a `TypeError` for arguments of a wrong type (`cause` may be a `HoldfastError`);
   * - with a `NotSupportedError` for options that exclude each other, and for a name that begins
   *   with `-` or does not fit into a key;
   * - with an `InvalidStateError` if the session is closed;
   * - with the reason of `signal`, if `signal` is aborted before the callback runs;
   * - with an `AbortError` whose `cause` says why, if the lock is lost before the callback runs, or
   *   the session ends while the request waits;
   * - with a `HoldfastError` if the broker refuses: `QUOTA_EXCEEDED`, `UNAVAILABLE`, `FORBIDDEN`;
   *   `UNAVAILABLE` also for `ifAvailable` without a connection.
   *
   * Rejects with an `AbortError` while the callback runs, if the lock is stolen or lost: `cause` is
   * a `LOCK_LOST` with the `reason`, and `lock.signal` is aborted. The callback keeps running.
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
    // As in a browser, the callback runs after all microtasks of earlier events.
    await new Promise<void>(this.#session.newTask)
    return lock === null ? requested.callback(null) : hold(lock, requested)
  }

  /**
   * The locks and the waiting requests. May be slightly stale. Rejects with an `InvalidStateError`
   * if the session is closed, and with an `AbortError` if the session ends meanwhile.
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
      throw this.#errorAtEnd(error)
    }
  }

  async #lockOrNull(wanted: CheckedLock): Promise<Lock | null> {
    try {
      return new Lock(await this.#session.requestLock(wanted))
    } catch (error) {
      const { code } = error as HoldfastError
      if (code === 'LOCK_HELD') return null
      if (code === 'ABORTED' && wanted.signal?.aborted) throw wanted.signal.reason
      throw code === 'LOCK_LOST' ? abortError(error as HoldfastError) : this.#errorAtEnd(error)
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

  /** Converts the error of a call to an `AbortError` if the session has ended meanwhile. */
  #errorAtEnd(error: unknown): unknown {
    return this.#isClosed ? abortError(error as HoldfastError) : error
  }
}

/** Runs the callback under the lock, and unlocks. */
async function hold(lock: Lock, requested: Arguments): Promise<unknown> {
  const { signal, callback } = requested
  if (signal?.aborted) {
    void lock.unlock()
    throw signal.reason
  }
  if (!lock.held) throw abortError(lock.lost!)
  const lost = new Promise<never>((_, reject) => {
    const { signal } = lock
    signal.addEventListener('abort', () => reject(abortError(signal.reason as HoldfastError)))
  })
  const result = (async () => callback(new HeldLock(lock, requested)))()
  try {
    await Promise.race([lost, result])
  } catch (error) {
    // The caller gets the error of the callback or the loss, and no error of this unlock.
    await lock.unlock().catch(() => {})
    throw error
  }
  try {
    await lock.unlock()
  } catch (cause) {
    const reason = likelyReason(requested.ttl)
    throw abortError(
      lock.lost ?? new HoldfastError('LOCK_LOST', undefined, { cause, reason, key: lock.key }),
    )
  }
  return result
}

function infoOf(item: { key: string; mode: LockMode; session: string }): LockInfo {
  return { name: nameForKey(item.key), mode: item.mode, clientId: item.session }
}

function abortError(cause: HoldfastError): DOMException {
  return withCause(new DOMException(cause.message, 'AbortError'), cause)
}

/** Sets `cause`, because the constructor of `DOMException` does not accept one. */
function withCause(error: DOMException, cause: HoldfastError): DOMException {
  return Object.assign(error, { cause })
}
