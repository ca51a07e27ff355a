/**
 * Reports when the user leaves the client's page, when the page is shown again or wakes up, and
 * when the network is back. A worker has only some of these events, and Node has none. The code
 * therefore tests which globals exist, and not which platform runs the code.
 */

/** Receives the events of the page. */
export interface PageLifecycleListener {
  /** The user leaves the page, for good or for a time. The code of the page may never run again. */
  onLeave(): void
  /** The page was shown or woken (its timers may be late), or the network is back. */
  onWake(): void
}

export interface Page {
  /**
   * The origin that the browser sends to the broker. For a page without an origin, this is the text
   * "null".
   */
  readonly origin: string
  /** Calls the listener for each event, until the returned function is called. */
  watch(listener: PageLifecycleListener): () => void
}

/** The page or worker that runs this code; undefined on other platforms, such as Node. */
export const page: Page | undefined =
  typeof addEventListener === 'function' && typeof location === 'object'
    ? { origin: location.origin, watch }
    : undefined

function watch(listener: PageLifecycleListener): () => void {
  // The abort of the signal removes all listeners.
  const controller = new AbortController()
  const { signal } = controller
  const onWake = () => listener.onWake()
  addEventListener('pagehide', () => listener.onLeave(), { signal })
  addEventListener('pageshow', onWake, { signal })
  addEventListener('online', onWake, { signal })
  if (typeof document === 'object') {
    document.addEventListener('resume', onWake, { signal })
    // A page also gets this event when the page becomes hidden, which is not a wake-up.
    document.addEventListener(
      'visibilitychange',
      () => document.visibilityState === 'visible' && onWake(),
      { signal },
    )
  }
  return () => controller.abort()
}
