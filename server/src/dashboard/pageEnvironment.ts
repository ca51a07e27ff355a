/**
 * The browser's time: the only file of the dashboard that knows a clock or a timer, so that all
 * others can be tried without one.
 */
export interface PageEnvironment {
  /** In ms; rises evenly. */
  now(): number
  /** In ms since 1970. */
  wall(): number
  /** Runs once, later; returns how to prevent that. */
  after(ms: number, run: () => void): () => void
  /** Runs before the next picture is drawn, or soon, where none is. */
  soon(run: () => void): void
  /** Whether anybody can see the page. */
  isVisible(): boolean
}

export const pageEnvironment: PageEnvironment = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
  soon(run) {
    // A page in the background draws nothing, and would never get its turn.
    if (document.visibilityState === 'hidden') setTimeout(run, 0)
    else requestAnimationFrame(run)
  },
  isVisible: () => document.visibilityState === 'visible',
}
