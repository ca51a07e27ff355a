/**
 * `Scope`: one logical task of a session. The locks of a scope are re-entrant, the broker detects
 * deadlocks of scopes, and the end of a scope releases all its locks. `ScopeRunner` runs the
 * callback of `session.scope` with a scope.
 *
 * A scope sends one request at a time, because the broker assumes that a scope whose request waits
 * does nothing else. Further calls wait here, in the order of the calls.
 */
import {
  HoldfastError,
  type LockMode,
  type OptionNames,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { onAbort } from '../platform/callbacks.js'
import { check, checkFunction } from '../platform/checks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { Request, withKey } from '../requests/requests.js'
import { messageText, type SpecialParams } from '../transport/messages.js'
import type { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'
import type { RequestLock } from './lockRequester.js'
import {
  type CheckedLock,
  checkLock,
  checkLockSet,
  type LockOptions,
  type LockSetItem,
  type LockSetOptions,
  type TryLockOptions,
  tryLockOptionNames,
} from './options.js'
import { runWithLock } from './withLock.js'

/** The options of `session.scope`. */
export interface ScopeOptions {
  /** A name for error messages. */
  readonly name?: string | undefined
}

/** The options of a lock in a scope: a scope cannot steal. */
export type ScopeLockOptions = Omit<LockOptions, 'steal'>

const scopeOptionNames: OptionNames<ScopeOptions> = { name: 1 }

/** The parts of a session that a scope uses. */
interface ScopeSession {
  readonly scheduler: Scheduler
  submit<T>(request: Request<T>): Promise<T>
}

/** Ends a scope at the broker. */
class EndScopeRequest extends Request<void> {
  readonly brokerStoresResponse = true
  readonly responseType = 'scopeEnded'
  readonly key = undefined
  readonly #scopeNumber: number

  constructor(scopeNumber: number) {
    super()
    this.#scopeNumber = scopeNumber
  }

  /** A rejection may stay unhandled, because user code never gets the promise of this request. */
  override get mayBeUnhandled(): boolean {
    return true
  }

  text(): string {
    return messageText('endScope', { id: this.id, scope: this.#scopeNumber })
  }

  onResponse(): boolean {
    this.resolve()
    return true
  }

  /** Completes the request, because the end of the session has released the locks. */
  override onSessionEnded(): boolean {
    return this.onResponse()
  }
}

/** @throws HoldfastError `INVALID_OPTION` */
export function checkScope(callback: unknown, options: ScopeOptions): ScopeOptions {
  checkFunction('callback', callback)
  refuseUnknownOptions('scope', options, scopeOptionNames)
  const { name } = options
  check(name === undefined || typeof name === 'string', 'name must be a text')
  return { name }
}

/** Runs the callbacks of `session.scope`, each with a scope of its own. */
export class ScopeRunner {
  readonly #session: ScopeSession
  readonly #requestLock: RequestLock
  /** The number of the newest scope. */
  #lastScopeNumber = 0

  constructor(session: ScopeSession, requestLock: RequestLock) {
    this.#session = session
    this.#requestLock = requestLock
  }

  /**
   * Runs the callback with a new scope, and ends the scope when the callback settles. Resolves with
   * the result of the callback, after the broker has released the locks of the scope.
   */
  async run<T>(callback: (scope: Scope) => T | PromiseLike<T>, options: ScopeOptions): Promise<T> {
    const checkedOptions = checkScope(callback, options)
    const scopeNumber = ++this.#lastScopeNumber
    const scope = new Scope(this.#session, this.#requestLock, scopeNumber, checkedOptions)
    try {
      return await callback(scope)
    } finally {
      await scope.end()
    }
  }
}

export class Scope {
  /** The name from the options of `session.scope`. */
  readonly name: string | undefined
  readonly #session: ScopeSession
  readonly #requestLock: RequestLock
  readonly #scopeNumber: number
  /** Aborts the public `signal`, when a lock is lost. */
  readonly #abortController = new AbortController()
  /** Aborted when the scope ends. All unanswered calls of the scope then reject. */
  readonly #endController = new AbortController()
  /**
   * The handles that have not ended. A handle is the `Lock` that a call returned. Several handles
   * can share one granted lock.
   */
  readonly #handles = new Set<Lock>()
  /** The granted locks by their keys; a lock on several keys (a set) by each of its keys. */
  readonly #grantedLocks = new Map<string, GrantedLock>()
  /** Settles when all calls so far have been answered. */
  #formerCalls: Promise<unknown> = Promise.resolve()
  /** Whether the scope has sent a request. Until then the broker does not know the scope. */
  #hasSent = false

  /** Internal. Call `scope` of a session. */
  constructor(
    session: ScopeSession,
    requestLock: RequestLock,
    scopeNumber: number,
    { name }: ScopeOptions,
  ) {
    this.#session = session
    this.#requestLock = requestLock
    this.#scopeNumber = scopeNumber
    this.name = name
  }

  /** A signal that is aborted when a lock of the scope is lost. */
  get signal(): AbortSignal {
    return this.#abortController.signal
  }

  /**
   * Like `lock` of a session, but in this scope. If the scope holds the key in the same or in a
   * stronger mode, resolves with a further handle on the held lock, and ignores the options. If the
   * held lock comes from `lockAll`, the further handle holds all keys of that call. The lock is
   * released when its last handle is unlocked. Permits are re-entrant only in `lockAll`: each call
   * of `lock` with a capacity gets permits of its own.
   *
   * Also rejects with `DEADLOCK` if the lock could never be granted:
   * - This scope would wait for scopes that wait for this scope. The field `cycle` of the error
   *   lists the requests of these scopes.
   * - This scope would wait for its own lock, for example if it holds a shared lock of the key and
   *   asks for an exclusive lock. The error has no `cycle`.
   */
  async lock(key: string, options: ScopeLockOptions = {}): Promise<Lock> {
    const checkedLock = checkLock(key, options, 'lock')
    check(!checkedLock.params.steal, 'a scope cannot steal a lock')
    return this.#lock(checkedLock)
  }

  /** Like `lock`, but rejects with `LOCK_HELD` instead of waiting. */
  async tryLock(key: string, options: TryLockOptions = {}): Promise<Lock> {
    refuseUnknownOptions('tryLock', options, tryLockOptionNames)
    return this.lock(key, { ...options, timeout: 0 })
  }

  /**
   * Like `lockAll` of a session, but in this scope. If the scope holds the lock of an earlier
   * `lockAll` with the same keys, modes and permits, resolves with a further handle on that lock.
   * The order of the keys does not matter. Otherwise rejects with `DEADLOCK` if the scope holds any
   * of the keys.
   */
  async lockAll(keys: readonly LockSetItem[], options: LockSetOptions = {}): Promise<Lock> {
    return this.#lock(checkLockSet(keys, options))
  }

  /** Like `withLock` of a session, but in this scope. */
  async withLock<T>(
    key: string,
    callback: (lock: Lock) => T | PromiseLike<T>,
    options: ScopeLockOptions = {},
  ): Promise<T> {
    checkFunction('callback', callback)
    return runWithLock(await this.lock(key, options), callback)
  }

  /** Internal. Ends the scope; resolves when the broker has released its locks. */
  async end(): Promise<void> {
    this.#endController.abort()
    if (!this.#hasSent) return
    const request = new EndScopeRequest(this.#scopeNumber)
    // The error of a closed session does not matter, because such a session holds no locks.
    const ended = this.#session.submit(request).catch(() => {})
    for (const handle of this.#handles) handle.endWithScope(ended)
    await ended
  }

  #lock(checkedLock: CheckedLock): Promise<Lock> {
    const { params, timeout, signal } = checkedLock
    const dueAt = timeout === undefined ? Infinity : this.#session.scheduler.monotonic() + timeout
    return this.#inTurn(params.key, signal, timeout, async (callSignal) => {
      const heldLock = this.#findReentrantLock(checkedLock)
      if (heldLock !== undefined) return this.#makeHandle(heldLock)
      const leftMs = dueAt - this.#session.scheduler.monotonic()
      // At least 1, because with 0 the request would not wait.
      const timeoutLeft =
        timeout === undefined || timeout === 0 ? timeout : Math.max(1, Math.ceil(leftMs))
      this.#hasSent = true
      const grantedLock = await this.#requestLock({
        params: { ...params, special: { ...params.special, scope: this.#scopeNumber } },
        timeout: timeoutLeft,
        signal: callSignal,
      })
      for (const key of requestedKeysOf(checkedLock)) this.#grantedLocks.set(key, grantedLock)
      return this.#makeHandle(grantedLock)
    })
  }

  /**
   * Calls `send` when all former calls of the scope have been answered.
   *
   * @param signal The signal of the caller.
   * @param send Sends the request of a call, and resolves with the result of the call. The signal
   *   that `send` gets is aborted when the caller aborts, the timeout passes or the scope ends.
   */
  #inTurn<T>(
    key: string,
    signal: AbortSignal | undefined,
    timeout: number | undefined,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const callController = new AbortController()
    return new Promise<T>((resolve, reject) => {
      const giveUp = (error: HoldfastError) => {
        // The cause is the reason of the caller's signal, if that signal was aborted.
        callController.abort(error.cause)
        reject(withKey(key, error))
      }
      const onEnd = () =>
        giveUp(new HoldfastError('ABORTED', `the scope${this.#quotedName} has ended`))
      // If both signals are aborted, the promise keeps the first error.
      if (signal?.aborted) giveUp(new HoldfastError('ABORTED', undefined, { cause: signal.reason }))
      if (this.#endController.signal.aborted) onEnd()
      const listenerRemovers = [onAbort(signal, giveUp), onAbort(this.#endController.signal, onEnd)]
      const { scheduler } = this.#session
      const timer: Task = { onDue: () => giveUp(new HoldfastError('LOCK_TIMEOUT')) }
      // With the timeout 0, the call waits for the former calls, however long these calls take.
      // `extraWaitMs` lets the request itself reject first if the request was sent.
      if (timeout) scheduler.after(timer, timeout + extraWaitMs)
      const cleanUp = () => {
        scheduler.cancel(timer)
        for (const removeListener of listenerRemovers) removeListener()
      }
      this.#formerCalls = this.#formerCalls
        .then(async () => {
          if (!callController.signal.aborted) resolve(await send(callController.signal))
        })
        .catch(reject)
        .finally(cleanUp)
    })
  }

  /**
   * The lock that the scope holds and that the call can share, because locks of a scope are
   * re-entrant. Undefined if the call needs a new lock.
   *
   * @throws HoldfastError `DEADLOCK` if the call would wait for a lock of this scope
   */
  #findReentrantLock(checkedLock: CheckedLock): GrantedLock | undefined {
    const { params } = checkedLock
    const { mode, special } = params
    const isSet = special?.items !== undefined
    const keys = requestedKeysOf(checkedLock)
    const heldLocks = keys.map((key) => this.#usableLock(key))
    // Outside a set, permits are never re-entrant: each call gets permits of its own.
    if (mode === 'permits' && !isSet) return undefined
    if (heldLocks.every((lock) => lock === undefined)) return undefined
    // Looking at the first key is enough. A call outside a set has only one key. If the scope holds
    // the same set, all keys have the same lock.
    const [firstLock] = heldLocks
    const heldMode = firstLock && modeAt(firstLock, params.key)
    const canShare = isSet
      ? itemsText(firstLock?.special) === itemsText(special)
      : heldMode === mode || heldMode === 'exclusive'
    if (canShare) return firstLock
    const key = keys.find((_, i) => heldLocks[i] !== undefined)
    // An upgrade makes a shared lock of a single key exclusive.
    const advice =
      !isSet && heldMode === 'shared' && firstLock?.special?.items === undefined
        ? 'upgrade that lock'
        : 'unlock that lock, or ask for all keys at once'
    const text = `the scope${this.#quotedName} already locks this key: ${advice}`
    throw new HoldfastError('DEADLOCK', text, { key })
  }

  /** The scope's lock of this key; undefined after the lock was unlocked or lost. */
  #usableLock(key: string): GrantedLock | undefined {
    const lock = this.#grantedLocks.get(key)
    if (lock?.isUsable) return lock
    this.#grantedLocks.delete(key)
    return undefined
  }

  #makeHandle(grantedLock: GrantedLock): Lock {
    const handle = new Lock(grantedLock, /* isSingleflight */ false, {
      onEnded: () => this.#handles.delete(handle),
      inTurn: (signal, timeout, send) => this.#inTurn(grantedLock.key, signal, timeout, send),
    })
    this.#handles.add(handle)
    const { signal } = handle
    signal.addEventListener('abort', () => this.#abortController.abort(signal.reason))
    if (signal.aborted) this.#abortController.abort(signal.reason)
    return handle
  }

  get #quotedName(): string {
    return this.name === undefined ? '' : ` "${this.name}"`
  }
}

/**
 * How long a call waits after its timeout has passed, in ms. If the request of the call was sent,
 * `PendingRequests` rejects the call 250 ms after the timeout, unless the broker's own answer
 * arrives before. `extraWaitMs` is longer than 250 ms, so that the scope itself rejects only calls
 * whose request was not sent.
 */
const extraWaitMs = 300

/** The mode of the lock at this key. The keys of a set may have different modes. */
function modeAt({ mode, special }: GrantedLock, key: string): LockMode {
  const item = special?.items?.find((other) => other.key === key)
  if (item === undefined) return mode
  return item.capacity === undefined ? (item.mode ?? 'exclusive') : 'permits'
}

/** A text that is the same for two sets with the same keys, modes and permits in any order. */
function itemsText(special: SpecialParams | undefined): string | undefined {
  return special?.items
    ?.map((item) => JSON.stringify(item))
    .sort()
    .join()
}

function requestedKeysOf({ params: { key, special } }: CheckedLock): readonly string[] {
  return special?.items?.map((item) => item.key) ?? [key]
}
