/**
 * Lets callers of one session share a lock request and its lock. These callers must ask for the
 * same key, mode, ttl (the time after which the lock expires) and longest hold (`maxHold`). Each
 * caller has its own handle (`Lock`), timeout and signal. The last caller who gives up cancels the
 * request, and the last caller who unlocks frees the lock. The callers who share a lock do not
 * exclude each other. Each of them runs its own code: no result is shared.
 *
 * A caller can only join a request that has no response yet. A caller who comes after the grant
 * sends a new request, which waits in the broker's queue like any other request.
 */
import { HoldfastError } from '@holdfast/shared'
import { onAbort, throwIfAborted } from '../platform/callbacks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { withKey } from '../requests/requests.js'
import type { LockParams } from '../transport/messages.js'
import type { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'
import type { RequestLock } from './lockRequester.js'
import type { CheckedLock } from './options.js'

/**
 * A request, and the callers who wait for it. A caller is represented by its timeout task, which
 * exists even without a timeout.
 */
interface SharedRequest {
  readonly grant: Promise<GrantedLock>
  /** Cancels the request. */
  readonly controller: AbortController
  readonly callers: Set<Task>
}

export class Singleflight {
  readonly #scheduler: Scheduler
  readonly #requestLock: RequestLock
  /** The requests that callers can join, by mode, ttl, longest hold and key. */
  readonly #requests = new Map<string, SharedRequest>()

  constructor(scheduler: Scheduler, requestLock: RequestLock) {
    this.#scheduler = scheduler
    this.#requestLock = requestLock
  }

  async lock({ params, timeout, signal }: CheckedLock): Promise<Lock> {
    const { key } = params
    throwIfAborted(signal, key)
    // No part before the key contains a line break, so different parts never make equal request
    // keys.
    const requestKey = `${params.mode}\n${params.ttl}\n${params.limitAndCallbacks?.maxHold}\n${key}`
    const request = this.#requests.get(requestKey) ?? this.#begin(requestKey, params)
    return new Promise<Lock>((resolve, reject) => {
      const stopWaiting = () => {
        stopListening()
        this.#scheduler.cancel(timeoutTask)
      }
      const giveUp = (error: HoldfastError) => {
        stopWaiting()
        request.callers.delete(timeoutTask)
        if (request.callers.size === 0) {
          this.#close(requestKey, request)
          request.controller.abort()
        }
        reject(withKey(key, error))
      }
      const timeoutTask: Task = { onDue: () => giveUp(new HoldfastError('LOCK_TIMEOUT')) }
      const stopListening = onAbort(signal, giveUp)
      if (timeout !== undefined) this.#scheduler.after(timeoutTask, timeout)
      request.callers.add(timeoutTask)
      // If the request fails, all its callers reject with its error.
      request.grant.then((grantedLock) => {
        stopWaiting()
        // This callback runs for all callers, directly one after another. So each caller has a
        // handle before the first caller can unlock its handle and free the lock.
        if (request.callers.has(timeoutTask))
          resolve(new Lock(grantedLock, /* isSingleflight */ true))
      }, giveUp)
    })
  }

  /** Sends a request that further callers can share until the request has a response. */
  #begin(requestKey: string, params: LockParams): SharedRequest {
    const controller = new AbortController()
    const grant = this.#requestLock({ params, timeout: undefined, signal: controller.signal })
    const request: SharedRequest = { grant, controller, callers: new Set() }
    this.#requests.set(requestKey, request)
    const close = () => this.#close(requestKey, request)
    grant.then((grantedLock) => {
      close()
      // If all callers gave up before the grant arrived, no caller will unlock.
      if (request.callers.size === 0) void new Lock(grantedLock).unlock()
    }, close)
    return request
  }

  /** Lets no further caller share this request. */
  #close(requestKey: string, request: SharedRequest): void {
    if (this.#requests.get(requestKey) === request) this.#requests.delete(requestKey)
  }
}
