/**
 * Upgrades make a shared lock exclusive, and downgrades make an exclusive lock shared. This file
 * has the requests for both changes, and the checks of their arguments. A fence is the number of a
 * grant. An upgrade gives a lock a new fence, but messages still name the lock by the fence of its
 * first grant.
 */
import {
  type Granted,
  HoldfastError,
  type LockMode,
  type OptionNames,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { check, checkMs, checkSignal } from '../platform/checks.js'
import type { Scheduler } from '../platform/scheduler.js'
import { Request, type Response } from '../requests/requests.js'
import { messageText, type SpecialParams } from '../transport/messages.js'

/** The options of `lock.upgrade`. */
export interface UpgradeOptions {
  /**
   * After this time, in ms, the call is rejected with `LOCK_TIMEOUT`, and the lock is shared as
   * before. With 0, the call is rejected with `LOCK_HELD` unless the broker can grant the
   * upgrade immediately. Default: waits for ever.
   */
  readonly timeout?: number | undefined
  /** When aborted, the call is rejected with `ABORTED`, and the lock is shared as before. */
  readonly signal?: AbortSignal | undefined
}

/** The part of a granted lock that a change of its mode needs. */
interface ChangeableLock {
  readonly key: string
  /** The fence of the first grant, which identifies the lock. */
  readonly fence: number
  /** Undefined for an ordinary lock; see {@link SpecialParams}. */
  readonly special: SpecialParams | undefined
  readonly scheduler: Scheduler
  mode: LockMode
  /** The fence of the newest upgrade; equal to `fence` before the first upgrade. */
  presentFence: number
  /** How many pending upgrades have a caller that still waits. */
  wantedUpgrades: number
  /**
   * Whether the broker has granted an upgrade whose caller had given up, so that the client must
   * downgrade the lock.
   */
  owesDowngrade: boolean
  submit(request: Request<void>): void
  abandon(request: Request<void>): void
}

const upgradeOptionNames: OptionNames<UpgradeOptions> = { timeout: 1, signal: 1 }

/** @throws HoldfastError `INVALID_TIMEOUT` or `INVALID_OPTION` */
export function checkUpgrade(options: UpgradeOptions): UpgradeOptions {
  refuseUnknownOptions('upgrade', options, upgradeOptionNames)
  const { timeout, signal } = options
  if (timeout !== undefined) checkMs('timeout', timeout, 0, 'INVALID_TIMEOUT')
  checkSignal(signal)
  return { timeout, signal }
}

/**
 * Checks that a lock can be upgraded or downgraded.
 *
 * @param newMode The mode after the change.
 * @param knownObstacle Why the mode cannot change, if the caller knows a reason; else undefined.
 * @throws HoldfastError `INVALID_OPTION` if the mode of the lock cannot change
 */
export function checkModeChange(
  { mode, special, wantedUpgrades }: ChangeableLock,
  newMode: LockMode,
  knownObstacle: string | undefined,
): void {
  const obstacle =
    knownObstacle ??
    (mode === 'permits'
      ? 'the lock has permits'
      : special?.items
        ? 'the lock has several keys'
        : special?.election
          ? 'the lock is a leadership'
          : newMode === mode
            ? `the lock is ${mode} already`
            : wantedUpgrades > 0 && 'an upgrade of the lock waits')
  check(!obstacle, `the mode of this lock cannot change: ${obstacle}`)
}

/**
 * A request to change the mode of a held lock. The request ends with the session of the lock. The
 * base class explains the members that this class overrides.
 */
abstract class ModeRequest extends Request<void> {
  readonly brokerStoresResponse = true
  protected readonly lock: ChangeableLock

  constructor(lock: ChangeableLock) {
    super()
    this.lock = lock
  }

  /**
   * A rejection may stay unhandled, because some requests have no caller that waits: an upgrade
   * whose caller stopped waiting, and a downgrade that the client itself requests.
   */
  override get mayBeUnhandled(): boolean {
    return true
  }

  get key(): string {
    return this.lock.key
  }

  override onSessionEnded(message: string): boolean {
    this.fail(new HoldfastError('LOCK_NOT_HELD', message))
    return true
  }
}

export class UpgradeRequest extends ModeRequest {
  readonly responseType = 'granted'
  declare readonly timeout: number | undefined
  declare readonly dueAt: number | undefined
  /** Whether this request is still counted in `wantedUpgrades` of the lock. */
  #isCounted = true

  constructor(lock: ChangeableLock, timeout: number | undefined) {
    super(lock)
    this.timeout = timeout
    this.dueAt = timeout === undefined ? undefined : lock.scheduler.monotonic() + timeout
  }

  submit(): void {
    this.lock.wantedUpgrades++
    this.lock.submit(this)
  }

  text(scheduler: Scheduler): string {
    const { id, lock } = this
    return messageText('upgrade', { id, fence: lock.fence, timeout: this.timeoutLeft(scheduler) })
  }

  onResponse(response: Response): boolean {
    const { lock } = this
    const { fence } = response as Granted
    if (this.isWanted) {
      lock.mode = 'exclusive'
      lock.owesDowngrade = false
    } else if (fence > lock.presentFence) {
      // The request is unwanted: the caller gave up while the grant was on its way, and expects a
      // shared lock. The higher fence means that this upgrade made the lock exclusive, so the
      // client must downgrade the lock.
      lock.owesDowngrade = true
    }
    // No `else`: if the response to an unwanted upgrade repeats `presentFence`, an earlier upgrade
    // had made the lock exclusive. The client has handled the response to that earlier upgrade.

    lock.presentFence = fence
    this.#end()
    this.resolve()
    return true
  }

  override onFailed(error: HoldfastError): void {
    this.#end()
    this.fail(error)
  }

  /** Rejects the call, and cancels the request at the broker. */
  giveUp(error: HoldfastError): void {
    this.lock.abandon(this)
    this.#end()
    this.fail(error)
  }

  /**
   * Call when the caller waits no longer. Downgrades the lock if the lock owes a downgrade, unless
   * the caller of a further upgrade waits. A downgrade that is sent now would reach the broker
   * after the further upgrade, and would undo that upgrade.
   */
  #end(): void {
    const { lock } = this
    if (this.#isCounted) lock.wantedUpgrades--
    this.#isCounted = false
    if (!lock.owesDowngrade || lock.wantedUpgrades > 0) return
    lock.owesDowngrade = false
    lock.submit(new DowngradeRequest(lock))
  }

  /**
   * Called when the timeout has passed. With `timeout: 0` this happens only without a connection;
   * with a connection, the caller waits for the answer of the broker.
   */
  override onDue(): void {
    this.giveUp(new HoldfastError(this.timeout === 0 ? 'UNAVAILABLE' : 'LOCK_TIMEOUT'))
  }
}

export class DowngradeRequest extends ModeRequest {
  readonly responseType = 'downgraded'

  text(): string {
    return messageText('downgrade', { id: this.id, fence: this.lock.fence })
  }

  onResponse(): boolean {
    this.lock.mode = 'shared'
    this.resolve()
    return true
  }
}
