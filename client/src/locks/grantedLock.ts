/**
 * `GrantedLock` is the session's record of one granted lock: until when the session may treat the
 * lock as held, and which handles the lock has.
 *
 * A handle is an object of the public class `Lock`, through which a caller uses the lock. Usually a
 * granted lock has one handle. If several callers share one request, each caller gets a handle, and
 * the lock is unlocked when the last handle is unlocked.
 *
 * A fence is the number of a grant. A lock expires when its ttl has passed since the grant or the
 * last refresh. A lock also ends when the longest hold (`maxHold`) has passed since the grant.
 */
import type { BrokerLossReason, HoldfastError, LockMode } from '@holdfast/shared'
import { callSafely } from '../platform/callbacks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { RefreshableLock, RefreshRequest, Request } from '../requests/requests.js'
import type {
  Completion,
  ContendedNotice,
  LimitAndCallbacks,
  LockParams,
  SpecialParams,
} from '../transport/messages.js'
import { type Expiry, earlier, hasPassed, TtlExpiry } from './expiry.js'
import type { HoldTrace } from './tracing.js'

/** The part of `HeldLocks` that one lock uses. */
export interface GrantedLockOwner {
  readonly scheduler: Scheduler
  unlock(lock: GrantedLock): Promise<void>
  refresh(lock: GrantedLock, ttl: number | undefined): RefreshRequest
  proclaim(lock: GrantedLock, value: string | undefined): Promise<void>
  /** Removes a lock from the session's table of locks, without an unlock. */
  forget(lock: GrantedLock): void
  /** Sends a request that changes the mode of a lock. */
  submit(request: Request<void>): void
  /** Cancels a request that changes the mode of a lock. */
  abandon(request: Request<void>): void
  /** Marks locks as lost, and informs their handles. */
  lose(locks: readonly GrantedLock[], reason?: BrokerLossReason): void
}

/** The part of a handle that the granted lock calls. */
export interface LossListener {
  /** Called when the lock is lost, unless the handle was unlocked before. */
  onLost(error: HoldfastError): void
}

/** All locks without handles share this array, so that such a lock needs no array of its own. */
const noListeners: readonly LossListener[] = []

export class GrantedLock implements Task, RefreshableLock {
  readonly key: string
  mode: LockMode
  /** The first fence, which names the lock in messages. */
  readonly fence: number
  /** The newest fence. Each upgrade gives the lock a higher fence. */
  presentFence: number
  /** How many pending upgrades have a caller that still waits. */
  wantedUpgrades = 0
  /**
   * Whether the broker has granted an upgrade whose caller had given up, so that the client must
   * downgrade the lock.
   */
  owesDowngrade = false
  /** Undefined for an ordinary lock; see {@link SpecialParams}. */
  readonly special: SpecialParams | undefined
  /** The `maxHold` and the callbacks of the request; undefined if the request has neither. */
  readonly #limitAndCallbacks: LimitAndCallbacks | undefined
  /** When the longest hold ends; undefined without a longest hold. A refresh does not change it. */
  #holdExpiry: Expiry | undefined
  /** Undefined until the lock gets a ttl or is refreshed. */
  #ttlExpiry: TtlExpiry | undefined
  /** Whether the scheduler will call `onDue` at the expiry of this lock. */
  #isScheduled = false
  readonly #owner: GrantedLockOwner
  /** The handles that are not unlocked. Each handle is a `LossListener`. */
  #lossListeners: readonly LossListener[] = noListeners
  /** The tracer's object for this lock; informed when the lock ends. */
  trace: HoldTrace | undefined
  /**
   * A run is one call of the function that a caller passed to `session.once`. If this is the lock
   * of a run, `completion` is the value of the run. Set after a successful run, before the lock is
   * unlocked.
   */
  completion: Completion | undefined
  #lossError: HoldfastError | undefined
  /** Whether the lock was lost, or its last handle was unlocked. */
  #isOver = false

  constructor(
    owner: GrantedLockOwner,
    {
      key,
      mode,
      special,
      limitAndCallbacks,
    }: Pick<LockParams, 'key' | 'mode' | 'special' | 'limitAndCallbacks'>,
    fence: number,
  ) {
    this.#owner = owner
    this.key = key
    this.mode = mode
    this.special = special
    this.#limitAndCallbacks = limitAndCallbacks
    this.fence = fence
    this.presentFence = fence
  }

  get scheduler(): Scheduler {
    return this.#owner.scheduler
  }

  /** The number of this lock in the session's table of locks. */
  get tableId(): number {
    return this.fence
  }

  /** Why the lock was lost; undefined for a lock that was not lost. */
  get lossError(): HoldfastError | undefined {
    return this.#lossError
  }

  addHandle(handle: LossListener): void {
    // Makes a new array and does not call `push`, because V8 allocates 17 slots at the first `push`
    // on an empty array. See the table in `test/bench/README.md`.
    this.#lossListeners =
      this.#lossListeners === noListeners ? [handle] : [...this.#lossListeners, handle]
  }

