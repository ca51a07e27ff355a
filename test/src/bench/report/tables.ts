/** Formats the results as Markdown tables, for a terminal or a page. */
import { markdownTable } from 'markdown-table'
import type { Row, Workload } from '../job.js'
import { columnsFor, formatFigure } from './columns.js'
import type { TargetResult } from './targets.js'

/** The rows of a workload. Rows with and without `pairsPerSecond` go into separate tables. */
export function workloadTable({ name, title }: Workload, rows: readonly Row[]): string {
  /** The rows by whether they have `pairsPerSecond`. */
  const rowGroups = new Map<boolean, Row[]>()
  for (const row of rows) {
    const hasRate = 'pairsPerSecond' in row.figures
    rowGroups.set(hasRate, [...(rowGroups.get(hasRate) ?? []), row])
  }
  return [`## ${name}: ${title}\n`, ...[...rowGroups.values()].map(tableOf)].join('\n')
}

function tableOf(rows: readonly Row[]): string {
  const columns = columnsFor(rows.map(({ figures }) => figures))
  const head = ['shape', 'cores', 'system', ...columns.map((column) => column.title)]
  const body = rows.map(({ shape, placement, system, figures }) => [
    shape,
    placement === 'shared' ? 'one' : 'two',
    system,
    ...columns.map(({ figure }) => formatFigure(figures[figure])),
  ])
  // The first three columns are texts, and the others are numbers.
  const align = head.map((_, i) => (i < 3 ? 'l' : 'r'))
  return `${markdownTable([head, ...body], { align })}\n`
}

/**
 * The targets, the stretches (harder targets) and the measured figures. If the measured figure is
 * without the client library, the last column has the figure with the library.
 */
export function targetTable(targetResults: readonly TargetResult[]): string {
  const head = ['', 'target', 'stretch', 'measured', 'met?', 'client library']
  const body = targetResults.map(({ target, measured, measuredWithClient, outcome }) => {
    const sign = target.better === 'more' ? '≥' : '≤'
    return [
      target.title,
      `${sign} ${formatFigure(target.level)}`,
      target.stretch === undefined ? '–' : `${sign} ${formatFigure(target.stretch)}`,
      formatFigure(measured),
      outcome,
      formatFigure(measuredWithClient),
    ]
  })
  const align = ['l', 'r', 'r', 'r', 'l', 'r']
  return `## Targets\n\n${markdownTable([head, ...body], { align })}\n`
}
