/**
 * Scopes: each scope is one logical task of a session, with the locks that the task holds and the
 * one request for which the task waits. `deadlock.ts` finds deadlocks between scopes.
 *
 * A check for deadlocks needs only the locks whose scope waits, so each key has a list of these
 * locks. `KeyScopes` has this list and a list of waiting requests. A lock is listed when its scope
 * begins to wait. The end of the wait does not remove the lock from the list at once, because the
 * scope may have many locks. Instead, a later check removes the locks whose scope no longer waits.
 */
import { KeyExtras, KeyScopes, Scope } from './lockExtras.js'
import type { KeyState, Lock, Request, ScopeOfLocks, Session } from './records.js'

/**
 * The scope of a session with this number. If the session has no such scope, returns a new scope,
 * which the caller may add with {@link addScope}.
 */
export function scopeOf(session: Session, number: number): ScopeOfLocks {
  return session.scopes?.get(number) ?? new Scope(session, number)
}

/** Adds a granted lock to its scope. Call this function when a lock is granted. */
export function onLockGranted(lock: Lock): void {
  const scope = lock.extras?.scope
  if (scope === undefined) return
  scope.locks.add(lock)
  scope.unlistedLocks.add(lock)
  addScope(lock.session, scope)
}

/** Removes a lock from its scope. Call this function when a lock has ended. */
export function onLockEnded(lock: Lock): void {
  const scope = lock.extras?.scope
  if (scope === undefined) return
  scope.locks.delete(lock)
  scope.unlistedLocks.delete(lock)
  lock.keyState.extras?.scopes?.locks.delete(lock)
  dropEmptyKeyScopes(lock.keyState)
  dropScopeIfUnused(lock.session, scope)
}

/**
 * Adds a request of a scope or set to the list of waiting requests of its key, and marks the scope
 * as waiting. Call this function when the request begins to wait.
 */
export function onWaitBegan(request: Request): void {
  const { extras, keyState, session } = request
  if (extras === undefined) return
  const { scope, set } = extras
  // An upgrade is not listed, because it does not wait in the queue of the key.
  if (request.upgradedLock === undefined && (scope !== undefined || set !== undefined))
    keyScopesOf(keyState).requests.add(request)
  // A request for a set of keys has one `Request` for each key; the first of them is primary.
  if (scope === undefined || !request.isPrimary) return
  scope.waiting = request
  addScope(session, scope)
  listLocks(scope)
}

/**
 * Reverts {@link onWaitBegan}, except that the locks of the scope stay listed. Call this function
 * when a wait has ended.
 */
export function onWaitEnded(request: Request): void {
  const { extras, keyState, session } = request
  if (extras === undefined) return
  if (keyState.extras?.scopes?.requests.delete(request)) dropEmptyKeyScopes(keyState)
  const { scope } = extras
  if (scope?.waiting !== request) return
  scope.waiting = undefined
  dropScopeIfUnused(session, scope)
}

/** Lists the locks of a scope at their keys, where a check for deadlocks looks for them. */
export function listLocks(scope: ScopeOfLocks): void {
  for (const lock of scope.unlistedLocks) keyScopesOf(lock.keyState).locks.add(lock)
  scope.unlistedLocks.clear()
}

/** Drops the lists of a key if they are empty. */
export function dropEmptyKeyScopes(keyState: KeyState): void {
  const { extras } = keyState
  if (!extras?.scopes?.isEmpty) return
  extras.scopes = undefined
  if (extras.isEmpty) keyState.extras = undefined
}

function keyScopesOf(keyState: KeyState): KeyScopes<Lock, Request> {
  keyState.extras ??= new KeyExtras()
  keyState.extras.scopes ??= new KeyScopes()
  return keyState.extras.scopes
}

/** Makes a scope one of the scopes of its session. */
export function addScope(session: Session, scope: ScopeOfLocks): void {
  session.scopes ??= new Map()
  session.scopes.set(scope.number, scope)
}

/** Removes a scope from its session if the scope has neither locks nor a waiting request. */
function dropScopeIfUnused(session: Session, scope: ScopeOfLocks): void {
  if (scope.locks.size > 0 || scope.waiting !== undefined) return
  session.scopes?.delete(scope.number)
  if (session.scopes?.size === 0) session.scopes = undefined
}
