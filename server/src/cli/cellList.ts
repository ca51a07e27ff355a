/**
 * Reads the list of cells of a command, from `--cells` or HOLDFAST_CELLS. Cells are independent
 * brokers or clusters, each with its own part of the keys. The client sends each request to the
 * cell of its key.
 *
 * The slot of a key is a hash, which selects the cell of the key. Each cell has at least one slot.
 */
import { cellOfSlot, redactUrl, slotCount, slotOf } from '@holdfast/shared'
import { Exit, exitCodes } from './exitCodes.js'
import { escapeText } from './output.js'

/** The URLs of the brokers of each cell. The first list has the brokers of cell 1. */
export type CellList = readonly (readonly string[])[]

/** The options that say where the brokers are. */
export interface AddressFlags {
  readonly url?: readonly string[] | undefined
  readonly cells?: string | undefined
}

/** The form of a list, for help and error messages. */
export const cellListForm = '"URL,URL;URL,URL", with a semicolon between two cells'

/**
 * Returns the cells of `--cells`, or of HOLDFAST_CELLS if neither `--cells` nor `--url` is given.
 * If there is no list of cells, returns undefined: the command then uses one broker or cluster.
 *
 * @throws {Exit} 64 if the list is wrong, if both options are given, or if neither is given and
 *   both HOLDFAST_URL and HOLDFAST_CELLS are set.
 */
export function cellsFrom({ url, cells }: AddressFlags): CellList | undefined {
  const { HOLDFAST_CELLS = '', HOLDFAST_URL = '' } = process.env
  if (cells !== undefined) {
    if (url === undefined) return parseCells(cells, '--cells')
    throw new Exit(
      exitCodes.usage,
      'Both a URL and --cells are given: give --cells for several cells, or a URL for one broker',
    )
  }
  if (url !== undefined || HOLDFAST_CELLS.trim() === '') return undefined
  if (HOLDFAST_URL === '') return parseCells(HOLDFAST_CELLS, 'HOLDFAST_CELLS')
  throw new Exit(
    exitCodes.usage,
    'Both HOLDFAST_URL and HOLDFAST_CELLS are set: unset one of them, or give --url or --cells',
  )
}

/**
 * Parses and checks a list of cells.
 *
 * @param source The option or the variable that has the list, for error messages.
 */
function parseCells(text: string, source: string): CellList {
  const cells = text.split(';').map((list) => list.split(',').map((url) => url.trim()))
  const cellOfUrl = new Map<string, number>()
  if (cells.length > slotCount) {
    throw wrongList(source, `has ${cells.length} cells: the maximum is ${slotCount}`)
  }
  for (const [index, urls] of cells.entries()) {
    for (const url of urls) checkUrl(url, index + 1, cellOfUrl, source)
  }
  return cells
}

/**
 * Checks one URL of a cell.
 *
 * @param cell The number of the cell, from 1.
 * @param cellOfUrl The cell of each URL that was checked before. This function adds the URL.
 * @throws {Exit} 64 if the URL is invalid, or is in two cells.
 */
function checkUrl(url: string, cell: number, cellOfUrl: Map<string, number>, source: string): void {
  if (url === '') {
    throw wrongList(source, `has an empty URL in cell ${cell}: write ${cellListForm}`)
  }
  const shownUrl = escapeText(redactUrl(url))
  if (!/^wss?:\/\//i.test(url) || !URL.canParse(url) || url.includes('#')) {
    throw wrongList(
      source,
      `has "${shownUrl}" in cell ${cell}: a URL begins with ws:// or wss:// and has no fragment (#)`,
    )
  }
  // The same URL twice in one cell does no harm.
  const earlierCell = cellOfUrl.get(url)
  if (earlierCell !== undefined && earlierCell !== cell) {
    throw wrongList(source, `has ${shownUrl} in cell ${earlierCell} and in cell ${cell}`)
  }
  cellOfUrl.set(url, cell)
}

function wrongList(source: string, problem: string): Exit {
  return new Exit(exitCodes.usage, `The list of cells in ${source} ${problem}`)
}

/** The URLs of the cell to which the key belongs. Cells are numbered from 1. */
export function urlsOfKey(cells: CellList, key: string): readonly string[] {
  return cells[cellOfSlot(slotOf(key), cells.length) - 1]!
}

/**
 * Checks that the keys of one lock have the same slot, so that one cell serves all of them. Keys
 * with the same tag (a text in braces) have the same slot.
 *
 * @throws {Exit} 64 if two keys have different slots
 */
export function checkSameSlot(keys: readonly string[]): void {
  const [first = '', ...others] = keys
  const strayKey = others.find((key) => slotOf(key) !== slotOf(first))
  if (strayKey === undefined) return
  throw new Exit(
    exitCodes.usage,
    `The keys ${escapeText(first)} and ${escapeText(strayKey)} may be in different cells: ` +
      'give all keys of the lock the same tag, such as {order:42}',
  )
}
