/**
 * Cells are independent brokers or clusters, each with its own part of the keys. This file checks
 * the options of `connect` for several cells, and makes a `CellSession`. The `CellSession` opens an
 * ordinary session with each cell, at the first call for the cell.
 */
import {
  cellText,
  type OptionNames,
  redactUrl,
  refuseUnknownOptions,
  slotCount,
} from '@holdfast/shared'
import { type BrokerUrl, connectIn } from '../connect.js'
import { type ConnectOptions, checkConnect, connectOptionNames } from '../options.js'
import { check, isObject } from '../platform/checks.js'
import type { Environment } from '../platform/environment.js'
import { CellSession } from './cellSession.js'

/**
 * The options of `connect` for several cells. There is no `signal`, because `connect` waits for no
 * session. The methods of `CellSession` open the sessions, and most of them take a signal.
 */
export interface CellConnectOptions extends Omit<ConnectOptions, 'signal'> {
  /**
   * The brokers of each cell: 1 to 1,024 lists of URLs. The first list has the brokers that were
   * started with the cell number 1, and so on. If the number or the order of the lists is wrong,
   * the brokers refuse the sessions.
   */
  readonly cells: readonly (readonly BrokerUrl[])[]
}

const cellConnectOptionNames: OptionNames<CellConnectOptions> = (() => {
  const { signal: _, ...names } = connectOptionNames
  return { ...names, cells: 1 }
})()

/** Does the work of `connect` for several cells. A test may choose the environment. */
export async function connectCellsIn(
  options: CellConnectOptions,
  environment: Environment,
): Promise<CellSession> {
  check(isObject(options) && !Array.isArray(options), 'connect needs an object with cells')
  refuseUnknownOptions('connect', options, cellConnectOptionNames)
  const { cells, token, unref = false, ...otherOptions } = options
  const count = checkCells(cells)
  for (const urls of cells) checkConnect(urls, { ...otherOptions, token, unref })
  const session = new CellSession({
    name: otherOptions.name,
    count,
    token,
    open: (cell, newestToken, signal) =>
      connectIn(
        cells[cell - 1]!,
        { ...otherOptions, token: newestToken, signal },
        environment,
        /* cell */ cellText({ number: cell, count }),
      ),
  })
  // No session is open yet. The `CellSession` applies `unref` to each session that it opens.
  return unref ? session.unref() : session
}

/**
 * Checks the list of cells, except the form of the URLs. Returns the number of cells.
 * @throws HoldfastError `INVALID_OPTION`
 */
function checkCells(cells: unknown): number {
  // The slots are divided among the cells. If there were more cells than slots, a cell would have
  // no slot, and so no keys.
  check(
    Array.isArray(cells) && cells.length >= 1 && cells.length <= slotCount,
    `cells must be an array of 1 to ${slotCount} arrays of URLs`,
  )
  /** For each URL, the index of its cell. */
  const indexByUrl = new Map<string, number>()
  for (const [index, urls] of cells.entries()) {
    check(
      Array.isArray(urls) && urls.length > 0,
      `cell ${index + 1} must be an array of one or more URLs`,
    )
    for (const url of urls) {
      const text = String(url)
      const formerIndex = indexByUrl.get(text)
      // The message is built even if the check passes. `formerIndex` may then be undefined.
      check(
        formerIndex === undefined || formerIndex === index,
        `the URL ${redactUrl(text)} is in cell ${(formerIndex ?? 0) + 1} and in cell ${index + 1}`,
      )
      indexByUrl.set(text, index)
    }
  }
  return cells.length
}
