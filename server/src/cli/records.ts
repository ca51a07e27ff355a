/**
 * Shows barriers and kept results for `holdfast ls`, `show` and `top`. At a barrier, callers wait
 * until a given number of them (the parties) have arrived. With `once`, one caller of a key runs a
 * function for all callers. A kept result is the value of this function, stored for later callers.
 */
import type {
  BarrierCallInfo,
  BarrierQueryResult,
  HoldfastError,
  KeptQueryResult,
  KeptResultInfo,
} from '@holdfast/client'
import type { AnySession } from './connecting.js'
import { ago, escapeText, formatTable, sessionLabel, span } from './output.js'

/** The table shows the names of at most this many sessions for each barrier. */
const maxNamesInTable = 3

/** The barriers and kept results that a query found, with their counts. */
export type Records = BarrierQueryResult & KeptQueryResult

/** The keys that a query covers, and the maximum length of each list in its answer. */
interface RecordSelection {
  readonly key?: string | undefined
  readonly prefix?: string | undefined
  readonly limit?: number | undefined
}

/**
 * Reads barriers and kept results. Both lists are empty if the broker has an earlier version, which
 * knows neither.
 */
export async function queryRecords(
  session: AnySession,
  selection: RecordSelection,
): Promise<Records> {
  const [barriers, results] = await Promise.all([
    session.query({ ...selection, kind: 'barriers' }).catch(ignoreOlderBroker),
    session.query({ ...selection, kind: 'results' }).catch(ignoreOlderBroker),
  ])
  return { arrived: [], arrivedCount: 0, kept: [], keptCount: 0, ...barriers, ...results }
}

/**
 * Handles the error of a broker of an earlier version, which refuses the unknown field `kind`.
 * Throws every other error.
 */
function ignoreOlderBroker(error: HoldfastError): undefined {
  if (error.code !== 'BAD_MESSAGE') throw error
}

/** A barrier with those of its waiting calls that the query returned, in order of arrival. */
export interface ListedBarrier extends Pick<BarrierCallInfo, 'key' | 'parties' | 'waiting'> {
  readonly calls: readonly BarrierCallInfo[]
}

/** Groups calls by barrier, in the order of the keys. */
export function barriersOf(arrived: readonly BarrierCallInfo[]): ListedBarrier[] {
  const byKey = new Map<string, BarrierCallInfo[]>()
  for (const call of arrived) {
    const calls = byKey.get(call.key)
    if (calls === undefined) byKey.set(call.key, [call])
    else calls.push(call)
  }
  return [...byKey.values()]
    .map((calls) => {
      // Each call has the counts of its whole barrier.
      const { key, parties, waiting } = calls[0]!
      return { key, parties, waiting, calls }
    })
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** `3 of 4`: how many parties of a barrier wait. */
export function partiesText({ waiting, parties }: Pick<ListedBarrier, 'waiting' | 'parties'>) {
  return `${waiting} of ${parties}`
}

/** The table of the barriers at which the calls wait. */
export function barrierTable(arrived: readonly BarrierCallInfo[]): Promise<string[]> {
  const rows = barriersOf(arrived).map((barrier) => [
    barrier.key,
    partiesText(barrier),
    ago(barrier.calls[0]!.since),
    waitersText(barrier),
  ])
  // The column FIRST FOR shows how long the first caller has waited.
  return formatTable(['BARRIER', 'WAITING', 'FIRST FOR', 'SESSIONS'], rows)
}

/** Names the first sessions that wait at a barrier. */
export function waitersText({ calls, waiting }: ListedBarrier): string {
  const names = calls.slice(0, maxNamesInTable).map(sessionLabel)
  const unlistedCount = waiting - names.length
  return unlistedCount > 0 ? `${names.join(', ')} and ${unlistedCount} more` : names.join(', ')
}

/** The table of kept results. */
export function keptTable(kept: readonly KeptResultInfo[]): Promise<string[]> {
  const rows = [...kept]
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, size, since, remaining, fence }) => [
      key,
      String(size),
      ago(since),
      remaining === undefined ? '-' : span(remaining),
      String(fence),
    ])
  return formatTable(['KEPT RESULT', 'SIZE', 'AGE', 'TIME LEFT', 'FENCE'], rows)
}

/** The lines of `show` about the barrier and the kept result of a key. */
export function recordLines({ arrived, kept }: Records): string[] {
  const lines: string[] = []
  for (const barrier of barriersOf(arrived)) {
    lines.push(`barrier: ${partiesText(barrier)} parties wait`)
    for (const [i, call] of barrier.calls.entries()) {
      const waited = `has waited for ${ago(call.since)}, session ${call.session}`
      lines.push(`${i + 1}. ${sessionLabel(call)} ${waited}`)
    }
    const unlistedCount = barrier.waiting - barrier.calls.length
    if (unlistedCount > 0) lines.push(`... and ${unlistedCount} more parties wait`)
  }
  for (const result of kept) lines.push(keptLine(result))
  return lines
}

function keptLine({ size, since, keep, remaining, fence }: KeptResultInfo): string {
  // `remaining` is undefined if another broker of the cluster measures the time.
  const remainingText =
    remaining === undefined ? `kept for ${span(keep)}` : `${span(remaining)} left`
  return escapeText(
    `kept result: ${size} characters of JSON, from ${ago(since)} ago, ${remainingText}, fence ${fence}`,
  )
}
