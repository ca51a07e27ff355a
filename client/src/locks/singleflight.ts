/**
 * Lets callers who want the same lock at the same time share one request and its lock. Each caller
 * has its own handle, timeout and signal. The last caller who gives up cancels the request, and the
 * last caller who unlocks frees the lock. The callers do not exclude each other, and share no
 * result.
 *
 * Callers share only a request that has no response yet. A caller who comes after the grant sends a
 * new request, which waits behind those that wait already.
 */
import { HoldfastError } from '@holdfast/shared'
import { onAbort, throwIfAborted } from '../platform/callbacks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { withKey } from '../requests/requests.js'
import type { LockParams } from '../transport/messages.js'
import type { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'
import type { CheckedLock } from './options.js'

/** Sends a lock request. */
export type RequestLock = (wanted: CheckedLock) => Promise<GrantedLock>

/** One request, and the callers who wait for it, each as the task of its timeout. */
interface SharedRequest {
  readonly lock: Promise<GrantedLock>
  readonly controller: AbortController
  readonly callers: Set<Task>
}

export class Singleflight {
  readonly #scheduler: Scheduler
  readonly #requestLock: RequestLock
  readonly #requests = new Map<string, SharedRequest>()

  constructor(scheduler: Scheduler, requestLock: RequestLock) {
    this.#scheduler = scheduler
    this.#requestLock = requestLock
  }

  async lock({ params, timeout, signal }: CheckedLock): Promise<Lock> {
    const { key } = params
    throwIfAborted(signal, key)
    // A key has no control characters, so two different requests never have the same name.
    const name = `${params.mode}\n${params.ttl}\n${params.key}`
    const request = this.#requests.get(name) ?? this.#begin(name, params)
    return new Promise<Lock>((resolve, reject) => {
      const end = () => {
        stopListening()
        this.#scheduler.cancel(caller)
      }
      const giveUp = (error: HoldfastError) => {
        end()
        request.callers.delete(caller)
        if (request.callers.size === 0) {
          this.#close(name, request)
          request.controller.abort()
        }
        reject(withKey(key, error))
      }
      const caller: Task = { run: () => giveUp(new HoldfastError('LOCK_TIMEOUT')) }
      const stopListening = onAbort(signal, giveUp)
      if (timeout !== undefined) this.#scheduler.after(caller, timeout)
      request.callers.add(caller)
      request.lock.then((lock) => {
        end()
        // All handles are made before the first caller can unlock its own handle.
        if (request.callers.has(caller)) resolve(new Lock(lock))
      }, giveUp)
    })
  }

  #begin(name: string, params: LockParams): SharedRequest {
    const controller = new AbortController()
    const lock = this.#requestLock({ params, timeout: undefined, signal: controller.signal })
    const request: SharedRequest = { lock, controller, callers: new Set() }
    this.#requests.set(name, request)
    const close = () => this.#close(name, request)
    lock.then((lock) => {
      close()
      // All callers gave up while the grant was on its way.
      if (request.callers.size === 0) void new Lock(lock).unlock()
    }, close)
    return request
  }

  /** Lets no further caller share this request. */
  #close(name: string, request: SharedRequest): void {
    if (this.#requests.get(name) === request) this.#requests.delete(name)
  }
}
