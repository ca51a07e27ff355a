/**
 * The exclusion check: an independent account of who holds what, kept by the side that is granted.
 * It has to be told of a release before the release is sent, else it would see overlaps that are
 * none.
 */
import type { LockMode } from '@holdfast/shared'

interface Holders {
  exclusive: number
  shared: number
  fence: number
}

export class Exclusion {
  readonly #holders = new Map<string, Holders>()
  #grants = 0
  #violations = 0

  get grants(): number {
    return this.#grants
  }

  /** Grants beside an incompatible lock, and grants with a fence that did not rise. */
  get violations(): number {
    return this.#violations
  }

  /** @param fence Undefined for a service that has none. */
  granted(key: string, fence: number | undefined, mode: LockMode = 'exclusive'): void {
    this.#grants++
    let holders = this.#holders.get(key)
    if (holders === undefined) {
      holders = { exclusive: 0, shared: 0, fence: 0 }
      this.#holders.set(key, holders)
    }
    const alone = holders.exclusive === 0 && (mode === 'shared' || holders.shared === 0)
    // Grants to readers reach several sessions, in no certain order between them.
    const risen = fence === undefined || fence > holders.fence || mode === 'shared'
    if (!alone || !risen) this.#violations++
    holders[mode]++
    holders.fence = Math.max(holders.fence, fence ?? 0)
  }

  released(key: string, mode: LockMode = 'exclusive'): void {
    const holders = this.#holders.get(key)
    if (holders !== undefined) holders[mode]--
  }
}
