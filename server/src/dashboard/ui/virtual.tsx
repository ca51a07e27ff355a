/**
 * A table of any length of which only what can be seen is drawn. The tabulator key goes to one row;
 * from there the arrow keys lead on, however long the table is.
 */
// biome-ignore-all lint/a11y/useSemanticElements: a real table cannot leave out rows
// biome-ignore-all lint/a11y/useFocusableInteractive: of a row, its link is what is focused
import type { ComponentChildren, TargetedKeyboardEvent } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'

export interface VirtualProps<T> {
  /** What the table is, for those who do not see it. */
  readonly label: string
  /** Added to the class of the table and of its rows. */
  readonly kind: string
  readonly heads: readonly string[]
  readonly items: readonly T[]
  readonly idOf: (item: T) => string
  /** The cells of a row; only links of the row that is active may be reached with the tabulator. */
  readonly cells: (item: T, isActive: boolean) => readonly ComponentChildren[]
  /** Rows kept above a table that grows at its head: the view stays where it is. */
  readonly anchored?: boolean | undefined
}

/** Rows drawn beyond each edge. */
const margin = 6

export function Virtual<T>(props: VirtualProps<T>) {
  const { label, kind, heads, items, idOf, cells } = props
  const table = useRef<HTMLDivElement>(null)
  const { top, height, rowHeight } = useView(table)
  const { active, setActive, onKeyDown } = useRows(table, items.length, rowHeight)
  useAnchor(table, props, rowHeight)
  const first = Math.max(0, Math.floor(top / rowHeight) - margin)
  const last = Math.min(items.length, Math.ceil((top + height) / rowHeight) + margin)
  const shown = indices(first, last, Math.min(active, items.length - 1))
  return (
    <div
      class={`virtual ${kind}`}
      role="table"
      aria-label={label}
      aria-rowcount={items.length + 1}
      ref={table}
    >
      <div class="virtual-head" role="row" aria-rowindex={1}>
        {heads.map((head) => (
          <span role="columnheader" key={head}>
            {head}
          </span>
        ))}
      </div>
      <div
        class="virtual-body"
        role="rowgroup"
        onKeyDown={onKeyDown}
        style={{ height: `${items.length * rowHeight}px` }}
      >
        {shown.map((index) => {
          const item = items[index] as T
          return (
            <div
              class="virtual-row"
              role="row"
              key={idOf(item)}
              aria-rowindex={index + 2}
              data-index={index}
              style={{ transform: `translateY(${index * rowHeight}px)` }}
              onFocusCapture={() => setActive(index)}
            >
              {cells(item, index === active).map((cell, column) => (
                <span role="cell" class={`cell cell-${column}`} key={heads[column]}>
                  {cell}
                </span>
              ))}
            </div>
          )
        })}
      </div>
    </div>
  )
}

function indices(first: number, last: number, active: number): number[] {
  const shown = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index)
  // The row with the focus stays, or the focus would be lost by scrolling.
  if (active >= 0 && (active < first || active >= last)) shown.push(active)
  return shown
}

interface View {
  readonly top: number
  readonly height: number
  readonly rowHeight: number
}

/** What of a scrolling element can be seen, and how high its rows are drawn. */
function useView(element: { current: HTMLElement | null }): View {
  const [view, setView] = useState<View>({ top: 0, height: 600, rowHeight: 44 })
  useLayoutEffect(() => {
    const node = element.current
    if (node === null) return
    const look = () => {
      const height = Number.parseFloat(getComputedStyle(node).getPropertyValue('--row')) || 44
      setView({ top: node.scrollTop, height: node.clientHeight, rowHeight: height })
    }
    look()
    node.addEventListener('scroll', look, { passive: true })
    const observer = new ResizeObserver(look)
    observer.observe(node)
    return () => {
      node.removeEventListener('scroll', look)
      observer.disconnect()
    }
  }, [element])
  return view
}

const steps: Readonly<Record<string, (index: number, page: number, last: number) => number>> = {
  ArrowDown: (index) => index + 1,
  ArrowUp: (index) => index - 1,
  PageDown: (index, page) => index + page,
  PageUp: (index, page) => index - page,
  Home: () => 0,
  End: (_index, _page, last) => last,
}

/** Which row is reached with the tabulator, and how the keys move from it. */
function useRows(element: { current: HTMLElement | null }, count: number, rowHeight: number) {
  const [active, setActive] = useState(0)
  const [wanted, setWanted] = useState<number | undefined>(undefined)
  // At once: a key that is pressed while nothing has the focus leads nowhere.
  useLayoutEffect(() => {
    if (wanted === undefined) return
    const row = element.current?.querySelector(
      `[data-index="${wanted}"] a, [data-index="${wanted}"] button`,
    )
    if (!(row instanceof HTMLElement)) return
    row.focus({ preventScroll: true })
    setWanted(undefined)
  })
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLElement>) => {
    const node = element.current
    const step = steps[event.key]
    if (step === undefined || node === null || count === 0) return
    event.preventDefault()
    const page = Math.max(1, Math.floor(node.clientHeight / rowHeight) - 2)
    const next = Math.min(count - 1, Math.max(0, step(active, page, count - 1)))
    setActive(next)
    setWanted(next)
    reveal(node, next * rowHeight, rowHeight)
  }
  return { active, setActive, onKeyDown }
}

/** Scrolls no further than it must; the head of the table covers one row. */
function reveal(node: HTMLElement, top: number, rowHeight: number): void {
  const seen = node.clientHeight - rowHeight
  if (top < node.scrollTop) node.scrollTop = top
  else if (top + rowHeight > node.scrollTop + seen) node.scrollTop = top + rowHeight - seen
}

/** A table that grows at its head does not move under whoever has scrolled into it. */
function useAnchor<T>(
  element: { current: HTMLElement | null },
  { anchored, items, idOf }: VirtualProps<T>,
  rowHeight: number,
): void {
  const head = useRef<string | undefined>(undefined)
  useLayoutEffect(() => {
    const former = head.current
    head.current = items[0] === undefined ? undefined : idOf(items[0])
    const node = element.current
    if (!anchored || node === null || former === undefined || node.scrollTop < rowHeight) return
    const moved = items.findIndex((item) => idOf(item) === former)
    if (moved > 0) node.scrollTop += moved * rowHeight
  })
}
