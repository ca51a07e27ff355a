/**
 * Retry strategies: after which delays a session whose connection has dropped reconnects.
 *
 * Only the reconnector uses a strategy. A lock request needs no retries, because the request waits
 * in the broker's queue until the lock is granted.
 */
import { maxDurationMs, type OptionNames, refuseUnknownOptions } from '@holdfast/shared'
import { check, checkFunction } from '../platform/checks.js'
import { random as platformRandom } from '../platform/environment.js'

/**
 * Delays in ms. When the connection has dropped, the session waits for the first delay, and then
 * tries the URL of each broker once. If every try fails, the next delay follows. After the last
 * delay and its tries, the session ends. The iterable may be endless.
 *
 * Each drop begins with the first delay of a new iterator, with one exception. If the connection
 * was open for less than 1 s, the delays of the present iterator continue.
 */
export type RetryStrategy = Iterable<number>

/** The options that all strategies of this file have. */
export interface RetryLimits {
  /** How many delays the strategy has, an integer from 0. Default: no limit. */
  readonly maxRetries?: number | undefined
  /** The longest delay, in ms, at most 2^31 - 1. Default: 2^31 - 1. */
  readonly max?: number | undefined
  /**
   * `'full'`: each delay is multiplied by a random number from 0 to 1, so that many clients do not
   * reconnect at the same time. Default `'none'`.
   */
  readonly jitter?: 'full' | 'none' | undefined
}

/** Each object lists the names of an interface's options; the value 1 has no meaning. */
const limitNames: OptionNames<RetryLimits> = { maxRetries: 1, max: 1, jitter: 1 }
const fixedOptionNames: OptionNames<FixedIntervalOptions> = { interval: 1, ...limitNames }
const exponentialOptionNames: OptionNames<ExponentialBackoffOptions> = {
  initial: 1,
  multiplier: 1,
  ...limitNames,
}
const linearOptionNames: OptionNames<LinearBackoffOptions> = {
  initial: 1,
  increment: 1,
  ...limitNames,
}

export interface FixedIntervalOptions extends RetryLimits {
  /** Each delay, in ms. */
  readonly interval: number
}

export interface ExponentialBackoffOptions extends RetryLimits {
  /** The first delay, in ms. */
  readonly initial: number
  /** A factor of at least 1: each delay is the previous delay times this factor. Default 2. */
  readonly multiplier?: number | undefined
}

export interface LinearBackoffOptions extends RetryLimits {
  /** The first delay, in ms. */
  readonly initial: number
  /** How much longer each delay is than the delay before, in ms. */
  readonly increment: number
}

/**
 * Makes a strategy with equal delays: `interval, interval, interval, …`
 * @throws HoldfastError `INVALID_INTERVAL` or `INVALID_OPTION`
 */
export function fixedInterval(options: FixedIntervalOptions, random?: () => number): RetryStrategy {
  refuseUnknownOptions('fixedInterval', options, fixedOptionNames)
  const interval = checkDelay(options?.interval, 'interval')
  return delays(options, random, interval, (delay) => delay)
}

/**
 * Makes a strategy whose delays grow by a factor:
 * `initial, initial · multiplier, initial · multiplier², …`
 * @throws HoldfastError `INVALID_INTERVAL` or `INVALID_OPTION`
 */
export function exponentialBackoff(
  options: ExponentialBackoffOptions,
  random?: () => number,
): RetryStrategy {
  refuseUnknownOptions('exponentialBackoff', options, exponentialOptionNames)
  const initial = checkDelay(options?.initial, 'initial')
  const { multiplier = 2 } = options
  check(
    typeof multiplier === 'number' && multiplier >= 1 && multiplier < Infinity,
    'multiplier must be a number from 1',
  )
  return delays(options, random, initial, (delay) => delay * multiplier)
}

/**
 * Makes a strategy whose delays grow by a difference:
 * `initial, initial + increment, initial + 2 · increment, …`
 * @throws HoldfastError `INVALID_INTERVAL` or `INVALID_OPTION`
 */
export function linearBackoff(options: LinearBackoffOptions, random?: () => number): RetryStrategy {
  refuseUnknownOptions('linearBackoff', options, linearOptionNames)
  const initial = checkDelay(options?.initial, 'initial')
  const increment = checkDelay(options.increment, 'increment')
  return delays(options, random, initial, (delay) => delay + increment)
}

function delays(
  { maxRetries = Infinity, max = maxDurationMs, jitter = 'none' }: RetryLimits,
  random: () => number = platformRandom,
  firstDelay: number,
  nextDelay: (delay: number) => number,
): RetryStrategy {
  check(
    maxRetries === Infinity || (Number.isInteger(maxRetries) && maxRetries >= 0),
    'maxRetries must be an integer from 0',
  )
  checkDelay(max, 'max')
  checkFunction('random', random)
  check(jitter === 'full' || jitter === 'none', "jitter must be 'full' or 'none'")
  return {
    *[Symbol.iterator]() {
      let delay = firstDelay
      for (let i = 0; i < maxRetries; i++) {
        const limitedDelay = Math.min(delay, max)
        yield jitter === 'full' ? random() * limitedDelay : limitedDelay
        delay = nextDelay(delay)
      }
    },
  }
}

function checkDelay(value: number | undefined, name: string): number {
  const isDelay = typeof value === 'number' && value >= 0 && value <= maxDurationMs
  check(isDelay, `${name} must be a number of ms from 0 to 2^31 - 1`, 'INVALID_INTERVAL')
  return value!
}

/**
 * Converts a delay of the caller's strategy to a number of ms that a timer accepts. NaN becomes 0.
 *
 * @throws {TypeError} for a value that cannot be converted to a number, such as a symbol
 */
export function usableDelay(ms: number): number {
  return Math.min(Math.max(Number(ms) || 0, 0), maxDurationMs)
}
