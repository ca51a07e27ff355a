/**
 * The exclusion check: records which locks are held, independently of the broker, and counts grants
 * that the broker should not have made. A load must report a release before it sends the release.
 * If a load reported later, the check would count overlaps that do not exist. A fence is the number
 * of a grant; a later grant has a higher fence.
 */
/** The modes that the loads use. */
type LockMode = 'exclusive' | 'shared'

/** The numbers of holders of a key in each mode, and the highest fence so far. */
interface Holders {
  exclusive: number
  shared: number
  highestFence: number
}

export class ExclusionCheck {
  readonly #holders = new Map<string, Holders>()
  #grants = 0
  #violations = 0

  /** The number of grants that this check has seen. */
  get grants(): number {
    return this.#grants
  }

  /**
   * The number of grants that conflict with a held lock. Also counts exclusive grants whose fence
   * is not above all earlier fences of the key.
   */
  get violations(): number {
    return this.#violations
  }

  /** Records a grant. @param fence Undefined for a service without fences. */
  granted(key: string, fence: number | undefined, mode: LockMode = 'exclusive'): void {
    this.#grants++
    let holders = this.#holders.get(key)
    if (holders === undefined) {
      holders = { exclusive: 0, shared: 0, highestFence: 0 }
      this.#holders.set(key, holders)
    }
    const isCompatible = holders.exclusive === 0 && (mode === 'shared' || holders.shared === 0)
    // Shared grants of a key may reach this check in another order than the broker made them.
    const isFenceValid = fence === undefined || fence > holders.highestFence || mode === 'shared'
    if (!isCompatible || !isFenceValid) this.#violations++
    holders[mode]++
    holders.highestFence = Math.max(holders.highestFence, fence ?? 0)
  }

  /** Records a release, before the load sends the release. */
  released(key: string, mode: LockMode = 'exclusive'): void {
    const holders = this.#holders.get(key)
    if (holders !== undefined) holders[mode]--
  }
}
