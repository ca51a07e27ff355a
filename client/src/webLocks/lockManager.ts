/**
 * `navigator.locks`, over the network: the Web Locks face of a session.
 *
 * The shape, the order of the checks and the order of events are those of the W3C specification
 * (https://w3c.github.io/web-locks/). What the network adds is added beside it: a lock that is lost
 * rejects its request with an `AbortError`, whose `cause` says how it was lost, as a steal does.
 */
import { HoldfastError, type LockMode } from '@holdfast/shared'
import type { GrantedLock } from '../locks/grantedLock.js'
import { likelyReason } from '../locks/heldLocks.js'
import { Lock } from '../locks/lock.js'
import type { CheckedLock } from '../options.js'
import { queryRequest } from '../requests/simpleRequests.js'
import type { SessionController } from '../session/sessionController.js'
import { type Arguments, check, convert, type LockRequestOptions } from './arguments.js'
import { HeldLock } from './heldLock.js'
import { nameForKey } from './names.js'

/** What the manager needs of its session. */
export interface LockManagerSession {
  readonly standing: Pick<SessionController, 'state' | 'closedError' | 'ask'>
  readonly newTask: (callback: () => void) => void
  ask(wanted: CheckedLock): Promise<GrantedLock>
}

/** Is given `null` if the lock was asked for with `ifAvailable` and is not. */
export type LockCallback<T> = (lock: HeldLock | null) => T

export interface LockInfo {
  name: string
  mode: LockMode
  /** Id of the session. */
  clientId: string
}

/** All that the broker has, whichever session it is of; at most 1,000 of each. */
export interface LockManagerSnapshot {
  held: LockInfo[]
  /** In the order of asking, for each name. */
  pending: LockInfo[]
  /** Not in the specification: how many there are, listed or not. */
  heldCount: number
  pendingCount: number
}

export class LockManager {
  readonly #host: LockManagerSession

  /** Use `session.locks`. */
  constructor(host: LockManagerSession) {
    this.#host = host
  }

  /**
   * Asks for a lock, runs the callback while it is held, and gives the lock back when what the
   * callback returned is settled. Settles as the callback did, once the broker has the lock back.
   *
   * Never throws. Rejects, and does not run the callback:
   * - with a `TypeError` for arguments of a wrong kind (`cause` has the code, if it is one of
   *   ours),
   *   a `NotSupportedError` for options that exclude each other, a name that begins with `-` or does
   *   not fit into a key, an `InvalidStateError` if the session is closed;
   * - with the reason of `signal`, if that is aborted before the callback runs;
   * - with an `AbortError` whose `cause` says why, if the lock is gone again before the callback
   *   could run, or the session ends while the request waits;
   * - with a `HoldfastError` if the broker refuses: `QUOTA_EXCEEDED`, `UNAVAILABLE`, `FORBIDDEN`;
   *   `UNAVAILABLE` also for `ifAvailable` without a connection.
   *
   * Rejects with an `AbortError` while the callback runs, when the lock is stolen or lost; `cause`
   * is a `LOCK_LOST` with the `reason`, and `lock.signal` aborts. The callback goes on by itself.
   */
  request<T>(name: string, callback: LockCallback<T>): Promise<Awaited<T>>
  request<T>(
    name: string,
    options: LockRequestOptions,
    callback: LockCallback<T>,
  ): Promise<Awaited<T>>
  async request(...args: readonly unknown[]): Promise<unknown> {
    const asked = convert(args)
    this.#refuseIfClosed()
    const lock = await this.#grantTo(check(asked))
    // As in a browser, no callback runs before what went before has had all its consequences.
    await new Promise<void>(this.#host.newTask)
    return lock === null ? asked.callback(null) : hold(lock, asked)
  }

  /**
   * Who holds and who waits. May lag a little behind.
   * Rejects with an `InvalidStateError` if the session is closed, with an `AbortError` if it ends.
   */
  async query(): Promise<LockManagerSnapshot> {
    this.#refuseIfClosed()
    try {
      const { held, waiting, heldCount, waitingCount } = await this.#host.standing.ask(
        queryRequest({}),
      )
      const [listed, pending] = [held.map(infoOf), waiting.map(infoOf)]
      return { held: listed, pending, heldCount, pendingCount: waitingCount }
    } catch (error) {
      throw this.#ended(error)
    }
  }

  async #grantTo(wanted: CheckedLock): Promise<Lock | null> {
    try {
      return new Lock(await this.#host.ask(wanted))
    } catch (error) {
      const { code } = error as HoldfastError
      if (code === 'LOCK_HELD') return null
      if (code === 'ABORTED' && wanted.signal?.aborted) throw wanted.signal.reason
      throw code === 'LOCK_LOST' ? abortError(error as HoldfastError) : this.#ended(error)
    }
  }

  get #isClosed(): boolean {
    return this.#host.standing.state === 'closed'
  }

  #refuseIfClosed(): void {
    if (!this.#isClosed) return
    const cause = this.#host.standing.closedError()
    throw withCause(new DOMException(cause.message, 'InvalidStateError'), cause)
  }

  /** Whatever ends the session takes what was asked in it along. */
  #ended(error: unknown): unknown {
    return this.#isClosed ? abortError(error as HoldfastError) : error
  }
}

/** From the grant to the settlement. */
async function hold(lock: Lock, asked: Arguments): Promise<unknown> {
  const { signal, callback } = asked
  if (signal?.aborted) {
    void lock.unlock()
    throw signal.reason
  }
  if (!lock.held) throw abortError(lock.lost!)
  const lost = new Promise<never>((_, reject) => {
    const { signal } = lock
    signal.addEventListener('abort', () => reject(abortError(signal.reason as HoldfastError)))
  })
  const result = (async () => callback(new HeldLock(lock, asked)))()
  try {
    await Promise.race([lost, result])
  } catch (error) {
    // Does nothing if it is lost; whoever waits for the callback's own error hears of no other.
    await lock.unlock().catch(() => {})
    throw error
  }
  try {
    await lock.unlock()
  } catch (cause) {
    const reason = likelyReason(asked.ttl)
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

/** The constructor of a `DOMException` takes none. */
function withCause(error: DOMException, cause: HoldfastError): DOMException {
  return Object.assign(error, { cause })
}
