/** Measures calls that are too short for a clock. */

/** Runs an action `callCount` times. Returns the mean duration of one call, in µs. */
export function usPerCall(callCount: number, action: () => void): number {
  const startedAt = performance.now()
  for (let i = 0; i < callCount; i++) action()
  return ((performance.now() - startedAt) * 1_000) / callCount
}
