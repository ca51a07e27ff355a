/**
 * The verdict of a soak run: how fast the memory and the open file descriptors of a process grow,
 * and whether this growth is within its bound.
 *
 * The growth of a quantity is the slope of a line that is fitted to its samples by least squares.
 * So a single high or low sample changes the growth little. Samples of the warm-up do not count,
 * because a new process loads modules, compiles hot functions and fills its buffers.
 */

/**
 * The quantities of a process that a soak run measures; `test/README.md` describes them. Only the
 * broker has `kept`: the memory that the broker counts as used for clients.
 */
export const quantities = ['rss', 'heap', 'code', 'external', 'descriptors', 'kept'] as const

export type Quantity = (typeof quantities)[number]

/** The values of one process at one moment, without quantities that the process cannot report. */
export interface Sample {
  /** The time since the start of the run, in ms. */
  readonly at: number
  /** Bytes, or the number of open file descriptors. */
  readonly values: Readonly<Partial<Record<Quantity, number | undefined>>>
}

/** How much a quantity may grow in the measured time. */
export interface Bound {
  /** How much the process may gain after the warm-up, however long the run is. */
  readonly once: number
  /** How much the process may gain in each hour, in addition to `once`. */
  readonly perHour: number
}

/** The growth of one quantity of one process. */
export interface Growth {
  readonly process: string
  readonly quantity: Quantity
  /** The value of the fitted line at the end of the warm-up. */
  readonly first: number
  /** The value of the fitted line at the end of the run. */
  readonly last: number
  readonly slopePerHour: number
  /** The highest slope per hour that the bound allows for a run of this length. */
  readonly allowedPerHour: number
  readonly isWithin: boolean
}

const kib = 1024
const mib = 1024 * kib
const msPerHour = 3_600_000

/** The bounds; `test/README.md` has the reason for each. */
export const bounds: Readonly<Record<Quantity, Bound>> = {
  rss: { once: 16 * mib, perHour: mib },
  heap: { once: mib, perHour: 256 * kib },
  code: { once: 4 * mib, perHour: 256 * kib },
  external: { once: mib, perHour: 256 * kib },
  descriptors: { once: 4, perHour: 1 },
  kept: { once: 128 * kib, perHour: 16 * kib },
}

/** The fewest samples after the warm-up from which `growthOf` computes a slope. */
export const minSamples = 10

/** A line that is fitted to points: its values at the first and the last time, and its slope. */
export interface Line {
  readonly first: number
  readonly last: number
  /** The slope, in units of `value` per unit of `at`. */
  readonly slope: number
}

/** Fits a line by least squares. The points must be in the order of their times. */
export function fitLine(points: readonly { readonly at: number; readonly value: number }[]): Line {
  const count = points.length
  const meanAt = points.reduce((sum, { at }) => sum + at, 0) / count
  const meanValue = points.reduce((sum, { value }) => sum + value, 0) / count
  let covariance = 0
  let variance = 0
  for (const { at, value } of points) {
    covariance += (at - meanAt) * (value - meanValue)
    variance += (at - meanAt) ** 2
  }
  // The variance is 0 if there are no points, or if all points have the same time.
  if (!(variance > 0)) throw new Error('A slope needs points at two different times')
  const slope = covariance / variance
  const valueAt = (at: number) => meanValue + slope * (at - meanAt)
  return { first: valueAt(points[0]!.at), last: valueAt(points.at(-1)!.at), slope }
}

/**
 * Computes the growth of every quantity that the samples of a process have.
 *
 * @param warmUpMs The length of the warm-up, in ms. Its samples do not count.
 * @throws Error if a quantity has fewer than {@link minSamples} samples after the warm-up
 */
export function growthOf(process: string, samples: readonly Sample[], warmUpMs: number): Growth[] {
  const counted = samples.filter(({ at }) => at >= warmUpMs)
  return quantities.flatMap((quantity) => {
    // If all values are in the warm-up, the process has the quantity, but too few samples of it.
    if (!samples.some(({ values }) => values[quantity] !== undefined)) return []
    const points = counted.flatMap(({ at, values }) => {
      const value = values[quantity]
      return value === undefined ? [] : [{ at, value }]
    })
    if (points.length < minSamples) {
      throw new Error(
        `${process} has ${points.length} samples of ${quantity} after the warm-up, and the verdict needs ${minSamples}: run longer, or sample more often`,
      )
    }
    const { first, last, slope } = fitLine(points)
    const measuredHours = (points.at(-1)!.at - points[0]!.at) / msPerHour
    const { once, perHour } = bounds[quantity]
    const slopePerHour = slope * msPerHour
    const allowedPerHour = once / measuredHours + perHour
    const isWithin = slopePerHour <= allowedPerHour
    return [{ process, quantity, first, last, slopePerHour, allowedPerHour, isWithin }]
  })
}

/**
 * Formats a value of a quantity: bytes in MiB, descriptors as a number with a decimal, because
 * slopes are fractions.
 */
export function formatQuantity(quantity: Quantity, value: number): string {
  return quantity === 'descriptors' ? value.toFixed(1) : `${(value / mib).toFixed(2)} MiB`
}
