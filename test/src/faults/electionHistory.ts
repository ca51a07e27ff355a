/**
 * Histories of elections: which values the candidates published, and which leaders the observers
 * saw. `findObservationViolations` compares both with the leaderships. No two publications of an
 * election may have the same value, so that a value shows which candidate published it and when.
 */
import type { Tenure } from './history.js'

/** A value that a candidate published, when it campaigned or while it led. Times are in ns. */
export interface Publication {
  readonly process: string
  readonly value: string
  /** When the candidate sent the value. */
  readonly publishedAt: bigint
  /** The fence (number of the grant) of the leadership; undefined if no grant was received. */
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
  /** One tenure for each leadership, from the grant until the leader gave up. */
  readonly tenures: readonly Tenure[]
  readonly publications: readonly Publication[]
  /** The observations of one observer are in the order of their times. */
  readonly observations: readonly Observation[]
}

/**
 * Returns the violations in what observers saw:
 *
 * - If an observer sees a value with a fence, the leader with this fence had sent this value.
 * - An observer sees rising fences, and the values of one leadership in the order of publication.
 * - A leader has given up before an observer sees a later leader, or sees that no session leads.
 */
export function findObservationViolations(history: ElectionHistory): string[] {
  const published = new PublishedValues(history)
  const unendedAt = unendedLeadershipsOf(history.tenures)
  /** The leader that each observer saw last. */
  const lastSeen = new Map<string, { fence: number; publication: Publication | undefined }>()
  return history.observations.flatMap(({ observer, seenAt, leader }) => {
    const previous = lastSeen.get(observer)
    if (leader === undefined) {
      if (previous === undefined) return []
      const seen = `${observer} saw no leader after fence ${previous.fence}`
      return unendedAt(previous.fence, seenAt).map((leading) => `${seen}, but ${leading}`)
    }
    const { fence, value } = leader
    const seen = `${observer} saw ${JSON.stringify(value)} with fence ${fence}`
    const publication = published.find(value)
    lastSeen.set(observer, { fence, publication })
    // All leaderships with a lower fence must have ended.
    const problems = unendedAt(fence - 1, seenAt).map((leading) => `but ${leading}`)
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
  readonly #leaders: ReadonlyMap<number, string>

  constructor({ publications, tenures }: ElectionHistory) {
    this.#byValue = new Map(publications.map((publication) => [publication.value, publication]))
    this.#leaders = new Map(tenures.map(({ fence, process }) => [fence, process]))
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
    const { process, publishedAt, fence: ownFence } = publication
    if (publishedAt > seenAt) return `which ${process} published later`
    if (ownFence === fence) return undefined
    const leader = this.#leaders.get(fence)
    if (leader !== undefined) return `with which ${leader} led, but ${process} published it`
    // No candidate received the grant with this fence. The grant may have been for `process`, if
    // `process` received no grant for this value, or received only a later grant.
    const canBeEarlierGrant = ownFence === undefined || fence < ownFence
    return canBeEarlierGrant ? undefined : `but ${process} published it with fence ${ownFence}`
  }
}

/**
 * Returns a function of a fence and a time. This function returns an empty list if all leaderships
 * up to the fence had ended at the time. Otherwise the list has one text, about the leadership that
 * ended last.
 */
function unendedLeadershipsOf(tenures: readonly Tenure[]): (fence: number, at: bigint) => string[] {
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
