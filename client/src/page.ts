/**
 * The life of a page, as far as a browser tells of it: put away, taken out again, asleep, awake,
 * and the network gone and back. Not chosen by the platform but felt for, since a worker has a part
 * of it, and Node and others nothing.
 */

/** Who wants to know. */
export interface PageWatcher {
  /** The page is left, for good or for the back/forward cache; it may never run again. */
  onLeave(): void
  /** Time may have passed unnoticed, or the network is back. */
  onWake(): void
}

export interface Page {
  /** As the broker is told it; browsers send `null` for pages without one. */
  readonly origin: string
  /** Tells the watcher until the function that is returned is called. */
  watch(watcher: PageWatcher): () => void
}

/** Undefined where there is no page and no worker of one. */
export const page: Page | undefined =
  typeof addEventListener === 'function' && typeof location === 'object'
    ? { origin: location.origin, watch }
    : undefined

function watch(watcher: PageWatcher): () => void {
  const ends: (() => void)[] = []
  const listen = (target: EventTarget, types: readonly string[], listener: () => void) => {
    for (const type of types) {
      target.addEventListener(type, listener)
      ends.push(() => target.removeEventListener(type, listener))
    }
  }
  const onWake = () => watcher.onWake()
  listen(self, ['pagehide'], () => watcher.onLeave())
  listen(self, ['pageshow', 'online'], onWake)
  if (typeof document === 'object') {
    listen(document, ['resume'], onWake)
    listen(document, ['visibilitychange'], () => {
      // A page that is left becomes hidden after it was told that it is left.
      if (document.visibilityState === 'visible') onWake()
    })
  }
  return () => {
    for (const end of ends) end()
  }
}
