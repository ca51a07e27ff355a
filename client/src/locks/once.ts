/**
 * `session.once`: one caller runs its function under the lock of a key. All callers that wait for
 * the key meanwhile, in any session and process, get the value of that function. A run is one call
 * of a caller's function.
 */
import {
  HoldfastError,
  maxResultBytes,
  type OptionNames,
  type Result,
  refuseUnknownOptions,
} from '@holdfast/shared'
import { checkFunction, checkMs } from '../platform/checks.js'
import { withKey } from '../requests/requests.js'
import { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'
import { type CheckedLock, checkLock, jsonText, type LockSetOptions } from './options.js'

/**
 * The options of `session.once`. `timeout` and `signal` limit how long the call waits, but not how
 * long its own function runs.
 */
export interface OnceOptions
  extends Pick<LockSetOptions, 'ttl' | 'timeout' | 'signal' | 'metadata'> {
  /**
   * How long the broker gives the value to later callers, in ms from the end of the run. Default:
   * only the callers that wait at the end of the run get the value.
   */
  readonly keep?: number | undefined
}

/** What the function gets as its argument: the fence and the signal of its lock. */
export interface Run {
  /** The number of the grant, as `lock.fence`. */
  readonly fence: number
  /** Aborted when the lock of the run is lost. Another caller may then run its own function. */
  readonly signal: AbortSignal
}

/** The names of the options of `session.once`. */
const onceOptionNames: OptionNames<OnceOptions> = {
  ttl: 1,
  timeout: 1,
  signal: 1,
  metadata: 1,
  keep: 1,
}

/** The parts of a session that `runOnce` uses. */
interface OnceSession {
  readonly state: string
  /** Makes the error for calls after the end of the session. */
  closedError(): HoldfastError
}

/** The part of `LockRequester` that `runOnce` uses. */
interface OnceRequester {
  /** Requests the lock of a run. Resolves with the lock, or with the value of another run. */
  sendOnce(checkedLock: CheckedLock): Promise<GrantedLock | Result>
}

/** Does the work of `session.once`: resolves with the value of its own run or of another run. */
export async function runOnce<T>(
  session: OnceSession,
  requester: OnceRequester,
  key: string,
  callback: (run: Run) => T | PromiseLike<T>,
  options: OnceOptions = {},
): Promise<T> {
  const checkedLock = checkOnce(key, options)
  checkFunction('the function of once', callback)
  const lockOrResult = await requester.sendOnce(checkedLock)
  if (!(lockOrResult instanceof GrantedLock)) return lockOrResult.value as T
  return runWithGrant(lockOrResult, callback, options.keep).catch((error) => {
    // If the lock was lost with its session, the error must say why the session ended.
    const isLostWithSession = session.state === 'closed' && error === lockOrResult.lossError
    throw isLostWithSession ? withKey(key, session.closedError()) : error
  })
}

/** @throws HoldfastError like `checkLock` */
function checkOnce(key: unknown, options: OnceOptions): CheckedLock {
  refuseUnknownOptions('once', options, onceOptionNames)
  const { keep, ...lockOptions } = options
  if (keep !== undefined) checkMs('keep', keep, 1)
  const checkedLock = checkLock(key, lockOptions, 'once')
  return { ...checkedLock, params: { ...checkedLock.params, special: { once: true } } }
}

/**
 * Runs the function under this lock. If the function returns a value, the broker gives this value
 * to the callers that wait. If the function throws, unlocks the lock, so that the next caller runs
 * its own function. If the lock is lost, rejects without waiting for the function.
 */
async function runWithGrant<T>(
  grantedLock: GrantedLock,
  callback: (run: Run) => T | PromiseLike<T>,
  keep: number | undefined,
): Promise<T> {
  const lock = new Lock(grantedLock)
  const { fence, signal } = lock
  try {
    const rejectionWhenLost = new Promise<never>((_, reject) => {
      const onLost = () => reject(signal.reason)
      if (signal.aborted) onLost()
      else signal.addEventListener('abort', onLost)
    })
    const value = await Promise.race([
      rejectionWhenLost,
      // In an async function, an error that the callback throws becomes a rejection.
      (async () => callback({ fence, signal }))(),
    ])
    // With `completion`, `unlock` sends the message `complete`, which carries the value.
    grantedLock.completion = { value: jsonText('the value of once', value, maxResultBytes), keep }
    await lock.unlock()
    return value
  } catch (error) {
    // If `completion` is set, the unlock with the value has failed. Otherwise no value was sent, so
    // a plain unlock follows.
    const { completion } = grantedLock
    if (completion === undefined) await lock.unlock().catch(() => {})
    throw completion === undefined
      ? error
      : endFailedCompletion(grantedLock, error as HoldfastError)
  }
}

/**
 * Returns the error of a run whose value the broker did not accept. If the session still holds the
 * lock, unlocks the lock.
 */
function endFailedCompletion(grantedLock: GrantedLock, error: HoldfastError): HoldfastError {
  const { key, lossError } = grantedLock
  if (error.code !== 'LOCK_NOT_HELD') {
    // A closed session holds no lock. After any other error the session still holds the lock,
    // because the broker has refused the message that carries the value.
    if (error.code !== 'SESSION_CLOSED') grantedLock.unlockWithoutValue()
    return error
  }
  return lossError ?? new HoldfastError('LOCK_LOST', undefined, { cause: error, key })
}
