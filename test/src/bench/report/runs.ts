/**
 * Combines the rows of several runs of the same jobs: the median of each figure, and the range
 * of the ratio to the reference, which is usually the echo server.
 */
import type { Row } from '../job.js'
import { median } from '../load/statistics.js'

/**
 * Returns one row for each row of the first run. A figure is the median over the runs. Each run has
 * one ratio, the median over its slices of time. The range is from the lowest to the highest of
 * these ratios, because the ratios of the slices vary far more. If there is only one run, its rows
 * keep the range over the slices.
 */
export function combineRuns(runs: readonly (readonly Row[])[]): readonly Row[] {
  const [firstRun = []] = runs
  if (runs.length === 1) return firstRun
  return firstRun.map((row) => {
    const sameRows = runs.flatMap((rows) => rows.filter((other) => isSame(other, row)))
    const valuesOf = (figure: string): number[] =>
      sameRows.map(({ figures }) => figures[figure] ?? Number.NaN)
    const figures = Object.fromEntries(
      Object.keys(row.figures).map((figure) => [figure, median(valuesOf(figure))]),
    )
    if ('ratioToReference' in figures) {
      const ratios = valuesOf('ratioToReference')
      figures['lowestRatio'] = Math.min(...ratios)
      figures['highestRatio'] = Math.max(...ratios)
    }
    return { ...row, figures }
  })
}

/** Whether two rows have figures of the same system in the same job. */
function isSame(a: Row, b: Row): boolean {
  return (
    a.workload === b.workload &&
    a.shape === b.shape &&
    a.placement === b.placement &&
    a.system === b.system
  )
}
