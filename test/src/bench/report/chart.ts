/**
 * Draws a bar chart that compares systems (lock services in one configuration each). A bar shows
 * the pairs per second of a system, divided by those of the echo server. A pair is one lock and its
 * unlock, and the echo server is a WebSocket server without locks. The SVG needs no other file and
 * suits light and dark pages.
 */
import type { Row } from '../job.js'
import { formatFigure } from './columns.js'

/** The width of the chart. All lengths are in px. */
const width = 860
/** The width of the names to the left of the bars. */
const left = 330
/** The width for the figure to the right of the longest bar. */
const right = 70
/** The width for the label beside the line of the echo server, which is at the ratio 1. */
const labelWidth = 125
const barHeight = 18
const rowHeight = 26
/** The height of the title of a group. */
const groupTitleHeight = 30
/** The height of the heading. */
const top = 56

/** The bars of one load. */
export interface BarGroup {
  readonly title: string
  readonly bars: readonly {
    readonly label: string
    /** The pairs per second, divided by those of the echo server. */
    readonly ratio: number
    readonly isHoldfast: boolean
  }[]
}

/** Draws every row that has a ratio to the echo server. */
export function chartOf(rows: readonly Row[], caption: string): string {
  return drawBars(groupsOf(rows), caption)
}

/**
 * Draws groups of bars, and the line of the echo server. The small numbers in the coordinates are
 * the gaps between texts, bars and the edge of the chart.
 */
export function drawBars(groups: readonly BarGroup[], caption: string): string {
  const largestRatio = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(({ ratio }) => ratio)))
  /** The length of a bar with the ratio 1. */
  const unitLength = (width - left - right) / largestRatio
  const elements: string[] = []
  let y = top
  for (const { title, bars } of groups) {
    elements.push(`<text class="group" x="16" y="${y + 20}">${escaped(title)}</text>`)
    y += groupTitleHeight
    for (const { label, ratio, isHoldfast } of bars) {
      const length = Math.max(1, ratio * unitLength)
      const baseline = y + barHeight - 4
      elements.push(
        `<text x="${left - 10}" y="${baseline}" text-anchor="end">${escaped(label)}</text>`,
        `<rect class="${isHoldfast ? 'own' : 'other'}" x="${left}" y="${y}" rx="2" ` +
          `width="${length.toFixed(1)}" height="${barHeight}"/>`,
        `<text x="${(left + length + 8).toFixed(1)}" y="${baseline}">${formatFigure(ratio)}</text>`,
      )
      y += rowHeight
    }
  }
  const echoAt = left + unitLength
  const isLabelLeft = echoAt + labelWidth > width
  const height = y + 16
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}"
  width="${width}" height="${height}" role="img">
<title>Pairs a second against a bare ws echo</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #57606a }
.group { font-weight: 600; fill: #1f6feb }
.own { fill: #1f6feb }
.other { fill: #8c959f }
line { stroke: #cf222e; stroke-dasharray: 4 4 }
</style>
<text x="16" y="22">${escaped(caption)}</text>
<line x1="${echoAt.toFixed(1)}" y1="${top - 10}" x2="${echoAt.toFixed(1)}" y2="${y}"/>
<text x="${(isLabelLeft ? echoAt - 6 : echoAt + 6).toFixed(1)}" y="${top - 2}"${isLabelLeft ? ' text-anchor="end"' : ''}>a bare ws echo: 1</text>
${elements.join('\n')}
</svg>
`
}

/** Makes one group for each workload, shape (size of the load) and placement on cores. */
function groupsOf(rows: readonly Row[]): BarGroup[] {
  const groups = new Map<string, BarGroup['bars'][number][]>()
  for (const { workload, shape, placement, system, figures } of rows) {
    // The reference is the echo server.
    const ratio = figures['ratioToReference']
    if (ratio === undefined || system === 'ws echo') continue
    const cores = placement === 'shared' ? 'one core' : 'a core each'
    // The peers (other lock services) are in workloads of their own, such as `W1 peers`. Their
    // bars belong to the group of the broker.
    const title = `${workload.replace(' peers', '')} ${shape}, ${cores}`
    const bars = groups.get(title) ?? []
    bars.push({ label: system, ratio, isHoldfast: system.startsWith('holdfast') })
    groups.set(title, bars)
  }
  return [...groups].map(([title, bars]) => ({ title, bars }))
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
