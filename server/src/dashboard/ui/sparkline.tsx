/** Draws the last minute of a value as a small line without axes. */

const points = 60
const size = { width: 120, height: 28 }

export function Sparkline({ values }: { values: readonly (number | null)[] }) {
  // Leave out unknown values, because a line at zero would be wrong.
  const last = values.slice(-points).filter((value) => value !== null)
  if (last.length < 2)
    return <svg class="spark" width={size.width} height={size.height} aria-hidden="true" />
  const highest = Math.max(1, ...last)
  const x = (index: number) => (index / (last.length - 1)) * size.width
  const y = (value: number) => size.height - 2 - (value / highest) * (size.height - 4)
  const line = last.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
  return (
    <svg
      class="spark"
      width={size.width}
      height={size.height}
      viewBox={`0 0 ${size.width} ${size.height}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polygon points={`0,${size.height} ${line} ${size.width},${size.height}`} />
      <polyline points={line} />
    </svg>
  )
}
