/**
 * Refreshes a lock again and again. The interval counts from the sending of one refresh to that of
 * the next, so that interval and timeout together are all that a ttl has to cover.
 */
import { HoldfastError } from '@holdfast/shared'
import type { AutoRefreshOptions } from '../options.js'
import type { Task } from '../platform/scheduler.js'
import type { GrantedLock } from './grantedLock.js'

/**
 * Goes on until a refresh fails or the end comes, for which `onEnd` is given what to call: without
 * an error if the lock was unlocked, or why it was lost.
 */
export function refreshPeriodically(
  grant: GrantedLock,
  { interval, timeout }: AutoRefreshOptions,
  onEnd: (end: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { schedule } = grant
    let begunAt = schedule.monotonic()
    let isRefreshing = false
    let ended = false
    const end = (error: unknown) => {
      ended = true
      schedule.cancel(task)
      if (error === undefined) resolve()
      else reject(error)
    }
    const sleep = () => {
      isRefreshing = false
      if (!ended) schedule.at(task, begunAt + interval)
    }
    const run = () => {
      if (isRefreshing) {
        end(new HoldfastError('LOCK_TIMEOUT', undefined, { key: grant.key }))
        return
      }
      begunAt = schedule.monotonic()
      isRefreshing = true
      schedule.after(task, timeout)
      grant.refresh(undefined).promise.then(sleep, end)
    }
    const task: Task = { run }
    onEnd(end)
    sleep()
  })
}
