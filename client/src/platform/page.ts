/**
 * The lifecycle of a page, as a browser reports it: left, restored, frozen, woken, and the network
 * gone and back. The code tests for each feature instead of asking for the platform, because a
 * worker has some of these events, and Node has none.
 */

/** Is told about the lifecycle of the page. */
export interface PageLifecycleListener {
  /** The page is left, for good or for the back/forward cache; its code may never run again. */
  onLeave(): void
  /** Time may have passed without the timers of the page, or the network is back. */
  onWake(): void
}

export interface Page {
  /** The origin that the browser sends to the broker; `null` for a page without an origin. */
  readonly origin: string
  /** Tells the listener about the lifecycle, until the returned function is called. */
  watch(listener: PageLifecycleListener): () => void
}

/** Undefined outside of pages and their workers. */
export const page: Page | undefined =
  typeof addEventListener === 'function' && typeof location === 'object'
    ? { origin: location.origin, watch }
    : undefined

function watch(listener: PageLifecycleListener): () => void {
  const controller = new AbortController()
  const { signal } = controller
  const onWake = () => listener.onWake()
  addEventListener('pagehide', () => listener.onLeave(), { signal })
  addEventListener('pageshow', onWake, { signal })
  addEventListener('online', onWake, { signal })
  if (typeof document === 'object') {
    document.addEventListener('resume', onWake, { signal })
    // A page that is left becomes hidden too, after `pagehide`.
    document.addEventListener(
      'visibilitychange',
      () => document.visibilityState === 'visible' && onWake(),
      { signal },
    )
  }
  return () => controller.abort()
}
