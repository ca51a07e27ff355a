/**
 * Histories of one exclusive lock, as its users saw it, and two ways to judge them: by fence, which
 * is quick and names the culprits, and by searching for a linear order of everything, which
 * believes nothing that anybody says about fences.
 */

/** One use of the lock. Times are nanoseconds on one clock for all; undefined: it never came. */
export interface Tenure {
  readonly who: string
  /** When the lock was asked for, and when the answer was there. */
  readonly asked: bigint
  readonly granted: bigint
  readonly fence: number
  /**
   * From when on it was given up: the unlock was asked for, the loss was known, or the process
   * could do nothing any more because it was killed or stopped.
   */
  readonly left: bigint
  /** When the unlock was confirmed; undefined if it was given up in another way. */
  readonly confirmed: bigint | undefined
}

/**
 * What is wrong with a history, by its fences: each was given up before the next was granted, none
 * came twice, and whoever asked after another was granted got a higher one.
 */
export function faultsByFence(history: readonly Tenure[]): string[] {
  const faults: string[] = []
  const byFence = [...history].sort((a, b) => a.fence - b.fence)
  for (const [i, tenure] of byFence.entries()) {
    const former = byFence[i - 1]
    if (former === undefined) continue
    const names = `${former.who} ${former.fence} and ${tenure.who} ${tenure.fence}`
    if (former.fence === tenure.fence) faults.push(`${names}: the same fence twice`)
    if (former.left >= tenure.granted) faults.push(`${names}: both held it`)
    if (tenure.granted < former.asked) faults.push(`${names}: fences against time`)
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
 * Whether there is an order in which all this could have happened one after the other, each thing
 * between its asking and its answer: a search over all orders, which remembers where it has been.
 * For windows of some hundred operations with little at the same time.
 */
export function isLinearizable(history: readonly Tenure[]): boolean {
  const operations = history
    .flatMap((tenure, i): Operation[] => [
      { kind: 'acquire', tenure: i, from: tenure.asked, to: tenure.granted },
      { kind: 'release', tenure: i, from: tenure.left, to: tenure.confirmed ?? never },
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

/** Nothing that is still to be done was over before this began. */
function isNext(
  operation: Operation,
  operations: readonly Operation[],
  done: readonly boolean[],
): boolean {
  return !operations.some((other, i) => !done[i] && other.to < operation.from)
}
