/**
 * Histories of one exclusive lock, as its users saw the lock, and two oracles that check such a
 * history. The first checks the fences, which is quick and names the violations. The second
 * searches for a linear order of all operations and does not rely on fences.
 */

/** One use of the lock. Times are ns on one common clock; undefined: the event never happened. */
export interface Tenure {
  readonly process: string
  /** When the process requested the lock, and when it received the answer. */
  readonly requestedAt: bigint
  readonly grantedAt: bigint
  readonly fence: number
  /**
   * When the process gave up the lock: it requested the unlock, learned of the loss, or was killed
   * or paused.
   */
  readonly givenUpAt: bigint
  /** When the unlock was confirmed; undefined if the lock ended in another way. */
  readonly unlockConfirmedAt: bigint | undefined
}

/**
 * The violations in a history, by its fences. Each lock must be given up before the next grant, no
 * fence may repeat, and a request after a grant must get a higher fence.
 */
export function findFenceViolations(history: readonly Tenure[]): string[] {
  const faults: string[] = []
  const byFence = [...history].sort((a, b) => a.fence - b.fence)
  for (const [i, tenure] of byFence.entries()) {
    const former = byFence[i - 1]
    if (former === undefined) continue
    const names = `${former.process} ${former.fence} and ${tenure.process} ${tenure.fence}`
    if (former.fence === tenure.fence) faults.push(`${names}: the same fence twice`)
    if (former.givenUpAt >= tenure.grantedAt) faults.push(`${names}: both held it`)
    if (tenure.grantedAt < former.requestedAt) faults.push(`${names}: fences against time`)
  }
  return faults
}

interface Operation {
  readonly kind: 'acquire' | 'release'
  readonly tenure: number
  readonly from: bigint
  readonly to: bigint
}

const never = 2n ** 63n

/**
 * Whether there is a linear order of all operations, with each operation between its request and
 * its answer. Searches all orders and remembers visited states. Suits some hundred operations with
 * little concurrency.
 */
export function isLinearizable(history: readonly Tenure[]): boolean {
  const operations = history
    .flatMap((tenure, i): Operation[] => [
      { kind: 'acquire', tenure: i, from: tenure.requestedAt, to: tenure.grantedAt },
      { kind: 'release', tenure: i, from: tenure.givenUpAt, to: tenure.unlockConfirmedAt ?? never },
    ])
    .sort((a, b) => (a.from < b.from ? -1 : 1))
  const seen = new Set<string>()
  const done = operations.map(() => false)
  let holder = -1
  const search = (left: number): boolean => {
    if (left === 0) return true
    const place = `${done.map(Number).join('')}${holder}`
    if (seen.has(place)) return false
    seen.add(place)
    const before = holder
    for (const [i, operation] of operations.entries()) {
      if (done[i] || !isPossible(operation, holder) || !isNext(operation, operations, done))
        continue
      done[i] = true
      holder = operation.kind === 'acquire' ? operation.tenure : -1
      if (search(left - 1)) return true
      holder = before
      done[i] = false
    }
    return false
  }
  return search(operations.length)
}

function isPossible({ kind, tenure }: Operation, holder: number): boolean {
  return kind === 'acquire' ? holder === -1 : holder === tenure
}

/** Whether none of the remaining operations had ended before this operation began. */
function isNext(
  operation: Operation,
  operations: readonly Operation[],
  done: readonly boolean[],
): boolean {
  return !operations.some((other, i) => !done[i] && other.to < operation.from)
}
