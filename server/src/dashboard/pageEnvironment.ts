/**
 * The clocks, timers and frames of the browser, and whether the page is visible. All other files of
 * the dashboard use these through this interface, so that tests can replace the browser.
 */
export interface PageEnvironment {
  /** The monotonic clock, in ms. */
  now(): number
  /** The wall clock, in ms since 1970. */
  wall(): number
  /** Calls `run` once, `ms` from now. Returns a function that cancels the call. */
  after(ms: number, run: () => void): () => void
  /** Calls `run` before the next frame is drawn, or soon if the page is in the background. */
  beforeNextFrame(run: () => void): void
  /** Whether the page is in the foreground. */
  isVisible(): boolean
}

export const pageEnvironment: PageEnvironment = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
  beforeNextFrame(run) {
    // The browser draws no frames for a page in the background, so `requestAnimationFrame` waits.
    if (document.visibilityState === 'hidden') setTimeout(run, 0)
    else requestAnimationFrame(run)
  },
  isVisible: () => document.visibilityState === 'visible',
}
