/**
 * Draws the chart of the front page: Holdfast beside other lock services in three loads. The
 * figures come from the table of the peers (other lock services) in `test/bench/README.md`, because
 * that table combines several runs. A test compares the saved chart with the table.
 */
import { type BarGroup, drawBars } from './chart.js'

/**
 * The columns that the chart shows, each with its title in the chart. A column without cores in its
 * name was measured only on two cores.
 */
const shownColumns: Readonly<Record<string, string>> = {
  '1×1, one core': 'One client, one lock after the other',
  '64×1': '64 clients, one lock each',
  '100 clients, one core': 'One lock, handed round among 100 clients',
}

/**
 * The row for Holdfast without its client library. The chart omits this row, because users have the
 * library.
 */
const byHand = 'Holdfast, by hand'

/** The unit of the figures is the rate of a `ws` echo without any lock service. */
const caption = 'Pairs of lock and unlock a second through each client library; a bare ws echo is 1'

/**
 * The chart as SVG.
 *
 * @param benchReadme The text of `test/bench/README.md`.
 */
export function overviewOf(benchReadme: string): string {
  // The second line of a Markdown table separates the titles from the rows.
  const [titles = [], , ...rows] = tableOf(benchReadme)
  const groups = Object.entries(shownColumns).map(([column, title]): BarGroup => {
    const index = titles.indexOf(column)
    if (index < 0) throw new Error(`The table of the peers has no column "${column}"`)
    const bars = rows
      .filter(([system]) => system !== byHand)
      .map((cells) => {
        const label = plain(cells[0]!)
        const ratio = ratioIn(cells[index] ?? '')
        return { label, ratio, isHoldfast: label.startsWith('Holdfast') }
      })
      .filter(({ ratio }) => !Number.isNaN(ratio))
    return { title, bars }
  })
  return drawBars(groups, caption)
}

/** The lines of the table of the peers, each as its cells. */
function tableOf(benchReadme: string): string[][] {
  const lines = benchReadme.split('\n')
  const start = lines.findIndex((line) => line.startsWith('| | 1×1, one core |'))
  if (start < 0) throw new Error('test/bench/README.md has no table of the peers')
  const end = lines.findIndex((line, i) => i > start && !line.startsWith('|'))
  return lines.slice(start, end).map((line) => {
    const cells = line.split('|').slice(1, -1)
    return cells.map((cell) => cell.trim())
  })
}

/** The number at the start of a cell such as `**0.75**` or `0.68, auto-pipelining`, or else NaN. */
function ratioIn(cell: string): number {
  return Number.parseFloat(plain(cell))
}

/** The text of a cell without the marks of Markdown. */
function plain(cell: string): string {
  return cell.replace(/[*`]/g, '')
}
