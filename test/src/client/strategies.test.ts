/** Tests the delays of the three retry strategies, and the checks of their options. */
import { exponentialBackoff, fixedInterval, linearBackoff } from '@holdfast/client'
import { HoldfastError } from '@holdfast/shared'
import { expect } from 'chai'

/** The first delays of a strategy. */
function firstDelays(strategy: Iterable<number>, count: number): number[] {
  const delays: number[] = []
  for (const delay of strategy) {
    if (delays.length === count) break
    delays.push(delay)
  }
  return delays
}

/** The code of the `HoldfastError` that the function throws; `'none'` if it returns. */
function codeOf(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    if (error instanceof HoldfastError) return error.code
    throw error
  }
  return 'none'
}

describe('retry strategies', () => {
  it('yield maxRetries equal delays with fixedInterval', () => {
    expect([...fixedInterval({ interval: 70, maxRetries: 3 })]).to.deep.equal([70, 70, 70])
    expect([...fixedInterval({ interval: 70, maxRetries: 0 })]).to.deep.equal([])
  })

  it('multiply each delay by the multiplier with exponentialBackoff', () => {
    const strategy = exponentialBackoff({ initial: 100, multiplier: 3, maxRetries: 4 })
    expect([...strategy]).to.deep.equal([100, 300, 900, 2_700])
  })

  it('add the increment to each delay with linearBackoff', () => {
    const strategy = linearBackoff({ initial: 100, increment: 50, maxRetries: 4 })
    expect([...strategy]).to.deep.equal([100, 150, 200, 250])
  })

  it('are endless without maxRetries, and no delay exceeds max', () => {
    // The default multiplier is 2.
    const strategy = exponentialBackoff({ initial: 1_000, max: 5_000 })
    expect(firstDelays(strategy, 6)).to.deep.equal([1_000, 2_000, 4_000, 5_000, 5_000, 5_000])
    // No delay exceeds 2^31 - 1 ms, the longest that a timer allows. Without this limit, the
    // 2,000th delay would overflow to `Infinity`.
    expect(firstDelays(exponentialBackoff({ initial: 1_000 }), 2_000).at(-1)).to.equal(2 ** 31 - 1)
  })

  it('yield the same delays in each iteration', () => {
    const strategy = linearBackoff({ initial: 1, increment: 1, maxRetries: 3 })
    expect([...strategy]).to.deep.equal([...strategy])
  })

  it('yield a random part of each delay with the option jitter', () => {
    const randomNumbers = [0, 0.5, 0.999]
    const strategy = fixedInterval(
      { interval: 1_000, maxRetries: 3, jitter: 'full' },
      () => randomNumbers.shift() as number,
    )
    expect([...strategy]).to.deep.equal([0, 500, 999])
  })

  it('refuse an invalid delay, multiplier, number of retries or jitter', () => {
    const invalidDelays = [Number.NaN, -1, 2 ** 31, '5', undefined] as number[]
    for (const value of invalidDelays) {
      expect(codeOf(() => fixedInterval({ interval: value }))).to.equal('INVALID_INTERVAL')
      expect(codeOf(() => exponentialBackoff({ initial: value }))).to.equal('INVALID_INTERVAL')
      expect(codeOf(() => linearBackoff({ initial: 1, increment: value }))).to.equal(
        'INVALID_INTERVAL',
      )
    }
    for (const multiplier of [0, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(codeOf(() => exponentialBackoff({ initial: 1, multiplier }))).to.equal(
        'INVALID_OPTION',
      )
    }
    for (const maxRetries of [-1, 1.5, Number.NaN]) {
      expect(codeOf(() => fixedInterval({ interval: 1, maxRetries }))).to.equal('INVALID_OPTION')
    }
    const jitter = 'some' as 'full'
    expect(codeOf(() => fixedInterval({ interval: 1, jitter }))).to.equal('INVALID_OPTION')
    expect(codeOf(() => fixedInterval({ interval: 1, max: -1 }))).to.equal('INVALID_INTERVAL')
  })
})
