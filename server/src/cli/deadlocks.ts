/**
 * Shows refused deadlocks for `holdfast ls`, `show`, `top` and `stats`. A deadlock is a cycle of
 * requests that wait for each other. The broker refuses the request that would complete the cycle,
 * and keeps the newest 20 cycles.
 */
import type { HoldfastError, RefusedDeadlock } from '@holdfast/client'
import type { AnySession } from './connecting.js'
import { ago, escapeText, formatTable, sessionLabel } from './output.js'

/**
 * Reads the refused deadlocks whose cycle has a selected key, the newest first. The list is empty
 * for a broker of an earlier version, which does not keep refused deadlocks.
 */
export async function readDeadlocks(
  session: AnySession,
  selects: (key: string) => boolean,
): Promise<readonly RefusedDeadlock[]> {
  const { deadlocks = [] } = await session.stats()
  return deadlocks.filter(({ cycle }) => cycle.some(({ key }) => key !== undefined && selects(key)))
}

/** Returns no deadlocks if the broker forbids `stats`; throws any other error again. */
export function noneIfForbidden(error: HoldfastError): readonly RefusedDeadlock[] {
  if (error.code !== 'FORBIDDEN') throw error
  return []
}

/**
 * A deadlock as text. The request that comes first in the text is the request that the broker
 * refused: `3m ago: ann (scope 2) waits for orders, bob (scope 1) waits for stock`. A scope is one
 * logical task of a session.
 */
export function deadlockText(deadlock: RefusedDeadlock): string {
  return `${ago(deadlock.since)} ago: ${cycleText(deadlock)}`
}

function cycleText({ cycle }: RefusedDeadlock): string {
  const waits = cycle.map((waiter) => {
    const scopeText = waiter.scope === undefined ? '' : ` (scope ${waiter.scope})`
    return `${sessionLabel(waiter)}${scopeText} waits for ${escapeText(waiter.key ?? 'a hidden key')}`
  })
  return waits.join(', ')
}

/** The table of refused deadlocks. */
export function deadlockTable(deadlocks: readonly RefusedDeadlock[]): Promise<string[]> {
  const rows = deadlocks.map((deadlock) => [`${ago(deadlock.since)} ago`, cycleText(deadlock)])
  return formatTable(['DEADLOCK REFUSED', 'CYCLE'], rows)
}

/** Text for the number of refused deadlocks: `refused deadlocks: 3, the newest 2m ago`. */
export function deadlockCountText(count: number, newest: RefusedDeadlock | undefined): string {
  const newestText = newest === undefined ? '' : `, the newest ${ago(newest.since)} ago`
  return `refused deadlocks: ${count}${newestText}`
}
