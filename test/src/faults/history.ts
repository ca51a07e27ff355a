/**
 * Histories of one lock, as its users saw the lock, and oracles (functions that find violations in
 * such a history). `findFenceViolations` checks the fences, the numbers that rise with every grant;
 * it is quick and lists the violations. `isLinearizable` searches for a linear order of all
 * operations and does not rely on fences.
 */

/** One use of the lock. All times are ns on one common clock. */
export interface Tenure {
  readonly process: string
  /** When the process requested the lock. */
  readonly requestedAt: bigint
  /** When the process received the grant. */
  readonly grantedAt: bigint
  readonly fence: number
  /**
   * When the process gave up the lock: it requested the unlock, learned of the loss, or was killed
   * or paused.
   */
  readonly givenUpAt: bigint
  /** When the unlock was confirmed; undefined if the lock ended in another way. */
  readonly unlockConfirmedAt: bigint | undefined
  /** The permits of the lock; undefined for an exclusive lock or for one permit. */
  readonly permits?: number | undefined
}

/**
 * Compares tenures with neighbouring fences, and returns the violations. Each lock must be given up
 * before the next grant, no fence may repeat, and a request after a grant must get a higher fence.
 */
export function findFenceViolations(history: readonly Tenure[]): string[] {
  const violations: string[] = []
  const byFence = [...history].sort((a, b) => a.fence - b.fence)
  for (const [i, tenure] of byFence.entries()) {
    const previous = byFence[i - 1]
    if (previous === undefined) continue
    const names = `${previous.process} ${previous.fence} and ${tenure.process} ${tenure.fence}`
    if (previous.fence === tenure.fence) violations.push(`${names}: the same fence twice`)
    if (previous.givenUpAt >= tenure.grantedAt) violations.push(`${names}: both held the lock`)
    // The previous tenure has the lower fence, so its request must not come after this grant.
    if (tenure.grantedAt < previous.requestedAt)
      violations.push(`${names}: the later request has the lower fence`)
  }
  return violations
}

/**
 * Returns the violations in a history of locks with permits. No fence may repeat, and at no time
 * may the users together hold more permits than the capacity.
 */
export function findPermitsViolations(history: readonly Tenure[], capacity: number): string[] {
  const violations: string[] = []
  const fences = new Set<number>()
  for (const { fence, process } of history) {
    if (fences.has(fence)) violations.push(`${process} ${fence}: the same fence twice`)
    fences.add(fence)
  }
  const changes = history
    // A lock that was lost before its process received the grant was never used.
    .filter(({ grantedAt, givenUpAt }) => grantedAt < givenUpAt)
    .flatMap(({ process, fence, grantedAt, givenUpAt, permits = 1 }) => {
      const name = `${process} ${fence}`
      return [
        { at: grantedAt, permits, name },
        { at: givenUpAt, permits: -permits, name },
      ]
    })
    // If a release and a grant have the same time, the release comes first.
    .sort((a, b) => (a.at === b.at ? a.permits - b.permits : a.at < b.at ? -1 : 1))
  let heldPermits = 0
  for (const { permits, name } of changes) {
    heldPermits += permits
    if (permits > 0 && heldPermits > capacity)
      violations.push(`${name}: ${heldPermits} permits were held, and the capacity is ${capacity}`)
  }
  return violations
}

/**
 * Finds overlaps by the times alone: returns each tenure that overlaps an earlier tenure, together
 * with one such tenure. The acquires and releases of an exclusive lock have a linear order exactly
 * if no tenures overlap. In this order, each release takes effect when the lock is given up, and
 * each acquire just before the grant.
 */
export function findOverlaps(history: readonly Tenure[]): string[] {
  const violations: string[] = []
  const byGrant = [...history].sort((a, b) => (a.grantedAt < b.grantedAt ? -1 : 1))
  let lastToEnd: Tenure | undefined
  for (const tenure of byGrant) {
    if (lastToEnd !== undefined && lastToEnd.givenUpAt >= tenure.grantedAt) {
      const names = `${lastToEnd.process} ${lastToEnd.fence} and ${tenure.process} ${tenure.fence}`
      violations.push(`${names}: both held the lock`)
    }
    if (lastToEnd === undefined || tenure.givenUpAt > lastToEnd.givenUpAt) lastToEnd = tenure
  }
  return violations
}

/** The acquire or the release of a tenure. */
interface Operation {
  readonly kind: 'acquire' | 'release'
  /** The index of the tenure in the history. */
  readonly tenureIndex: number
  /** The earliest time at which the operation may have taken effect. */
  readonly earliest: bigint
  /** The latest time at which the operation may have taken effect. */
  readonly latest: bigint
}

/** Later than every time in ns. */
const never = 2n ** 63n

/**
 * Returns whether a linear order of all operations exists in which each operation is between its
 * request and its answer. The function searches all orders and remembers visited states. The search
 * is fast enough for some hundred operations with little concurrency.
 */
export function isLinearizable(history: readonly Tenure[]): boolean {
  const operations = history
    .flatMap((tenure, i): Operation[] => [
      { kind: 'acquire', tenureIndex: i, earliest: tenure.requestedAt, latest: tenure.grantedAt },
      {
        kind: 'release',
        tenureIndex: i,
        earliest: tenure.givenUpAt,
        latest: tenure.unlockConfirmedAt ?? never,
      },
    ])
    // In this order, the search needs few attempts.
    .sort((a, b) => (a.earliest < b.earliest ? -1 : 1))
  const visited = new Set<string>()
  const done = operations.map(() => false)
  /** The index of the tenure that holds the lock; -1 if no tenure holds the lock. */
  let holder = -1
  const search = (remaining: number): boolean => {
    if (remaining === 0) return true
    const state = `${done.map(Number).join('')}${holder}`
    if (visited.has(state)) return false
    visited.add(state)
    const previousHolder = holder
    for (const [i, operation] of operations.entries()) {
      if (done[i] || !isPossible(operation, holder) || !canBeNext(operation, operations, done))
        continue
      done[i] = true
      holder = operation.kind === 'acquire' ? operation.tenureIndex : -1
      if (search(remaining - 1)) return true
      holder = previousHolder
      done[i] = false
    }
    return false
  }
  return search(operations.length)
}

/**
 * Whether the operation is possible while the tenure `holder` holds the lock (-1: no tenure holds
 * it).
 */
function isPossible({ kind, tenureIndex }: Operation, holder: number): boolean {
  return kind === 'acquire' ? holder === -1 : holder === tenureIndex
}

/** Whether no remaining operation must have taken effect before this operation. */
function canBeNext(
  operation: Operation,
  operations: readonly Operation[],
  done: readonly boolean[],
): boolean {
  return !operations.some((other, i) => !done[i] && other.latest < operation.earliest)
}
