/**
 * Warns when a session waits for a lock that it holds itself.
 *
 * Outside scopes, locks are not re-entrant: a program that asks for a lock which it holds itself
 * waits for ever. Without a warning the developer cannot see why. The broker cannot reject such a
 * request, because other code of the program may share the session and unlock later. So the client
 * only warns, once for each key.
 */
import type { LockMode } from '@holdfast/shared'
import type { Scheduler, Task } from '../platform/scheduler.js'
import type { Request } from '../requests/requests.js'
import type { LockParams } from '../transport/messages.js'

/** A request is checked when it has waited this long, in ms, and then again at this interval. */
const checkAfterMs = 5_000
/** How many keys one session warns for. Further warnings would not help the developer. */
const maxWarnings = 100
/**
 * A check visits all pending requests and all locks. To bound the cost, the pause until the next
 * check is at least 1 ms for each 10 requests and locks that a check visits.
 */
const visitsPerMs = 10

/** Prints a warning for the developer. */
export type Warn = (message: string, code: string) => void

interface OwnLock extends Pick<LockParams, 'key' | 'mode' | 'special'> {
  readonly fence: number
}

/** The part of the session controller that the warner uses. */
export interface WarnerSession {
  readonly scheduler: Scheduler
  readonly pendingRequests: { readonly all: readonly Request[] }
  readonly heldLocks: { readonly all: readonly OwnLock[] }
  /** How the warning names the session. */
  readonly label: string
}

export class SelfDeadlockWarner implements Task {
  readonly #session: WarnerSession
  readonly #warn: Warn
  readonly #warnedKeys = new Set<string>()
  #isCheckScheduled = false

  constructor(session: WarnerSession, warn: Warn) {
    this.#session = session
    this.#warn = warn
  }

  /** Call for each lock request. Schedules a check, unless a check is scheduled already. */
  onRequest(): void {
    if (this.#isCheckScheduled) return
    this.#isCheckScheduled = true
    this.#session.scheduler.after(this, checkAfterMs)
  }

  /** Checks the requests that have waited long enough, and schedules the next check. */
  onDue(): void {
    const { scheduler, pendingRequests, heldLocks } = this.#session
    const now = scheduler.monotonic()
    const requests = pendingRequests.all
    const locks = heldLocks.all
    const overdueRequests: LockParams[] = []
    let nextCheckAt = Infinity
    for (const { params, isWanted, sentAt } of requests) {
      // Only lock requests have `params`. After its caller has given up, a request is not wanted.
      if (params === undefined || !isWanted) continue
      // A request that is not sent yet waits for a connection, not for a lock. So its time has not
      // begun, and a later check visits the request again.
      const dueAt = (sentAt?.monotonic ?? now) + checkAfterMs
      const isOverdue = dueAt <= now
      if (isOverdue) overdueRequests.push(params)
      nextCheckAt = Math.min(nextCheckAt, isOverdue ? now + checkAfterMs : dueAt)
    }
    this.#isCheckScheduled = nextCheckAt < Infinity
    if (this.#isCheckScheduled) {
      const earliest = now + (requests.length + locks.length) / visitsPerMs
      scheduler.at(this, Math.max(nextCheckAt, earliest))
    }
    if (overdueRequests.length > 0) this.#warnOfOwnLocks(overdueRequests, locks)
  }

  /** Warns for each key that the session both holds and waits for, in incompatible modes. */
  #warnOfOwnLocks(overdueRequests: readonly LockParams[], locks: readonly OwnLock[]): void {
    // One lock for each key is enough, because locks that share a key have the same mode.
    const ownLocks = new Map(
      locks.flatMap((lock) =>
        lockedKeysOf(lock).map(({ key, mode }) => [key, { mode, fence: lock.fence }] as const),
      ),
    )
    for (const { key, mode } of overdueRequests.flatMap(lockedKeysOf)) {
      const lock = ownLocks.get(key)
      const canHoldBoth = lock?.mode === mode && mode !== 'exclusive'
      if (lock === undefined || canHoldBoth) continue
      if (this.#warnedKeys.has(key) || this.#warnedKeys.size >= maxWarnings) continue
      this.#warnedKeys.add(key)
      this.#warn(this.#messageFor(key, lock.fence), 'HOLDFAST_SELF_WAIT')
    }
  }

  #messageFor(key: string, fence: number): string {
    return (
      `session ${this.#session.label} has waited ${checkAfterMs / 1_000} s for the lock ` +
      `${JSON.stringify(key)}, which it holds itself (fence ${fence}). Locks are not re-entrant: ` +
      'use the held lock. The option "warnings" turns this warning off'
    )
  }
}

/** The keys of a lock or request, each key with its mode. A `lockAll` has several keys. */
function lockedKeysOf({ key, mode, special }: Pick<LockParams, 'key' | 'mode' | 'special'>): {
  readonly key: string
  readonly mode: LockMode
}[] {
  if (special?.items === undefined) return [{ key, mode }]
  return special.items.map((item) => ({
    key: item.key,
    mode: item.capacity === undefined ? (item.mode ?? 'exclusive') : 'permits',
  }))
}
