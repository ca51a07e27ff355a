/**
 * Gathers the data of the page "Coordination":
 * - elections with their leaders
 * - barriers (keys at which calls wait until enough calls have arrived), with these calls
 * - scopes (each scope is one logical task of a session) with their locks and waiting requests
 */
import type {
  BarrierCallInfo,
  HeldInfo,
  LockStats,
  RefusedDeadlock,
  WaitingInfo,
} from '@holdfast/client'
import type { KeyRow } from './lockModel.js'
import type { SessionRow } from './sessionRows.js'

/** An election that has a leader or candidates. */
export interface ElectionRow {
  /** The key of the election. */
  readonly key: string
  readonly leader: HeldInfo | undefined
  /** How many candidates wait. */
  readonly candidates: number
}

/** The elections, in the order of their keys. */
export function electionsIn(rows: Iterable<KeyRow>): ElectionRow[] {
  const elections: ElectionRow[] = []
  for (const { key, held, waiting } of rows) {
    const leader = held.find(({ election }) => election)
    const candidates = waiting.filter(({ election }) => election).length
    if (leader !== undefined || candidates > 0) elections.push({ key, leader, candidates })
  }
  return elections.sort(byKey)
}

/** A barrier at which calls wait. */
export interface BarrierRow {
  readonly key: string
  /** How many calls must wait before the barrier lets them go on. */
  readonly parties: number
  /** How many calls wait now. */
  readonly waiting: number
  /** The first calls that the broker listed, in order of arrival. */
  readonly calls: readonly BarrierCallInfo[]
  /** How many waiting calls are not in `calls`. */
  readonly hiddenCalls: number
}

/**
 * The barriers, in the order of their keys.
 *
 * @param maxCalls The maximum number of calls that one row lists. The broker may list fewer calls.
 */
export function barriersIn(arrived: readonly BarrierCallInfo[], maxCalls: number): BarrierRow[] {
  const byBarrier = new Map<string, BarrierCallInfo[]>()
  for (const call of arrived) {
    const calls = byBarrier.get(call.key)
    if (calls === undefined) byBarrier.set(call.key, [call])
    else calls.push(call)
  }
  return [...byBarrier.values()]
    .map((listed) => {
      const { key, parties, waiting } = listed[0] as BarrierCallInfo
      const calls = listed.slice(0, maxCalls)
      return { key, parties, waiting, calls, hiddenCalls: waiting - calls.length }
    })
    .sort(byKey)
}

/** A scope that holds a lock or waits for a lock. */
export interface ScopeRow {
  /** The id of the session that has the scope. */
  readonly session: string
  /** The name of the session. */
  readonly name: string | undefined
  /** The number that the client chose for the scope. */
  readonly scope: number
  readonly holds: readonly HeldInfo[]
  readonly awaits: readonly WaitingInfo[]
}

/** The scopes that wait, the longest wait first, and then the scopes that do not wait. */
export function scopesIn(sessions: Iterable<SessionRow>): ScopeRow[] {
  const scopes: ScopeRow[] = []
  for (const { id: session, name, holds, awaits } of sessions) {
    const scopeNumbers = new Set([...holds, ...awaits].map(({ scope }) => scope))
    for (const scope of scopeNumbers) {
      if (scope === undefined) continue
      const isOfScope = (record: HeldInfo | WaitingInfo) => record.scope === scope
      const records = { holds: holds.filter(isOfScope), awaits: awaits.filter(isOfScope) }
      scopes.push({ session, name, scope, ...records })
    }
  }
  return scopes.sort((a, b) => waitStartOf(a) - waitStartOf(b))
}

/**
 * When the request of a scope began to wait; infinite if no request waits. A scope has at most one
 * waiting request, so if the request is for several keys, all records have the same time.
 */
function waitStartOf({ awaits }: ScopeRow): number {
  return awaits[0]?.since ?? Number.POSITIVE_INFINITY
}

/**
 * The refused deadlocks that the broker keeps, the newest first. Such a deadlock is a cycle of
 * requests that would wait for each other, so the broker refused one of the requests. A broker of
 * an earlier version sends the newest deadlock only.
 */
export function refusedDeadlocksIn(stats: LockStats | undefined): readonly RefusedDeadlock[] {
  const newest = stats?.newestDeadlock
  return stats?.deadlocks ?? (newest === undefined ? [] : [newest])
}

/** The keys of refused deadlocks. The broker sends only the keys that the operator may query. */
export function keysOfDeadlocks(deadlocks: readonly RefusedDeadlock[]): ReadonlySet<string> {
  return new Set(
    deadlocks.flatMap(({ cycle }) => cycle.flatMap(({ key }) => (key === undefined ? [] : [key]))),
  )
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : 1
}
