/**
 * The newest part of a history, which the checks of the chaos tests read after each fault.
 */
import { expect } from 'chai'
import { itemsSince } from './itemsSince.js'

describe('chaos: the newest part of a history', () => {
  const newest = (time: bigint, ...times: bigint[]) => itemsSince(time, times, (at) => at)

  it('has the items since a time, and the last item before', () => {
    expect(newest(30n, 10n, 20n, 30n, 40n)).to.deep.equal([20n, 30n, 40n])
  })

  it('is the whole history if all items are newer', () => {
    expect(newest(0n, 10n, 20n)).to.deep.equal([10n, 20n])
  })

  it('is the last item if no item is newer', () => {
    expect(newest(30n, 10n, 20n)).to.deep.equal([20n])
    expect(newest(30n)).to.deep.equal([])
  })
})
