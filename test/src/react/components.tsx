/**
 * The components of the tests of the React hooks in `@holdfast/client/react`. A browser and a
 * server render the same components.
 */
import {
  HoldfastProvider,
  type HoldfastProviderProps,
  type UseLockOptions,
  useHolders,
  useLeader,
  useLock,
  useSession,
} from '@holdfast/client/react'
import * as React from 'react'
import { StrictMode, Suspense } from 'react'

/** Shows the state of a lock and its holders, with buttons to acquire, steal and release. */
export function LockView({ lockKey, ...options }: UseLockOptions & { readonly lockKey: string }) {
  const { lock, state, error, holders, acquire, release } = useLock(lockKey, options)
  const names = holders.map(({ name }) => name).join(',')
  return (
    <div data-testid={lockKey}>
      <output>{`${state} ${error?.reason ?? error?.code ?? 'ok'} by [${names}]`}</output>
      <i>{lock === undefined ? 'no lock' : `${lock.key} ${lock.mode}`}</i>
      <button type="button" onClick={() => acquire()}>
        acquire
      </button>
      <button type="button" onClick={() => acquire({ steal: true })}>
        steal
      </button>
      <button type="button" onClick={release}>
        release
      </button>
    </div>
  )
}

/** Shows the holders of all keys with a prefix. */
export function HoldersView({ prefix }: { readonly prefix: string }) {
  const { holders, heldCount, isKnown, error } = useHolders({ prefix })
  const list = holders.map(({ key, mode }) => `${key} ${mode}`).join(',')
  return <output>{`${isKnown ? heldCount : 'unknown'} [${list}] ${error?.code ?? 'ok'}`}</output>
}

/** Shows the leader of an election, and whether this session leads. */
export function LeaderView({ name }: { readonly name: string }) {
  const { leader, isMe } = useLeader(name)
  return <output>{`leader ${String(leader?.value)} ${isMe ? 'me' : 'other'}`}</output>
}

/** Shows the state of the session, its name, whether the hook returns its id, and the error. */
export function SessionView() {
  const { session, id, state, error } = useSession()
  const nameAndIdCheck =
    session === undefined ? 'no session' : `${session.name} ${id === session.id}`
  return <output>{`${state} ${nameAndIdCheck} ${error?.code ?? 'ok'}`}</output>
}

/** The promises that suspended a component and have resolved. */
const resolved = new WeakSet<Promise<void>>()

/** Replaces `use`, which React 18 lacks. React renders again when the thrown promise resolves. */
function throwUntilResolved(promise: Promise<void>): void {
  if (!resolved.has(promise)) throw promise.then(() => resolved.add(promise))
}

const { use = throwUntilResolved }: { readonly use?: (promise: Promise<void>) => void } = React

/** Uses a lock, and suspends until the promise resolves. */
function SuspendingLock({ lockKey, until }: { lockKey: string; until: Promise<void> }) {
  const { state } = useLock(lockKey, { auto: true })
  use(until)
  return <output>{`shown ${state}`}</output>
}

/** Shows a fallback until the promise resolves. */
export function SuspendedView(props: { lockKey: string; until: Promise<void> }) {
  return (
    <Suspense fallback={<output>fallback</output>}>
      <SuspendingLock {...props} />
    </Suspense>
  )
}

/** Wraps components in the strict mode of React and a provider. */
export function App(props: HoldfastProviderProps) {
  return (
    <StrictMode>
      <HoldfastProvider {...props} />
    </StrictMode>
  )
}
