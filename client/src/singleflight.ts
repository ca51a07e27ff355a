/**
 * Callers who want the same lock at the same time share one request and its lock. Each has its own
 * handle, timeout and signal; the last to leave the request cancels it, the last to unlock frees
 * it.
 *
 * Only a request that is not settled is shared: whoever comes after the grant asks anew, and waits
 * its turn behind those who waited already.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Grant } from './grant.js'
import { Lock } from './lock.js'
import type { LockTerms } from './messages.js'
import { abortedError, type CheckedLock } from './options.js'
import type { Schedule, Task } from './schedule.js'

/** Asks for a lock without a timeout. */
export type AskForLock = (terms: LockTerms, signal: AbortSignal) => Promise<Grant>

/** One request and those who wait for it. */
interface Flight {
  readonly callers: Set<Caller>
  readonly controller: AbortController
}

interface Caller extends Task {
  readonly resolve: (lock: Lock) => void
  readonly reject: (error: unknown) => void
}

export class Singleflight {
  readonly #schedule: Schedule
  readonly #ask: AskForLock
  readonly #flights = new Map<string, Flight>()

  constructor(schedule: Schedule, ask: AskForLock) {
    this.#schedule = schedule
    this.#ask = ask
  }

  async lock({ terms, timeout, signal }: CheckedLock): Promise<Lock> {
    if (signal?.aborted) throw abortedError(signal)
    // A key has no control characters, so this cannot be read in two ways.
    const name = `${terms.mode}\n${terms.ttl}\n${terms.key}`
    const flight = this.#flights.get(name) ?? this.#begin(name, terms)
    return new Promise<Lock>((resolve, reject) => {
      const leave = (error: HoldfastError) => {
        this.#part(caller, signal, onAbort)
        flight.callers.delete(caller)
        if (flight.callers.size === 0) this.#cancel(name, flight)
        reject(error)
      }
      const onAbort = () => leave(abortedError(signal!))
      const caller: Caller = {
        resolve: (lock) => {
          this.#part(caller, signal, onAbort)
          resolve(lock)
        },
        reject: (error) => {
          this.#part(caller, signal, onAbort)
          reject(error)
        },
        run: () => leave(new HoldfastError('LOCK_TIMEOUT', `not granted within ${timeout} ms`)),
      }
      flight.callers.add(caller)
      if (timeout !== undefined) this.#schedule.after(caller, timeout)
      signal?.addEventListener('abort', onAbort)
    })
  }

  #begin(name: string, terms: LockTerms): Flight {
    const flight: Flight = { callers: new Set(), controller: new AbortController() }
    this.#flights.set(name, flight)
    this.#ask(terms, flight.controller.signal).then(
      (grant) => {
        this.#settle(name, flight)
        // All handles exist before the first caller can unlock its own.
        const handles = [...flight.callers].map((caller) => [caller, new Lock(grant)] as const)
        if (handles.length === 0) void new Lock(grant).unlock()
        for (const [caller, lock] of handles) caller.resolve(lock)
      },
      (error) => {
        this.#settle(name, flight)
        for (const caller of [...flight.callers]) caller.reject(error)
      },
    )
    return flight
  }

  #cancel(name: string, flight: Flight): void {
    this.#settle(name, flight)
    flight.controller.abort()
  }

  /** Nobody can join it any more. */
  #settle(name: string, flight: Flight): void {
    if (this.#flights.get(name) === flight) this.#flights.delete(name)
  }

  #part(caller: Caller, signal: AbortSignal | undefined, onAbort: () => void): void {
    this.#schedule.cancel(caller)
    signal?.removeEventListener('abort', onAbort)
  }
}
