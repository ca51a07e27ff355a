/**
 * Histories of elections: which values the candidates published, and which leaders the observers
 * saw. `findObservationViolations` compares both with the leaderships. No two publications of an
 * election may have the same value, so that a value shows which candidate published it and when.
 */
import type { Tenure } from './history.js'

/** A value that a candidate sent to the broker, with its campaign or as the leader. */
export interface Publication {
  readonly process: string
  readonly value: string
  /** When the candidate sent the value, in ns. */
  readonly publishedAt: bigint
  /** The fence (number of the grant); undefined if the candidate received no grant. */
  readonly fence: number | undefined
}

/** The leader that an observer saw at a time. */
export interface Observation {
  readonly observer: string
  /** When the observer saw the leader, in ns, on the same clock as the times of the leaderships. */
  readonly seenAt: bigint
  /** The fence and the value of the leader; undefined if the observer saw that no session leads. */
  readonly leader: { readonly fence: number; readonly value: string } | undefined
}

/** What happened in one election. */
export interface ElectionHistory {
  /** One tenure (use of the lock) for each leadership of which the leader received the grant. */
  readonly tenures: readonly Tenure[]
  readonly publications: readonly Publication[]
  /** The observations of one observer are in the order of their times. */
  readonly observations: readonly Observation[]
}

/**
 * Returns the violations of these rules:
 *
 * - An observer sees a value with a fence only after the leader with this fence has sent the value.
 * - The fences that an observer sees never fall.
 * - An observer sees the values of one leadership in the order of their publication.
 * - An observer sees a later leader, or no leader, only after the earlier leader has given up.
 */
export function findObservationViolations(history: ElectionHistory): string[] {
  const published = new PublishedValues(history)
  const stillLeading = stillLeadingFinder(history.tenures)
  /** The leader that each observer saw last. */
  const lastSeen = new Map<string, { fence: number; publication: Publication | undefined }>()
  return history.observations.flatMap(({ observer, seenAt, leader }) => {
    const previous = lastSeen.get(observer)
    if (leader === undefined) {
      if (previous === undefined) return []
      const seen = `${observer} saw no leader after fence ${previous.fence}`
      return stillLeading(previous.fence, seenAt).map((leading) => `${seen}, but ${leading}`)
    }
    const { fence, value } = leader
    const seen = `${observer} saw ${JSON.stringify(value)} with fence ${fence}`
    const publication = published.find(value)
    lastSeen.set(observer, { fence, publication })
    // All leaderships with a lower fence must have ended.
    const problems = stillLeading(fence - 1, seenAt).map((leading) => `but ${leading}`)
    const mismatch = published.mismatchOf(publication, fence, seenAt)
    if (mismatch !== undefined) problems.push(mismatch)
    if (previous !== undefined && fence < previous.fence)
      problems.push(`after the higher fence ${previous.fence}`)
    if (previous?.fence === fence && isBefore(publication, previous.publication))
      problems.push(`after the later value ${JSON.stringify(previous.publication?.value)}`)
    return problems.map((problem) => `${seen}, ${problem}`)
  })
}

/** Whether both publications exist, and a candidate published `a` before `b`. */
function isBefore(a: Publication | undefined, b: Publication | undefined): boolean {
  return a !== undefined && b !== undefined && a.publishedAt < b.publishedAt
}

/** Finds a publication by its value, and a leader by its fence. */
class PublishedValues {
  readonly #byValue: ReadonlyMap<string, Publication>
  readonly #leaderByFence: ReadonlyMap<number, string>

  constructor({ publications, tenures }: ElectionHistory) {
    this.#byValue = new Map(publications.map((publication) => [publication.value, publication]))
    this.#leaderByFence = new Map(tenures.map(({ fence, process }) => [fence, process]))
  }

  find(value: string): Publication | undefined {
    return this.#byValue.get(value)
  }

  /**
   * Returns why an observer must not see this value with this fence; undefined if the observer may
   * see the value.
   */
  mismatchOf(
    publication: Publication | undefined,
    fence: number,
    seenAt: bigint,
  ): string | undefined {
    if (publication === undefined) return 'which no candidate published'
    const { process, publishedAt, fence: publishedFence } = publication
    if (publishedAt > seenAt) return `which ${process} published later`
    if (publishedFence === fence) return undefined
    const leader = this.#leaderByFence.get(fence)
    if (leader !== undefined) return `with which ${leader} led, but ${process} published it`
    // No candidate received the grant with this fence. The grant may be one that `process` missed,
    // if `process` received no grant for this value, or only a later grant.
    const canBeMissedGrant = publishedFence === undefined || fence < publishedFence
    return canBeMissedGrant ? undefined : `but ${process} published it with fence ${publishedFence}`
  }
}

/**
 * Returns a function that finds a leadership with this fence or a lower fence that had not ended at
 * this time. The function returns a list: empty if all had ended, otherwise with one text about the
 * leadership that ended last.
 */
function stillLeadingFinder(tenures: readonly Tenure[]): (fence: number, at: bigint) => string[] {
  const byFence = [...tenures].sort((a, b) => a.fence - b.fence)
  let latest = byFence[0]
  /** At each index: the tenure that ended last, of all tenures up to this index. */
  const lastToEnd = byFence.map((tenure) => {
    if (latest === undefined || tenure.givenUpAt > latest.givenUpAt) latest = tenure
    return latest
  })
  return (fence, at) => {
    const last = lastToEnd[countUpTo(byFence, fence) - 1]
    if (last === undefined || last.givenUpAt <= at) return []
    return [`${last.process} still led with fence ${last.fence}`]
  }
}

/** Returns how many tenures have this fence or a lower fence. The tenures are sorted by fence. */
function countUpTo(byFence: readonly Tenure[], fence: number): number {
  let [low, high] = [0, byFence.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (byFence[middle]!.fence <= fence) low = middle + 1
    else high = middle
  }
  return low
}
