/**
 * Groups the requests that wait for a key, so that the page stays readable with many waiters. The
 * requests of a group have the same kind (mode, permits, number of keys and so on). The names of
 * their sessions differ only in numbers, such as `worker-1` and `worker-2`.
 */
import type { WaitingInfo } from '@holdfast/client'

export interface WaiterGroup {
  /**
   * The common name of the sessions, with `…` for each number; the full name if the group has only
   * one request. Undefined for sessions without a name.
   */
  readonly label: string | undefined
  /** The first request of the group. */
  readonly first: WaitingInfo
  readonly count: number
}

/** The groups of the waiting requests, in the order of their first requests. */
export function waiterGroups(waiting: readonly WaitingInfo[]): WaiterGroup[] {
  const groups = new Map<string, { label: string | undefined; first: WaitingInfo; count: number }>()
  for (const request of waiting) {
    const { mode, permits, keyCount, once, election, upgrade } = request
    const groupId = JSON.stringify([
      labelOf(request),
      mode,
      permits,
      keyCount,
      once,
      election,
      upgrade,
    ])
    const group = groups.get(groupId)
    if (group === undefined)
      groups.set(groupId, { label: labelOf(request), first: request, count: 1 })
    else group.count++
  }
  // A group of one request has the full name of the session as its label.
  return [...groups.values()].map((group) =>
    group.count === 1 ? { ...group, label: group.first.name } : group,
  )
}

/** The name of the session of a request, with `…` for each number. */
function labelOf({ name }: WaitingInfo): string | undefined {
  return name?.replace(/\d+/g, '…')
}
