/**
 * A chart of values over time. The library uPlot draws the lines. The legend is HTML, so that
 * screen readers can read the legend too.
 */
import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { formatTime } from '../model/format.js'
import type { Column, TimeSeries } from '../model/series.js'
import { useAppState } from './appState.js'

export interface Line {
  readonly column: Column
  readonly label: string
  /** The name of a CSS custom property of the theme, such as `--accent`. */
  readonly color: `--${string}`
}

interface ChartProps {
  readonly label: string
  readonly series: TimeSeries
  readonly lines: readonly Line[]
  /** Makes the text of a value in the legend. */
  readonly format: (value: number | null) => string
  /** The version of the data. The chart is drawn again when the version changes. */
  readonly version: number
}

/** The height of a chart, in px. */
const height = 170
/** A chart is at least this wide, in px. */
const minWidth = 160
/** The x axis shows at least this many seconds. */
const minSeconds = 60

export function Chart({ label, series, lines, format, version }: ChartProps) {
  const container = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  /** The index of the time under the cursor; undefined if the cursor is not over the chart. */
  const [timeIndex, setTimeIndex] = useState<number | undefined>(undefined)
  const themeChanges = useThemeChangeCount()
  const { environment } = useAppState()
  useEffect(() => {
    const plotElement = container.current
    if (plotElement === null) return
    const width = () => Math.max(minWidth, plotElement.clientWidth)
    const chart = new uPlot(
      optionsFor(lines, width(), () => timeRange(series, environment.wall()), setTimeIndex),
      dataOf(series, lines),
      plotElement,
    )
    plot.current = chart
    const observer = new ResizeObserver(() => chart.setSize({ width: width(), height }))
    observer.observe(plotElement)
    return () => {
      observer.disconnect()
      chart.destroy()
      plot.current = undefined
    }
    // uPlot reads the colors only once, so another theme needs a new chart.
  }, [themeChanges])
  useEffect(() => plot.current?.setData(dataOf(series, lines)), [version])
  const legend = lines.map(({ column, label: name, color }) => {
    const value = timeIndex === undefined ? series.latest(column) : series.column(column)[timeIndex]
    return { name, color, value: format(value ?? null) }
  })
  return (
    <figure class="chart">
      <figcaption class="legend">
        {legend.map(({ name, color, value }) => (
          <span class="legend-item" key={name}>
            {/* The second class is, for example, `swatch--accent`. */}
            <i class={`swatch swatch${color}`} aria-hidden="true" />
            {name} <b>{value}</b>
          </span>
        ))}
      </figcaption>
      <div
        class="plot"
        role="img"
        aria-label={`Chart of the last ten minutes: ${label}`}
        ref={container}
      />
    </figure>
  )
}

/** The data in the form of uPlot: the times, and one list of values for each line. */
function dataOf(series: TimeSeries, lines: readonly Line[]): uPlot.AlignedData {
  const columns = lines.map(({ column }) => [...series.column(column)])
  return [[...series.times], ...columns] as uPlot.AlignedData
}

function optionsFor(
  lines: readonly Line[],
  width: number,
  xRange: () => uPlot.Range.MinMax,
  onCursor: (index: number | undefined) => void,
): uPlot.Options {
  const style = getComputedStyle(document.documentElement)
  const themeColor = (name: string) => style.getPropertyValue(name).trim()
  const axis: uPlot.Axis = {
    stroke: themeColor('--quiet'),
    font: '11px ui-sans-serif, system-ui, sans-serif',
    grid: { stroke: themeColor('--line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width,
    height,
    legend: { show: false },
    // At the top, right, bottom and left, in px. The right padding has room for half of the last
    // label of the time axis.
    padding: [8, 28, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    scales: {
      x: { range: xRange },
      y: { range: yRange },
    },
    // `size` is the room for the labels of an axis, and `space` the least distance of two labels.
    axes: [
      {
        ...axis,
        size: 26,
        space: 70,
        values: (_, ticks) => ticks.map((tick) => formatTime(tick * 1_000)),
      },
      { ...axis, size: 46, space: 34 },
    ],
    series: [
      {},
      ...lines.map(({ label, color }, index) => ({
        label,
        stroke: themeColor(color),
        width: 1.75,
        // Fill the area below the first line with its color, with the opacity 0x1f of 0xff.
        ...(index === 0 ? { fill: `${themeColor(color)}1f` } : {}),
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [({ cursor: { idx } }) => onCursor(idx ?? undefined)] },
  }
}

/**
 * The range of the x axis, in seconds: the times of the series, but at least one minute. With fewer
 * than two times, uPlot itself would choose a range of years. A series without a time gets the last
 * minute.
 *
 * @param wall The time by the wall clock, in ms.
 */
function timeRange({ times }: TimeSeries, wall: number): uPlot.Range.MinMax {
  const end = times.at(-1) ?? wall / 1_000
  return [Math.min(times[0] ?? end, end - minSeconds), end]
}

/** The range of the y axis: from 0 to 1.15 times the highest value `to`, but at least to 1. */
function yRange(_: uPlot, _from: number | null, to: number | null): uPlot.Range.MinMax {
  return [0, Math.max(1, (to ?? 0) * 1.15)]
}

/** Counts the changes of the theme, by the user or by the system. */
function useThemeChangeCount(): number {
  const [changes, setChanges] = useState(0)
  useEffect(() => {
    const countChange = () => setChanges((count) => count + 1)
    const media = matchMedia('(prefers-color-scheme: dark)')
    media.addEventListener('change', countChange)
    const observer = new MutationObserver(countChange)
    observer.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    return () => {
      media.removeEventListener('change', countChange)
      observer.disconnect()
    }
  }, [])
  return changes
}
