/** Draws the last minute of a value as a small line without axes. */

/** The last minute has at most this many values: one for each second. */
const maxPoints = 60
/** The size of the picture, in px. */
const size = { width: 120, height: 28 }
/** The space above and below the line, in px. */
const margin = 2

export function Sparkline({ values }: { values: readonly (number | null)[] }) {
  // Leave out unknown values (`null`), because the line would show them as zero.
  const knownValues = values.slice(-maxPoints).filter((value) => value !== null)
  if (knownValues.length < 2)
    return <svg class="spark" width={size.width} height={size.height} aria-hidden="true" />
  // At least 1, so that `y` never divides by zero.
  const highest = Math.max(1, ...knownValues)
  const x = (index: number) => (index / (knownValues.length - 1)) * size.width
  const y = (value: number) => size.height - margin - (value / highest) * (size.height - 2 * margin)
  const linePoints = knownValues
    .map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`)
    .join(' ')
  return (
    <svg
      class="spark"
      width={size.width}
      height={size.height}
      viewBox={`0 0 ${size.width} ${size.height}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polygon points={`0,${size.height} ${linePoints} ${size.width},${size.height}`} />
      <polyline points={linePoints} />
    </svg>
  )
}
