/**
 * Tests `itemsSince`, which returns the newest part of a history. After each fault, the chaos tests
 * check only this part.
 */
import { expect } from 'chai'
import { itemsSince } from './itemsSince.js'

describe('chaos: the newest part of a history (itemsSince)', () => {
  /** Calls `itemsSince` with a history in which each item is its own time. */
  const newest = (since: bigint, ...times: bigint[]) => itemsSince(since, times, (time) => time)
  it('has the items since a given time, and the last item before this time', () => {
    expect(newest(30n, 10n, 20n, 30n, 40n)).to.deep.equal([20n, 30n, 40n])
  })

  it('is the whole history if no item is older than the given time', () => {
    expect(newest(0n, 10n, 20n)).to.deep.equal([10n, 20n])
  })

  it('is only the last item, or empty, if all items are older than the given time', () => {
    expect(newest(30n, 10n, 20n)).to.deep.equal([20n])
    expect(newest(30n)).to.deep.equal([])
  })
})
