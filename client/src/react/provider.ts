/** The component `HoldfastProvider`, which gives its session to all hooks below it. */
import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react'
import type { BrokerUrl } from '../connect.js'
import type { Session } from '../session/session.js'
import {
  noSession,
  type ProviderOptions,
  type SessionStatus,
  SessionStore,
} from './sessionStore.js'

/** The properties of a provider that opens a session of its own. */
export interface OpeningProviderProps {
  /**
   * The URL of a broker, or a list of URLs. When the URLs change, the provider closes the session
   * and opens a new session.
   */
  readonly url: BrokerUrl | readonly BrokerUrl[]
  /**
   * The options of `connect`. The provider reads the options when it opens the session. To apply
   * other options, such as another name, give the provider another React `key`.
   */
  readonly options?: ProviderOptions | undefined
  readonly session?: undefined
  readonly children?: ReactNode
}

/** The properties of a provider whose session the caller opens and closes. */
export interface SessionProviderProps {
  readonly session: Session
  readonly url?: undefined
  readonly options?: undefined
  readonly children?: ReactNode
}

export type HoldfastProviderProps = OpeningProviderProps | SessionProviderProps

const HoldfastContext = createContext<SessionStore | undefined>(undefined)

/**
 * Gives a session to the hooks of all components below it. With `url`, the provider opens a session
 * when it is mounted, and closes the session when it is unmounted. While no broker answers, the
 * provider tries again, after the delays of the option `reconnect`. With `session`, the provider
 * uses that session.
 *
 * On a server the provider opens no session, and the hooks return the values for a session that is
 * not open yet.
 */
export function HoldfastProvider(props: HoldfastProviderProps): ReactElement {
  const { url, options, session, children } = props
  const [store] = useState(() => new SessionStore())
  const newestOptions = useRef(options)
  // This effect must precede the next effect, which reads the options. React runs effects in order.
  useEffect(() => {
    newestOptions.current = options
  })
  // The effect depends on a text, because the caller may make a new, equal list in each render.
  const urlText = url === undefined ? undefined : JSON.stringify(url)
  useEffect(() => {
    if (session !== undefined) return store.follow(session)
    // In a program without types, `url` may be missing. The list of URLs is then empty, which
    // `connect` refuses.
    return store.open(JSON.parse(urlText ?? '[]'), newestOptions.current ?? {})
  }, [store, session, urlText])
  return createElement(HoldfastContext.Provider, { value: store }, children)
}

/** Returns the session of the nearest provider and its state, and follows its changes. */
export function useSession(): SessionStatus {
  const store = useContext(HoldfastContext)
  if (store === undefined) {
    throw new Error(
      'The hooks of @holdfast/client/react need a HoldfastProvider above the component: put one around it',
    )
  }
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => noSession)
}
