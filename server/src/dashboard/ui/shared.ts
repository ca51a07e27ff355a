/** What every view needs: the feed, and to be drawn again when it has news. */
import { createContext } from 'preact'
import { useContext, useEffect, useMemo, useReducer } from 'preact/hooks'
import type { Feed } from '../feed/feed.js'
import type { Store } from '../feed/store.js'
import { type Party, partiesOf } from '../model/sessions.js'
import type { PageEnvironment } from '../pageEnvironment.js'

export interface SharedState {
  readonly feed: Feed
  readonly store: Store
  readonly environment: PageEnvironment
}

export const Shared = createContext<SharedState | undefined>(undefined)

export function useShared(): SharedState {
  const parts = useContext(Shared)
  if (parts === undefined) throw new Error('a view stands outside of the app')
  return parts
}

/** The feed, now and whenever it has news; `version` is another one each time. */
export function useFeed(): SharedState & { readonly version: number } {
  const parts = useShared()
  const [, renew] = useReducer((count: number) => count + 1, 0)
  useEffect(() => parts.store.subscribe(() => renew(undefined)), [parts])
  return { ...parts, version: parts.store.version }
}

/** Sessions that hold or wait, by id. */
export function useParties(): ReadonlyMap<string, Party> {
  const { feed, version } = useFeed()
  return useMemo(() => partiesOf(feed.locks.entries.values()), [feed, version])
}
