/**
 * Locks with the mode `permits`, for a key that works like a counting semaphore. The *capacity* is
 * the number of permits that the key has; each lock takes some of them. A key has a capacity while
 * at least one of its locks or waiting requests has the mode `permits`. During this time, the table
 * refuses requests with another capacity.
 */
import { KeyExtras, KeyPermits } from './lockExtras.js'

interface KeyWithExtras<L, R> {
  extras: KeyExtras<L, R> | undefined
}

/** The terms of a lock or request. Both fields are defined if and only if the mode is `permits`. */
interface PermitsTerms {
  readonly permits: number | undefined
  readonly capacity: number | undefined
}

/**
 * Why the table refuses a request: its capacity differs from the present capacity of the key. For a
 * call at a barrier, `key` names the barrier, and the capacities are numbers of parties.
 */
export interface CapacityMismatch {
  readonly key: string
  readonly capacityInUse: number
  readonly requestedCapacity: number
}

/**
 * Compares the capacity of a request with that of the key. Returns undefined if they are equal, or
 * if the request or the key has no capacity.
 */
export function capacityMismatch<L, R>(
  { key, extras }: KeyWithExtras<L, R> & { readonly key: string },
  capacity: number | undefined,
): CapacityMismatch | undefined {
  const capacityInUse = extras?.permits?.capacity
  if (capacity === undefined || capacityInUse === undefined || capacityInUse === capacity)
    return undefined
  return { key, capacityInUse, requestedCapacity: capacity }
}

/** Counts a lock with the mode `permits` as a user of the capacity, and counts its permits. */
export function addPermits<L, R>(keyState: KeyWithExtras<L, R>, terms: PermitsTerms): void {
  addPermitsUser(keyState, terms)
  keyState.extras!.permits!.used += terms.permits!
}

/** Reverts {@link addPermits}. */
export function removePermits<L, R>(keyState: KeyWithExtras<L, R>, terms: PermitsTerms): void {
  keyState.extras!.permits!.used -= terms.permits!
  removePermitsUser(keyState)
}

/** Counts one user of the capacity: a lock or waiting request with the mode `permits`. */
export function addPermitsUser<L, R>(
  keyState: KeyWithExtras<L, R>,
  { capacity }: PermitsTerms,
): void {
  keyState.extras ??= new KeyExtras()
  // Terms with the mode `permits` always have a capacity.
  keyState.extras.permits ??= new KeyPermits(capacity!)
  keyState.extras.permits.users++
}

/** Reverts {@link addPermitsUser}. After its last user, the key has no capacity. */
export function removePermitsUser<L, R>(keyState: KeyWithExtras<L, R>): void {
  const extras = keyState.extras!
  if (--extras.permits!.users > 0) return
  extras.permits = undefined
  if (extras.isEmpty) keyState.extras = undefined
}
