/**
 * Limits how many upgrades happen in each second, for each address and in total. An upgrade is the
 * HTTP request with which a WebSocket begins.
 *
 * All addresses share the total. Addresses that connect again and again must not keep other clients
 * out. So when such addresses have used up the total, an address without an upgrade in the last
 * second may still upgrade. This upgrade is taken from the total of the next second, so the total
 * holds on average.
 */
import { addressGroup } from '../config/addresses.js'
import { type BrokerLimits, off } from '../config/limits.js'
import { TokenBucket, TokenBuckets } from './tokenBuckets.js'

type Limits = Pick<BrokerLimits, 'connectionsPerSecond' | 'connectionsPerSecondPerAddress'>

/** How long an upgrade counts as recent, in ms. */
const windowMs = 1_000
/** The group of all Unix sockets; the other groups are those of {@link addressGroup}. */
const unixSockets = ''

export class UpgradeRates {
  readonly #total: TokenBucket | undefined
  readonly #perAddress: TokenBuckets | undefined
  /** The time of the last allowed upgrade of each recent group; the oldest time first. */
  readonly #lastUpgradeAt = new Map<string, number>()
  /**
   * How many repeats were counted recently. A repeat is an upgrade less than a second after another
   * upgrade of the same address. The number decays exponentially within about a second. Each
   * upgrade beyond the total uses up one repeat.
   */
  #repeats = 0
  #decayedAt: number

  /**
   * @param now The time of a monotonic clock, in ms. {@link tryConsume} needs the same clock.
   */
  constructor({ connectionsPerSecond, connectionsPerSecondPerAddress }: Limits, now: number) {
    const [total, perAddress] = [connectionsPerSecond, connectionsPerSecondPerAddress]
    this.#total = total === off ? undefined : new TokenBucket(total, total, now)
    this.#perAddress = perAddress === off ? undefined : new TokenBuckets(perAddress)
    this.#decayedAt = now
  }

  /**
   * Counts an upgrade.
   *
   * @param address Undefined for a Unix socket, which has no limit per address.
   * @returns The limit that the upgrade exceeds; undefined if the upgrade is allowed.
   */
  tryConsume(address: string | undefined, now: number): keyof Limits | undefined {
    const group = address === undefined ? unixSockets : addressGroup(address)
    // Check the limit of the address first, so that an upgrade which this limit refuses does not
    // use up the total.
    if (group !== unixSockets && this.#perAddress?.tryConsume(group, now) === false) {
      return 'connectionsPerSecondPerAddress'
    }
    if (this.#total === undefined) return undefined
    this.#forgetOld(now)
    const isRepeat = this.#lastUpgradeAt.has(group)
    if (this.#total.tryConsume(now)) {
      if (isRepeat) this.#repeats++
    } else {
      // Each recent repeat lets one address without a recent upgrade exceed the total.
      if (isRepeat || this.#repeats < 1) return 'connectionsPerSecond'
      this.#repeats--
      // Takes this upgrade from the total of the next second.
      this.#total.overdraw()
    }
    // Delete the address first, so that it becomes the last address in the map.
    this.#lastUpgradeAt.delete(group)
    this.#lastUpgradeAt.set(group, now)
    return undefined
  }

  /** Lets the number of repeats decay, and forgets the addresses whose last upgrade is too old. */
  #forgetOld(now: number): void {
    this.#repeats *= Math.exp((this.#decayedAt - now) / windowMs)
    this.#decayedAt = now
    // The oldest times come first, so the loop ends at the first time within the window.
    for (const [group, at] of this.#lastUpgradeAt) {
      if (now - at < windowMs) break
      this.#lastUpgradeAt.delete(group)
    }
  }
}
