/**
 * Runs a callback while a lock is held, and unlocks the lock when the callback settles. Sessions
 * and scopes share this function.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Lock } from './lock.js'
import type { HoldTrace } from './tracing.js'

/**
 * Resolves with the result of the callback. Rejects with the error that the callback throws.
 * Rejects with `LOCK_LOST` if the callback did not throw, but the lock was lost while the callback
 * ran.
 *
 * @param trace Runs the callback in the trace of this lock; undefined without a tracer.
 */
export async function runWithLock<T>(
  lock: Lock,
  callback: (lock: Lock) => T | PromiseLike<T>,
  trace?: HoldTrace,
): Promise<T> {
  let result: T
  try {
    result = await (trace === undefined ? callback(lock) : trace.run(() => callback(lock)))
  } catch (error) {
    await lock.unlock().catch(() => {})
    throw error
  }
  try {
    await lock.unlock()
  } catch (error) {
    throw toLockLost(lock, error)
  }
  return result
}

/**
 * Returns the error that `runWithLock` throws after its unlock has failed. `LOCK_NOT_HELD` becomes
 * `LOCK_LOST`, because the lock was lost before the unlock. Any other error stays unchanged.
 */
function toLockLost(lock: Lock, error: unknown): unknown {
  const wasNotHeld = error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD'
  if (!wasNotHeld) return error
  return lock.lost ?? new HoldfastError('LOCK_LOST', undefined, { cause: error, key: lock.key })
}
