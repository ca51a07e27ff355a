/**
 * The life of a page, as far as a browser tells of it: put away, taken out again, asleep, awake,
 * and the network gone and back. Not chosen by the platform but felt for, since a worker has a part
 * of it, and Node and others nothing.
 */

/** Who wants to know. */
export interface PageLifecycle {
  /** The page is left, for good or for the back/forward cache; it may never run again. */
  onLeave(): void
  /** Time may have passed unnoticed, or the network is back. */
  onWake(): void
}

export interface Page {
  /** As the broker is told it; browsers send `null` for pages without one. */
  readonly origin: string
  /** Tells the watcher until the function that is returned is called. */
  watch(watcher: PageLifecycle): () => void
}

/** Undefined where there is no page and no worker of one. */
export const page: Page | undefined =
  typeof addEventListener === 'function' && typeof location === 'object'
    ? { origin: location.origin, watch }
    : undefined

function watch(watcher: PageLifecycle): () => void {
  const controller = new AbortController()
  const { signal } = controller
  const onWake = () => watcher.onWake()
  addEventListener('pagehide', () => watcher.onLeave(), { signal })
  addEventListener('pageshow', onWake, { signal })
  addEventListener('online', onWake, { signal })
  if (typeof document === 'object') {
    document.addEventListener('resume', onWake, { signal })
    // A page that is left becomes hidden after it was told that it is left.
    document.addEventListener(
      'visibilitychange',
      () => document.visibilityState === 'visible' && onWake(),
      { signal },
    )
  }
  return () => controller.abort()
}
