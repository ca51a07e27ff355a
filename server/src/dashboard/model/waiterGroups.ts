/**
 * Groups the requests that wait for a key, so that "who waits" stays readable with many waiters.
 * Equal waiters are requests of the same kind whose sessions have the same name but for numbers,
 * such as `worker-1` and `worker-2`.
 */
import type { WaitingInfo } from '@holdfast/client'

export interface WaiterGroup {
  /** The name with `…` for each number; undefined for sessions without a name. */
  readonly label: string | undefined
  /** The first request of the group, which stands for the kind of all. */
  readonly first: WaitingInfo
  readonly count: number
}

/** The groups of the waiting requests, in the order of their first requests. */
export function waiterGroups(waiting: readonly WaitingInfo[]): WaiterGroup[] {
  const groups = new Map<string, { label: string | undefined; first: WaitingInfo; count: number }>()
  for (const request of waiting) {
    const { mode, permits, keyCount, once, election, upgrade } = request
    const id = JSON.stringify([labelOf(request), mode, permits, keyCount, once, election, upgrade])
    const group = groups.get(id)
    if (group === undefined) groups.set(id, { label: labelOf(request), first: request, count: 1 })
    else group.count++
  }
  // A group of one keeps the name of its session.
  return [...groups.values()].map((group) =>
    group.count === 1 ? { ...group, label: group.first.name } : group,
  )
}

function labelOf({ name }: WaitingInfo): string | undefined {
  return name?.replace(/\d+/g, '…')
}
