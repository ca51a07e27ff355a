/**
 * The tables, in Markdown: to be read in a terminal and pasted into a page.
 */
import { markdownTable } from 'markdown-table'
import type { Row, Workload } from '../job.js'
import { columnsFor, shown } from './columns.js'
import type { Verdict } from './targets.js'

/** What a workload has measured; rows with different figures go into tables of their own. */
export function workloadTable({ name, title }: Workload, rows: readonly Row[]): string {
  const kinds = new Map<boolean, Row[]>()
  for (const row of rows) {
    const isRace = 'pairsPerSecond' in row.figures
    kinds.set(isRace, [...(kinds.get(isRace) ?? []), row])
  }
  return [`## ${name}: ${title}\n`, ...[...kinds.values()].map(tableOf)].join('\n')
}

function tableOf(rows: readonly Row[]): string {
  const columns = columnsFor(rows.map(({ figures }) => figures))
  const head = ['shape', 'cores', 'system', ...columns.map((column) => column.title)]
  const body = rows.map(({ shape, placement, system, figures }) => [
    shape,
    placement === 'shared' ? 'one' : 'two',
    system,
    ...columns.map(({ figure }) => shown(figures[figure])),
  ])
  const align = head.map((_, i) => (i < 3 ? 'l' : 'r'))
  return `${markdownTable([head, ...body], { align })}\n`
}

/** What was aimed at, and what came of it. */
export function targetTable(verdicts: readonly Verdict[]): string {
  const head = ['', 'target', 'stretch', 'measured', 'met?', 'client library']
  const body = verdicts.map(({ target, measured, withClient, outcome }) => {
    const sign = target.better === 'more' ? '≥' : '≤'
    return [
      target.title,
      `${sign} ${shown(target.target)}`,
      target.stretch === undefined ? '–' : `${sign} ${shown(target.stretch)}`,
      shown(measured),
      outcome,
      shown(withClient),
    ]
  })
  const align = ['l', 'r', 'r', 'r', 'l', 'r']
  return `## Targets\n\n${markdownTable([head, ...body], { align })}\n`
}
