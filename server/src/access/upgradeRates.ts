/**
 * How many upgrades may come in a second, from each address and in all. The second limit is shared
 * between addresses: when it is reached, an address that has had none in the last second goes
 * before the second upgrade of another one. So addresses that connect again and again keep no other
 * client out.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, off } from '../config/limits.js'
import { TokenBucket, TokenBuckets } from './tokenBuckets.js'

type Limits = Pick<BrokerLimits, 'connectionsPerSecond' | 'connectionsPerSecondPerAddress'>

/** How long an address is remembered, in ms. */
const windowMs = 1_000
const unixSockets = ''

export class UpgradeRates {
  readonly #all: TokenBucket | undefined
  readonly #each: TokenBuckets | undefined
  /** When an upgrade of each address was last let through, the longest ago first. */
  readonly #lastAt = new Map<string, number>()
  /** How many of the last second's were not the first of their address; it fades. */
  #repeats = 0
  #at: number

  /** @param now As for `take`, in ms of one clock that does not go back. */
  constructor({ connectionsPerSecond, connectionsPerSecondPerAddress }: Limits, now: number) {
    const [all, each] = [connectionsPerSecond, connectionsPerSecondPerAddress]
    this.#all = all === off ? undefined : new TokenBucket(all, all, now)
    this.#each = each === off ? undefined : new TokenBuckets(each)
    this.#at = now
  }

  /**
   * One more upgrade: which limit it is beyond, if any.
   *
   * @param address Undefined for a Unix socket, which has no limit of its own.
   */
  tryConsume(address: string | undefined, now: number): keyof Limits | undefined {
    const group = address === undefined ? unixSockets : addressGroup(address)
    // The address first: one that is over its share should not use up everybody's.
    if (group !== unixSockets && this.#each?.tryConsume(group, now) === false) {
      return 'connectionsPerSecondPerAddress'
    }
    if (this.#all === undefined) return undefined
    this.#fade(now)
    const isRepeat = this.#lastAt.has(group)
    if (this.#all.tryConsume(now)) {
      if (isRepeat) this.#repeats++
    } else {
      if (isRepeat || this.#repeats < 1) return 'connectionsPerSecond'
      // In the place of the next repeat: what is let through on average stays the same.
      this.#repeats--
      this.#all.overdraw()
    }
    // Anew, so that it stands behind those that were earlier.
    this.#lastAt.delete(group)
    this.#lastAt.set(group, now)
    return undefined
  }

  #fade(now: number): void {
    this.#repeats *= Math.exp((this.#at - now) / windowMs)
    this.#at = now
    for (const [group, at] of this.#lastAt) {
      if (now - at < windowMs) break
      this.#lastAt.delete(group)
    }
  }
}
