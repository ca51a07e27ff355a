/**
 * Formats the comparison with the peers (other lock services). A system is one configuration of a
 * service. The table has a row for each system and a column for each shape (size) of the load. A
 * cell has the pairs per second of the system divided by those of the echo server, and the range of
 * this ratio. If a service has several systems, its best system is bold.
 */
import { markdownTable } from 'markdown-table'
import type { Row } from '../job.js'
import { peers } from '../peers/index.js'
import type { Peer } from '../peers/peer.js'
import { formatFigure } from './columns.js'

const serviceOf = new Map<string, Peer['service']>(
  peers.map(({ name, service }) => [name, service]),
)

/** A Markdown table: each row is a system, and each column is a shape of a workload. */
export function peerTable(rows: readonly Row[]): string {
  const compared = rows.filter(
    ({ workload, system, figures }) =>
      // `W1` and `W2` measure the broker; `W1 peers` and `W2 peers` measure the peers.
      /^W[12]( peers)?$/.test(workload) &&
      system !== 'ws echo' &&
      figures['ratioToReference'] !== undefined,
  )
  const columns = distinct(compared.map(columnOf))
  const body = distinct(compared.map(({ system }) => system)).map((system) => [
    system,
    ...columns.map((column) => {
      const row = compared.find((each) => each.system === system && columnOf(each) === column)
      return row === undefined ? '–' : cellOf(row, compared)
    }),
  ])
  const head = ['pairs/s ÷ echo (least–most)', ...columns]
  const align = head.map((_, i) => (i === 0 ? 'l' : 'r'))
  return `## Peers\n\n${markdownTable([head, ...body], { align })}\n`
}

/** The title of a column: the shape and the number of cores. */
function columnOf({ shape, placement }: Row): string {
  return `${shape}, ${placement === 'shared' ? 'one core' : 'two cores'}`
}

/** The ratio of a system, in bold if it is the best of its service, with the range of the ratio. */
function cellOf(row: Row, rows: readonly Row[]): string {
  const { ratioToReference, lowestRatio, highestRatio } = row.figures
  const ratio = formatFigure(ratioToReference)
  const range = `(${formatFigure(lowestRatio)}–${formatFigure(highestRatio)})`
  return isBest(row, rows) ? `**${ratio}** ${range}` : `${ratio} ${range}`
}

/** Whether the service has several configurations, and the row has the best of them. */
function isBest(row: Row, rows: readonly Row[]): boolean {
  const service = serviceOf.get(row.system)
  if (service === undefined) return false
  const rivals = rows.filter(
    (other) => serviceOf.get(other.system) === service && columnOf(other) === columnOf(row),
  )
  const best = Math.max(...rivals.map(({ figures }) => figures['ratioToReference']!))
  return rivals.length > 1 && row.figures['ratioToReference'] === best
}

function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
