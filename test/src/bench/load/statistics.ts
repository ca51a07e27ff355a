/** The median, and a generator of pseudo-random numbers, for the bench. */

/** The middle value; for an even count, the mean of the two middle values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upperMiddle = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1
    ? upperMiddle
    : ((sorted[middle - 1] ?? Number.NaN) + upperMiddle) / 2
}

/** Makes a generator of pseudo-random numbers, 0 <= number < 1. Equal seeds give equal numbers. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    // This is the algorithm Mulberry32.
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
