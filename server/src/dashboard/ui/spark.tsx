/** The last minute of a number as a small line: whether it rises matters more than its value. */

const points = 60
const size = { width: 120, height: 28 }

export function Spark({ values }: { values: readonly (number | null)[] }) {
  // Where nothing is known there is no line, rather than one at zero.
  const last = values.slice(-points).filter((value) => value !== null)
  if (last.length < 2)
    return <svg class="spark" width={size.width} height={size.height} aria-hidden="true" />
  const most = Math.max(1, ...last)
  const x = (index: number) => (index / (last.length - 1)) * size.width
  const y = (value: number) => size.height - 2 - (value / most) * (size.height - 4)
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
