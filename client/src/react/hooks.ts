/**
 * The hooks `useLock`, `useHolders` and `useLeader`. They give a React component a lock, the
 * holders of keys, and the leader of an election, and render the component again at each change.
 */
import type { HeldInfo, HoldfastError } from '@holdfast/shared'
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import type { Lock } from '../locks/lock.js'
import type { Leader } from '../session/observation.js'
import {
  faultOfSelection,
  type Holders,
  type HoldersSelection,
  holdersOf,
  unknownHolders,
} from './holdersStore.js'
import { type AcquireOptions, idleLock, type LockState, LockStore } from './lockStore.js'
import { useSession } from './provider.js'

/**
 * The options of `useLock`: the two options below, and the options of `session.lock` except
 * `signal`.
 */
export interface UseLockOptions extends AcquireOptions {
  /**
   * While true, the hook requests the lock without a call of `acquire`: when the component is
   * mounted, when the key changes, and after the session was lost. When the option becomes false,
   * the hook releases the lock. Default false.
   */
  readonly auto?: boolean | undefined
  /** Whether to watch the key for `holders`. Default true. */
  readonly watch?: boolean | undefined
}

/** The result of `useLock`. */
export interface UsedLock {
  /** The lock while `state` is `'held'`. */
  readonly lock: Lock | undefined
  readonly state: LockState
  /** Why the request failed, or how the lock was lost. */
  readonly error: HoldfastError | undefined
  /** The locks that this session and other sessions hold on the key. Empty if `watch` is false. */
  readonly holders: readonly HeldInfo[]
  /**
   * Requests the lock with the options of the hook and these options, such as `{ steal: true }`.
   * Never rejects: resolves with the lock, or with undefined if the request failed (see `error`) or
   * was withdrawn. While the lock is held, returns the lock. While a request waits, a call without
   * options returns the promise of that request, and a call with options replaces the request.
   */
  readonly acquire: (options?: AcquireOptions) => Promise<Lock | undefined>
  /** Withdraws the request, or unlocks the lock. */
  readonly release: () => void
}

/**
 * Returns the lock of this component on a key. The lock is released when the component is
 * unmounted, and when the key changes. Each component has a lock of its own, also if several
 * components use the same key.
 *
 * Each request reads the newest options. A change of the options does not change a held lock.
 */
export function useLock(key: string, options: UseLockOptions = {}): UsedLock {
  const { session } = useSession()
  const { auto = false, watch = true, ...lockOptions } = options
  const [store] = useState(() => new LockStore())
  useEffect(() => {
    store.options = lockOptions
  })
  useEffect(() => {
    if (session !== undefined) return store.attach({ session, key }, auto)
    return undefined
  }, [store, session, key, auto])
  const status = useSyncExternalStore(store.subscribe, store.getSnapshot, () => idleLock)
  const { holders } = useHolders(watch ? { key } : undefined)
  // After a change of the key or session, the store has the former status until the effects run.
  const { target } = status
  const isOfFormerTarget =
    target !== undefined && (target.session !== session || target.key !== key)
  const { lock, state, error } = isOfFormerTarget ? idleLock : status
  return { lock, state, error, holders, acquire: store.acquire, release: store.release }
}

const noSubscription = () => () => {}
const getUnknownHolders = () => unknownHolders

/**
 * Returns the held locks of a key, or of all keys with a prefix, and follows their changes. All
 * components with the same selection share one watch. Needs the permission `watch`.
 *
 * After a dropped connection, the hook returns the last known locks until the session is connected
 * again; `useSession().state` shows whether the session is connected.
 *
 * @param selection Undefined to watch nothing.
 */
export function useHolders(selection: HoldersSelection | undefined): Holders {
  const { session } = useSession()
  const { key, prefix } = selection ?? {}
  // `faultOfSelection` also reports unknown fields, so `errorResult` depends on all field names.
  const fieldNames = Object.keys(selection ?? {}).join()
  // biome-ignore lint/correctness/useExhaustiveDependencies: the selection is new in each render
  const errorResult = useMemo(() => {
    const error = selection && faultOfSelection(selection)
    return error && { ...unknownHolders, error }
  }, [fieldNames, key, prefix])
  const store = useMemo(() => {
    if (session === undefined) return undefined
    if (key !== undefined) return holdersOf(session, { key })
    return prefix === undefined ? undefined : holdersOf(session, { prefix })
  }, [session, key, prefix])
  const holders = useSyncExternalStore(
    store?.subscribe ?? noSubscription,
    store?.getSnapshot ?? getUnknownHolders,
    getUnknownHolders,
  )
  return errorResult ?? holders
}

/** The result of `useLeader`. */
export interface UsedLeader {
  /** Undefined while no session leads, and while `isKnown` is false. */
  readonly leader: Leader | undefined
  /** Whether the session of this component leads. */
  readonly isMe: boolean
  /** Whether the broker has reported which session leads, or that no session leads. */
  readonly isKnown: boolean
  /** Why the leader cannot be shown, such as `FORBIDDEN`. */
  readonly error: HoldfastError | undefined
}

/** Returns the leader of an election and the value that the leader publishes. Follows changes. */
export function useLeader(name: string): UsedLeader {
  const { id: sessionId } = useSession()
  const { holders, isKnown, error } = useHolders({ key: name })
  const leaderLock = holders.find(({ election }) => election === true)
  const leader = useMemo(() => leaderLock && leaderOf(leaderLock), [leaderLock])
  return { leader, isMe: leader !== undefined && leader.session === sessionId, isKnown, error }
}

function leaderOf({ session, name, fence, since, value }: HeldInfo): Leader {
  return { session, name, fence, since, value }
}