  /**
   * Removes a handle. If no other handle is left, unlocks the lock and returns the promise of the
   * unlock request. Otherwise returns a resolved promise.
   */
  unlockHandle(handle: LossListener): Promise<void> {
    this.#removeHandle(handle)
    if (this.#lossListeners.length > 0) return Promise.resolve()
    this.#end(/* lossError */ undefined)
    return this.#owner.unlock(this)
  }

  /**
   * Call when the broker has refused the message that contains the value of a run. Sends a plain
   * unlock instead, without the value.
   */
  unlockWithoutValue(): void {
    this.completion = undefined
    void this.#owner.unlock(this)
  }

  /** @param value JSON text; undefined to publish no value */
  proclaim(value: string | undefined): Promise<void> {
    return this.#owner.proclaim(this, value)
  }

  /** Whether a handle is left, and the lock is not lost. */
  get isUsable(): boolean {
    return this.#lossListeners.length > 0 && this.#lossError === undefined
  }

  /**
   * Removes a handle when the scope of the lock ends. A scope is one logical task. Sends no unlock,
   * because the broker releases all locks of the scope.
   */
  forgetHandle(handle: LossListener): void {
    this.#removeHandle(handle)
    if (this.#lossListeners.length > 0) return
    this.#end(/* lossError */ undefined)
    this.#owner.forget(this)
  }

  #removeHandle(handle: LossListener): void {
    const handles = this.#lossListeners
    const isOnly = handles.length === 1 && handles[0] === handle
    this.#lossListeners = isOnly ? noListeners : handles.filter((other) => other !== handle)
  }

  refresh(ttl: number | undefined): RefreshRequest {
    return this.#owner.refresh(this, ttl)
  }

  submit(request: Request<void>): void {
    this.#owner.submit(request)
  }

  abandon(request: Request<void>): void {
    this.#owner.abandon(request)
  }

  /**
   * Marks the lock as lost. Call `notifyLoss` afterwards, when all locks that are lost at the same
   * time are marked.
   */
  lose(error: HoldfastError): void {
    this.#lossError ??= error
    this.#end(error)
  }

  /** Informs all handles. */
  notifyLoss(): void {
    for (const handle of this.#lossListeners) handle.onLost(this.#lossError!)
  }

  /** The scheduler calls this method when the expiry has passed. */
  onDue(): void {
    const isHoldOver = this.#holdExpiry && hasPassed(this.#holdExpiry, this.scheduler.now())
    this.#owner.lose([this], isHoldOver ? 'maxHold' : 'expired')
  }

  /** How long until the longest hold is over, in ms; Infinity without a longest hold. */
  get holdLeft(): number {
    if (this.#holdExpiry === undefined) return Infinity
    const { monotonic, wall } = this.scheduler.now()
    const left = Math.min(this.#holdExpiry.monotonic - monotonic, this.#holdExpiry.wall - wall)
    return Math.max(0, left)
  }

  /**
   * Handles the notice that other requests are waiting for this lock. Calls the callback in a later
   * turn of the event loop. By then the call of `lock` has resolved, so the caller has the `Lock`
   * and can unlock it in the callback.
   */
  onContended(notice: ContendedNotice): void {
    const onContended = this.#limitAndCallbacks?.onContended
    if (onContended === undefined) return
    const callIfHeld = () => {
      if (!this.#isOver) callSafely(() => onContended(notice))
    }
    this.scheduler.after({ onDue: callIfHeld }, 0)
  }

  /** The ttl that the broker has confirmed last, in ms; undefined if the lock does not expire. */
  get ttl(): number | undefined {
    return this.#ttlExpiry?.ttl
  }

  /** Sets the ttl and the expiry of a new lock. */
  startTtl(ttl: number, expiry: Expiry | undefined): void {
    this.#getOrMakeTtlExpiry().confirm(ttl, expiry)
    this.#updateExpiry()
  }

  /** Sets when the longest hold (`maxHold`) ends. */
  startHold(expiry: Expiry | undefined): void {
    this.#holdExpiry = expiry
    this.#updateExpiry()
  }

  /**
   * Call after a resume. The broker's snapshot, which lists the held locks, confirms the ttl.
   * `expiry` is when this ttl ends.
   */
  confirmTtl(ttl: number, expiry: Expiry): void {
    this.#getOrMakeTtlExpiry().confirmAfterResume(ttl, expiry)
    this.#updateExpiry()
  }

  onRefreshSent(refresh: RefreshRequest): void {
    this.#getOrMakeTtlExpiry().addRefresh(refresh)
    this.#updateExpiry()
  }

  onRefreshed(refresh: RefreshRequest): void {
    this.#getOrMakeTtlExpiry().confirmRefresh(refresh)
    this.#updateExpiry()
    // If the client treats the lock as lost, no caller unlocks the lock. The refresh shows that the
    // broker still counts the lock as held, so the client itself unlocks the lock.
    if (this.#lossError !== undefined) void this.#owner.unlock(this)
  }

  onRefreshFailed(refresh: RefreshRequest, { code }: HoldfastError): void {
    this.#getOrMakeTtlExpiry().removeRefresh(refresh)
    this.#updateExpiry()
    if (code === 'LOCK_NOT_HELD') this.#owner.lose([this])
  }

  #getOrMakeTtlExpiry(): TtlExpiry {
    this.#ttlExpiry ??= new TtlExpiry()
    return this.#ttlExpiry
  }

  #updateExpiry(): void {
    if (this.#isOver) return
    const endOfTtl = this.#ttlExpiry?.expiry
    const expiry =
      endOfTtl && this.#holdExpiry
        ? earlier(endOfTtl, this.#holdExpiry)
        : (endOfTtl ?? this.#holdExpiry)
    if (expiry === undefined) {
      this.#cancelExpiry()
      return
    }
    this.#isScheduled = true
    this.scheduler.atExpiry(this, expiry)
  }

  /** Calls the scheduler only for a lock with an expiry, because most locks have no expiry. */
  #cancelExpiry(): void {
    if (this.#isScheduled) this.scheduler.cancel(this)
    this.#isScheduled = false
  }

  #end(lossError: HoldfastError | undefined): void {
    this.#isOver = true
    this.#cancelExpiry()
    const { trace } = this
    this.trace = undefined
    if (trace !== undefined) callSafely(() => trace.ended(lossError))
  }
}
