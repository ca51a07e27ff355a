/**
 * Draws the wait-for graph on the page of a key. Each session is a box, and an arrow leads from a
 * waiting session to each session that holds a lock that the waiting session needs. Column 0 has
 * the holders of the key. The sessions that wait for the holders are to the right, and the sessions
 * for which the holders wait are to the left.
 */
import { formatPlural, shortId } from '../model/format.js'
import type { Edge, Node, WaitForGraph } from '../model/waitForGraph.js'
import { addressOf } from './router.js'

/** The size of the box of a session, in px. */
const box = { width: 148, height: 40 }
/** The distance between two columns and between two rows, in px. */
const spacing = { x: 248, y: 58 }
/** The space around the picture, in px. */
const margin = 16
/** The space for curves below the boxes, in px. A curve is an arrow that does not lead left. */
const curveHeight = 22
/**
 * How far the control points of a curve are below the boxes, in px. The curve itself reaches at
 * most 3/4 of this distance.
 */
const curveBend = 26
/** How far a label is above an arrow that leads left, or below the boxes of a curve, in px. */
const labelOffset = { aboveArrow: 6, belowBoxes: 16 }
/** The space between the tip of an arrow and the box, in px. */
const tipGap = 3
/**
 * The positions of the texts in a box, in px from its upper left corner. `onlyIdY` is for the id of
 * a session without a name.
 */
const textIn = { x: 12, nameY: 17, idY: 32, onlyIdY: 25 }
/** How many characters of a key and of a name fit into the picture. */
const maxChars = { key: 16, name: 17 }

interface WaitForGraphProps {
  readonly graph: WaitForGraph
  /** The key of the page. Arrows for this key have no label. */
  readonly pageKey: string
}

export function WaitForGraphView({ graph, pageKey }: WaitForGraphProps) {
  const { nodes, edges, cycle } = graph
  const columns = nodes.map(({ column }) => column)
  const [firstColumn, lastColumn] = [Math.min(...columns), Math.max(...columns)]
  const rowCount = Math.max(...nodes.map(({ row }) => row)) + 1
  const width = 2 * margin + (lastColumn - firstColumn) * spacing.x + box.width
  const columnOf = new Map(nodes.map(({ session, column }) => [session, column]))
  const hasCurveBelow = edges.some(
    ({ from, to }) => (columnOf.get(from) ?? 0) <= (columnOf.get(to) ?? 0),
  )
  const height =
    2 * margin + (rowCount - 1) * spacing.y + box.height + (hasCurveBelow ? curveHeight : 0)
  const rowsIn = (column: number) => columns.filter((other) => other === column).length
  const pointOf = ({ column, row }: Node): Point => ({
    x: margin + (column - firstColumn) * spacing.x,
    // Center each column vertically.
    y: margin + row * spacing.y + ((rowCount - rowsIn(column)) * spacing.y) / 2,
  })
  const points = new Map(nodes.map((node) => [node.session, pointOf(node)]))
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard must be able to scroll
    <section class="picture" tabIndex={0} aria-label={summary(graph)}>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`}>
        <title>{summary(graph)}</title>
        <defs>
          <Arrowhead id="arrow" />
          <Arrowhead id="arrow-cycle" />
        </defs>
        {edges.map((edge) => (
          <Arrow key={`${edge.from} ${edge.to} ${edge.key}`} {...{ edge, points }} />
        ))}
        {/* The labels come after all arrows, so that no arrow crosses a label. */}
        {edges
          .filter(({ key }) => key !== pageKey)
          .map((edge) => (
            <ArrowLabel key={`${edge.from} ${edge.to} ${edge.key}`} {...{ edge, points }} />
          ))}
        {nodes.map((node) => (
          <Box
            key={node.session}
            node={node}
            at={points.get(node.session) as Point}
            isInCycle={cycle.includes(node.session)}
          />
        ))}
      </svg>
    </section>
  )
}

/** A point, in px from the upper left corner of the picture. */
interface Point {
  readonly x: number
  readonly y: number
}

function Arrowhead({ id }: { id: string }) {
  return (
    <marker
      id={id}
      class={id}
      viewBox="0 0 8 8"
      refX="7"
      refY="4"
      markerWidth="7"
      markerHeight="7"
      orient="auto-start-reverse"
    >
      <path d="M0 0 L8 4 L0 8 z" />
    </marker>
  )
}

interface ArrowProps {
  readonly edge: Edge
  /** The upper left corners of the boxes, by the ids of the sessions. */
  readonly points: ReadonlyMap<string, Point>
}

function Arrow({ edge, points }: ArrowProps) {
  const [from, to] = [points.get(edge.from), points.get(edge.to)]
  if (from === undefined || to === undefined) return null
  const arrowheadId = edge.isInCycle ? 'arrow-cycle' : 'arrow'
  return (
    <g class={`edge ${edge.isInCycle ? 'edge-cycle' : ''}`}>
      <path d={arrowLayout(from, to).path} marker-end={`url(#${arrowheadId})`} />
    </g>
  )
}

