/**
 * A table of any length that draws only its visible rows. One row is the active row: the Tab key
 * moves the focus into this row. The arrow keys activate another row and move the focus there.
 */
// biome-ignore-all lint/a11y/useSemanticElements: an HTML table cannot leave out rows
// biome-ignore-all lint/a11y/useFocusableInteractive: the link in a row gets the focus
import type { ComponentChildren, TargetedKeyboardEvent } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'

export interface VirtualTableProps<T> {
  /** The name of the table for screen readers. */
  readonly label: string
  /** The CSS class of the table, besides `virtual`. */
  readonly cssClass: string
  readonly headings: readonly string[]
  readonly items: readonly T[]
  readonly idOf: (item: T) => string
  /** The cells of a row. Only links of the active row may be reachable with the Tab key. */
  readonly cells: (item: T, isActive: boolean) => readonly ComponentChildren[]
  /**
   * Whether the visible rows stay in place when new rows are added at the top of a scrolled table.
   */
  readonly isAnchored?: boolean | undefined
}

/** How many rows are drawn above and below the visible rows. */
const extraRows = 6
/** The height of a row if the style sheet has no `--row`, in px. */
const defaultRowHeight = 44
/** The height of a table before it is measured, in px. */
const defaultHeight = 600
/** Screen readers count rows from 1, and the headings are row 1. */
const firstRowNumber = 2

