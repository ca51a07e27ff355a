/**
 * Tests `itemsSince`: the checks of the chaos tests read only the newest part of a history after
 * each fault.
 */
import { expect } from 'chai'
import { itemsSince } from './itemsSince.js'

describe('chaos: the newest part of a history (itemsSince)', () => {
  /** Calls `itemsSince` with a history whose items are the times at which they happened. */
  const newest = (since: bigint, ...times: bigint[]) => itemsSince(since, times, (time) => time)
  it('has the items since a given time, and the last item before this time', () => {
    expect(newest(30n, 10n, 20n, 30n, 40n)).to.deep.equal([20n, 30n, 40n])
  })

  it('is the whole history if all items are newer than the given time', () => {
    expect(newest(0n, 10n, 20n)).to.deep.equal([10n, 20n])
  })

  it('is the last item, or empty, if no item is newer than the given time', () => {
    expect(newest(30n, 10n, 20n)).to.deep.equal([20n])
    expect(newest(30n)).to.deep.equal([])
  })
})