function ArrowLabel({ edge, points }: ArrowProps) {
  const [from, to] = [points.get(edge.from), points.get(edge.to)]
  if (from === undefined || to === undefined) return null
  const { x, y } = arrowLayout(from, to).label
  return (
    <g class="edge">
      <text x={x} y={y} text-anchor="middle">
        <title>{edge.key}</title>
        {shorten(edge.key, maxChars.key)}
      </text>
    </g>
  )
}

/**
 * The path of an arrow from a waiter to a holder, and the position of the arrow's label. If the
 * waiter is to the right of the holder, the arrow leads left between the boxes. Otherwise the arrow
 * is a curve below both boxes.
 */
function arrowLayout(from: Point, to: Point): { readonly path: string; readonly label: Point } {
  const middle = box.height / 2
  if (from.x > to.x) {
    const [start, end] = [
      { x: from.x, y: from.y + middle },
      { x: to.x + box.width + tipGap, y: to.y + middle },
    ]
    const bend = (start.x - end.x) / 2
    const path = `M${start.x} ${start.y} C${start.x - bend} ${start.y} ${end.x + bend} ${end.y} ${end.x} ${end.y}`
    const labelY = (start.y + end.y) / 2 - labelOffset.aboveArrow
    return { path, label: { x: (start.x + end.x) / 2, y: labelY } }
  }
  const lowerEdge = Math.max(from.y, to.y) + box.height
  const [start, end] = [
    { x: from.x + box.width / 2, y: from.y + box.height },
    { x: to.x + box.width / 2, y: to.y + box.height + tipGap },
  ]
  const bendY = lowerEdge + curveBend
  const path = `M${start.x} ${start.y} C${start.x} ${bendY} ${end.x} ${bendY} ${end.x} ${end.y}`
  return { path, label: { x: (start.x + end.x) / 2, y: lowerEdge + labelOffset.belowBoxes } }
}

interface BoxProps {
  readonly node: Node
  readonly at: Point
  readonly isInCycle: boolean
}

function Box({ node, at, isInCycle }: BoxProps) {
  const { session, name, column } = node
  const kind = column === 0 ? 'holder' : 'other'
  return (
    <a href={addressOf('session', session)} class={`node node-${kind}`}>
      <title>{`${name ?? 'session'} ${session}`}</title>
      <rect
        class={isInCycle ? 'node-cycle' : undefined}
        x={at.x}
        y={at.y}
        width={box.width}
        height={box.height}
        rx="9"
      />
      <text x={at.x + textIn.x} y={at.y + (name === undefined ? textIn.onlyIdY : textIn.nameY)}>
        {name === undefined ? shortId(session) : shorten(name, maxChars.name)}
      </text>
      {name !== undefined && (
        <text class="node-id" x={at.x + textIn.x} y={at.y + textIn.idY}>
          {shortId(session)}
        </text>
      )}
    </a>
  )
}

/** A text of at most `maxLength` characters; a longer text is cut and ends with `…`. */
function shorten(text: string, maxLength: number): string {
  const characters = [...text]
  return characters.length <= maxLength ? text : `${characters.slice(0, maxLength - 1).join('')}…`
}

/** The graph in words, for screen readers. */
function summary({ nodes, edges }: WaitForGraph): string {
  const nameOf = (session: string) => {
    const node = nodes.find((candidate) => candidate.session === session)
    return node?.name ?? shortId(session)
  }
  const waits = edges.map(({ from, to, key }) => `${nameOf(from)} waits for ${nameOf(to)} (${key})`)
  return `Wait-for graph: ${formatPlural(nodes.length, 'session')}. ${waits.join('; ')}`
}