export function VirtualTable<T>(props: VirtualTableProps<T>) {
  const { label, cssClass, headings, items, idOf, cells } = props
  const table = useRef<HTMLDivElement>(null)
  const { top, height, rowHeight } = useView(table)
  const { active, setActive, onKeyDown } = useActiveRow(table, items.length, rowHeight)
  useAnchor(table, props, rowHeight)
  const firstDrawn = Math.max(0, Math.floor(top / rowHeight) - extraRows)
  const endDrawn = Math.min(items.length, Math.ceil((top + height) / rowHeight) + extraRows)
  // The list may have become shorter than the index of the active row.
  const activeIndex = Math.min(active, items.length - 1)
  const drawnRows = indicesToDraw(firstDrawn, endDrawn, activeIndex)
  return (
    <div
      class={`virtual ${cssClass}`}
      role="table"
      aria-label={label}
      aria-rowcount={items.length + 1}
      ref={table}
    >
      <div class="virtual-head" role="row" aria-rowindex={1}>
        {headings.map((heading) => (
          <span role="columnheader" key={heading}>
            {heading}
          </span>
        ))}
      </div>
      <div
        class="virtual-body"
        role="rowgroup"
        onKeyDown={onKeyDown}
        style={{ height: `${items.length * rowHeight}px` }}
      >
        {drawnRows.map((index) => {
          const item = items[index] as T
          return (
            <div
              class="virtual-row"
              role="row"
              key={idOf(item)}
              aria-rowindex={index + firstRowNumber}
              data-index={index}
              style={{ transform: `translateY(${index * rowHeight}px)` }}
              onFocusCapture={() => setActive(index)}
            >
              {cells(item, index === activeIndex).map((cell, column) => (
                <span role="cell" class={`cell cell-${column}`} key={headings[column]}>
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

/** The indices from `firstDrawn` to `endDrawn - 1`, and the index of the active row. */
function indicesToDraw(firstDrawn: number, endDrawn: number, active: number): number[] {
  const drawnRows = Array.from(
    { length: Math.max(0, endDrawn - firstDrawn) },
    (_, index) => firstDrawn + index,
  )
  // Always draw the active row. It may have the focus, which is lost if its row is removed.
  if (active >= 0 && (active < firstDrawn || active >= endDrawn)) drawnRows.push(active)
  return drawnRows
}

interface View {
  /** How far the table is scrolled, in px. */
  readonly top: number
  readonly height: number
  readonly rowHeight: number
}

/** Measures which part of the table is visible, and the height of a row, in px. */
function useView(tableRef: { current: HTMLElement | null }): View {
  const [view, setView] = useState<View>({
    top: 0,
    height: defaultHeight,
    rowHeight: defaultRowHeight,
  })
  useLayoutEffect(() => {
    const tableElement = tableRef.current
    if (tableElement === null) return
    const measure = () => {
      const rowHeight = Number.parseFloat(getComputedStyle(tableElement).getPropertyValue('--row'))
      setView({
        top: tableElement.scrollTop,
        height: tableElement.clientHeight,
        rowHeight: rowHeight || defaultRowHeight,
      })
    }
    measure()
    tableElement.addEventListener('scroll', measure, { passive: true })
    const observer = new ResizeObserver(measure)
    observer.observe(tableElement)
    return () => {
      tableElement.removeEventListener('scroll', measure)
      observer.disconnect()
    }
  }, [tableRef])
  return view
}

/**
 * For each key that moves the focus: a function from the index of the active row to the index of
 * the row to activate. The functions do not check that this row exists.
 *
 * `page` is the number of rows on one page, and `last` is the index of the last row.
 */
const moves: Readonly<Record<string, (index: number, page: number, last: number) => number>> = {
  ArrowDown: (index) => index + 1,
  ArrowUp: (index) => index - 1,
  PageDown: (index, page) => index + page,
  PageUp: (index, page) => index - page,
  Home: () => 0,
  End: (_index, _page, last) => last,
}

/**
 * Returns the index of the active row, its setter, and the handler of the keys that move the focus.
 */
function useActiveRow(tableRef: { current: HTMLElement | null }, count: number, rowHeight: number) {
  const [active, setActive] = useState(0)
  const [rowToFocus, setRowToFocus] = useState<number | undefined>(undefined)
  // A layout effect moves the focus in the same task that draws the row. In a later task, the user
  // could have pressed the next key already, and this key would be lost. The effect runs after
  // every drawing, until the row to focus is drawn.
  useLayoutEffect(() => {
    if (rowToFocus === undefined) return
    const target = tableRef.current?.querySelector(
      `[data-index="${rowToFocus}"] a, [data-index="${rowToFocus}"] button`,
    )
    if (!(target instanceof HTMLElement)) return
    target.focus({ preventScroll: true })
    setRowToFocus(undefined)
  })
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLElement>) => {
    const tableElement = tableRef.current
    const move = moves[event.key]
    if (move === undefined || tableElement === null || count === 0) return
    event.preventDefault()
    // The headings cover one row, and one row of the former page stays visible.
    const page = Math.max(1, Math.floor(tableElement.clientHeight / rowHeight) - 2)
    const nextActive = Math.min(count - 1, Math.max(0, move(active, page, count - 1)))
    setActive(nextActive)
    setRowToFocus(nextActive)
    reveal(tableElement, nextActive * rowHeight, rowHeight)
  }
  return { active, setActive, onKeyDown }
}

/**
 * Scrolls as little as possible to show a row. The headings cover the space of one row.
 */
function reveal(tableElement: HTMLElement, rowTop: number, rowHeight: number): void {
  const visibleHeight = tableElement.clientHeight - rowHeight
  if (rowTop < tableElement.scrollTop) tableElement.scrollTop = rowTop
  else if (rowTop + rowHeight > tableElement.scrollTop + visibleHeight)
    tableElement.scrollTop = rowTop + rowHeight - visibleHeight
}

/** Keeps the visible rows in place when rows are added at the top of a scrolled table. */
function useAnchor<T>(
  tableRef: { current: HTMLElement | null },
  { isAnchored, items, idOf }: VirtualTableProps<T>,
  rowHeight: number,
): void {
  const firstId = useRef<string | undefined>(undefined)
  useLayoutEffect(() => {
    const previousFirstId = firstId.current
    firstId.current = items[0] === undefined ? undefined : idOf(items[0])
    const tableElement = tableRef.current
    if (!isAnchored || tableElement === null || previousFirstId === undefined) return
    const isAtTop = tableElement.scrollTop < rowHeight
    if (isAtTop) return
    const addedRowCount = items.findIndex((item) => idOf(item) === previousFirstId)
    if (addedRowCount > 0) tableElement.scrollTop += addedRowCount * rowHeight
  })
}
