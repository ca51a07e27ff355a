/**
 * The public exports of `@holdfast/client/react`: a provider and hooks for React 18 and later. The
 * package exports this file separately, so that programs without React do not load it. For
 * frameworks with server components, the directive `use client` marks this file as client code.
 */
'use client'

export type { Holders, HoldersSelection } from './holdersStore.js'
export {
  type UsedLeader,
  type UsedLock,
  type UseLockOptions,
  useHolders,
  useLeader,
  useLock,
} from './hooks.js'
export type { AcquireOptions, LockState } from './lockStore.js'
export { HoldfastProvider, type HoldfastProviderProps, useSession } from './provider.js'
export type { ProviderOptions, SessionStatus } from './sessionStore.js'
