/**
 * Callers who want the same lock at the same time share one request and its lock. Each has its own
 * handle, timeout and signal; the last to leave the request cancels it, the last to unlock frees
 * it. They do not exclude each other, and share no result.
 *
 * Only a request that is not settled is shared: whoever comes after the grant asks anew, and waits
 * its turn behind those who waited already.
 */
import { HoldfastError } from '@holdfast/shared'
import type { CheckedLock } from '../options.js'
import { onAbort, refuseAborted } from '../platform/callbacks.js'
import type { Scheduler, Task } from '../platform/scheduler.js'
import { about } from '../requests/errorOf.js'
import type { LockParams } from '../transport/messages.js'
import type { GrantedLock } from './grantedLock.js'
import { Lock } from './lock.js'

/** Asks for a lock without a timeout. */
export type AskForLock = (wanted: CheckedLock) => Promise<GrantedLock>

/** One request and those who wait for it, each by its timeout. */
interface Flight {
  readonly grant: Promise<GrantedLock>
  readonly controller: AbortController
  readonly callers: Set<Task>
}

export class Singleflight {
  readonly #scheduler: Scheduler
  readonly #ask: AskForLock
  readonly #flights = new Map<string, Flight>()

  constructor(schedule: Scheduler, ask: AskForLock) {
    this.#scheduler = schedule
    this.#ask = ask
  }

  async lock({ terms, timeout, signal }: CheckedLock): Promise<Lock> {
    const { key } = terms
    refuseAborted(signal, key)
    // A key has no control characters, so this cannot be read in two ways.
    const name = `${terms.mode}\n${terms.ttl}\n${terms.key}`
    const flight = this.#flights.get(name) ?? this.#begin(name, terms)
    return new Promise<Lock>((resolve, reject) => {
      const end = () => {
        stopListening()
        this.#scheduler.cancel(caller)
      }
      const leave = (error: HoldfastError) => {
        end()
        flight.callers.delete(caller)
        if (flight.callers.size === 0) {
          this.#close(name, flight)
          flight.controller.abort()
        }
        reject(about(key, error))
      }
      const caller: Task = { run: () => leave(new HoldfastError('LOCK_TIMEOUT')) }
      const stopListening = onAbort(signal, leave)
      if (timeout !== undefined) this.#scheduler.after(caller, timeout)
      flight.callers.add(caller)
      flight.grant.then((grant) => {
        end()
        // All handles exist before the first caller can unlock its own.
        if (flight.callers.has(caller)) resolve(new Lock(grant))
      }, leave)
    })
  }

  #begin(name: string, terms: LockParams): Flight {
    const controller = new AbortController()
    const grant = this.#ask({ terms, timeout: undefined, signal: controller.signal })
    const flight: Flight = { grant, controller, callers: new Set() }
    this.#flights.set(name, flight)
    const close = () => this.#close(name, flight)
    grant.then((grant) => {
      close()
      // Those who left did so when it was already on its way.
      if (flight.callers.size === 0) void new Lock(grant).unlock()
    }, close)
    return flight
  }

  /** Nobody can join it any more. */
  #close(name: string, flight: Flight): void {
    if (this.#flights.get(name) === flight) this.#flights.delete(name)
  }
}
