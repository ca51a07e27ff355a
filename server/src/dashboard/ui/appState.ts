/**
 * The state that all views share: the feed (the data of the broker), its change notifications, and
 * the clocks and timers of the page.
 */
import { createContext } from 'preact'
import { useContext, useEffect, useMemo, useReducer } from 'preact/hooks'
import type { BrokerFeed } from '../feed/brokerFeed.js'
import type { ChangeNotifier } from '../feed/changeNotifier.js'
import { type SessionRow, sessionRows } from '../model/sessionRows.js'
import type { PageEnvironment } from '../pageEnvironment.js'

export interface AppState {
  readonly feed: BrokerFeed
  readonly changes: ChangeNotifier
  readonly environment: PageEnvironment
}

export const AppContext = createContext<AppState | undefined>(undefined)

/** The shared state. This hook does not make the view draw again when the data changes. */
export function useAppState(): AppState {
  const state = useContext(AppContext)
  if (state === undefined) throw new Error('The view is not inside of the app')
  return state
}

/**
 * The state for a view that must be drawn again at every change of the data. `version` rises with
 * every change.
 */
export function useLiveAppState(): AppState & { readonly version: number } {
  const state = useAppState()
  const [, redraw] = useReducer((count: number) => count + 1, 0)
  useEffect(() => state.changes.subscribe(() => redraw(undefined)), [state])
  return { ...state, version: state.changes.version }
}

/** The sessions that hold or wait for a lock, by id. */
export function useSessionRows(): ReadonlyMap<string, SessionRow> {
  const { feed, version } = useLiveAppState()
  return useMemo(() => sessionRows(feed.locks.rows.values()), [feed, version])
}
