/**
 * Makes visible that a session waits for a lock which it holds itself. Locks are not re-entrant, so
 * a task that asks for what it already holds waits for ever, and nothing else would say so. The
 * request must keep waiting, because two tasks of one process may share a session and the broker
 * cannot tell one from the other. So the session warns once for each key, and nothing fails.
 */

import type { Task } from '../platform/scheduler.js'
import { LockRequest } from '../requests/requests.js'
import type { SessionController } from '../session/sessionController.js'
import type { GrantedLock } from './grantedLock.js'

/** How long a request waits before it is looked at, and looked at again, in ms. */
const quietMs = 5_000
/** Most keys that one session warns of: beyond it, one more warning tells nothing new. */
const mostWarnings = 100
/** A look at so many requests and locks may cost a look that is 1 ms later. */
const looksPerMs = 10

/** Tells people something that they should know about their program. */
export type Warn = (message: string, code: string) => void

export class SelfDeadlockWarner implements Task {
  readonly #standing: SessionController
  readonly #warn: Warn
  readonly #warned = new Set<string>()
  #isArmed = false

  constructor(standing: SessionController, warn: Warn) {
    this.#standing = standing
    this.#warn = warn
  }

  /** A lock is being asked for. Usually costs nothing: one timer serves all requests. */
  onAsk(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    this.#standing.scheduler.after(this, quietMs)
  }

  /** Looks at all that have waited long enough, and comes back for those that have not. */
  run(): void {
    const { scheduler, outbox, heldLocks } = this.#standing
    const now = scheduler.monotonic()
    const pending = outbox.pending
    const grants = heldLocks.grants.values()
    const old: LockRequest[] = []
    let next = Infinity
    for (const request of pending) {
      if (!(request instanceof LockRequest && request.wanted)) continue
      // A request that was not sent waits for a connection, not for a lock.
      const dueAt = (request.sentAt?.monotonic ?? now) + quietMs
      if (dueAt <= now) old.push(request)
      next = Math.min(next, dueAt <= now ? now + quietMs : dueAt)
    }
    this.#isArmed = next < Infinity
    if (this.#isArmed) {
      scheduler.at(this, Math.max(next, now + (pending.length + grants.length) / looksPerMs))
    }
    if (old.length > 0) this.#compare(old, grants)
  }

  #compare(requests: readonly LockRequest[], grants: readonly GrantedLock[]): void {
    // The locks that a session has on one key are one exclusive lock, or all shared.
    const own = new Map(grants.map((grant) => [grant.key, grant]))
    for (const { terms } of requests) {
      const grant = own.get(terms.key)
      if (grant === undefined || (grant.mode === 'shared' && terms.mode === 'shared')) continue
      if (this.#warned.has(terms.key) || this.#warned.size >= mostWarnings) continue
      this.#warned.add(terms.key)
      this.#warn(this.#messageFor(grant), 'HOLDFAST_SELF_WAIT')
    }
  }

  #messageFor({ key, fence }: GrantedLock): string {
    const { settings, terms } = this.#standing
    const session = settings.name === undefined ? terms.session : JSON.stringify(settings.name)
    return (
      `session ${session} has waited ${quietMs / 1_000} s for the lock ${JSON.stringify(key)}, ` +
      `which it holds itself (fence ${fence}). Locks are not re-entrant: a task that asks for a ` +
      'lock which it already holds waits for ever. The option warnings of connect turns this off'
    )
  }
}
