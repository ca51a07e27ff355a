/**
 * Tests how the broker encodes the holders in its answers to refused requests. The holders of one
 * answer may have 16 KiB, and a hundred clients may be refused in one turn of the event loop. So
 * the broker keeps the text of the array of holders that it has encoded last.
 */
import { encodeFailed } from '@holdfast/server/internal'
import { expect } from 'chai'

/** A holder, and how often its metadata was read. Each encoding reads the metadata once. */
function holderWithReads(fence: number) {
  const reads = { count: 0 }
  const holder = {
    session: 's',
    name: undefined,
    fence,
    since: 1,
    get metadata(): string {
      reads.count++
      return '"m"'
    },
  }
  return { holder, reads }
}

describe('the holders in answers to refused requests', () => {
  it('are encoded once for all requests that have the same array of holders', () => {
    const { holder, reads } = holderWithReads(7)
    const holders = [holder]
    const answers = [1, 2, 3].map((id) => encodeFailed(id, 'LOCK_HELD', 'held', holders))
    expect(reads.count).to.equal(1)
    expect(answers.map((answer) => JSON.parse(answer))).to.deep.equal(
      [1, 2, 3].map((id) => ({
        type: 'failed',
        id,
        code: 'LOCK_HELD',
        message: 'held',
        holders: [{ session: 's', metadata: 'm', fence: 7, since: 1 }],
      })),
    )
  })

  it('are encoded again for another array of holders', () => {
    // The third array is like the first, but must not get the text of the second.
    const encodedFences = [7, 8, 7].map((fence) => {
      const { holder } = holderWithReads(fence)
      const { holders } = JSON.parse(encodeFailed(1, 'LOCK_HELD', 'held', [holder]))
      return (holders as { fence: number }[]).map((encoded) => encoded.fence)
    })
    expect(encodedFences).to.deep.equal([[7], [8], [7]])
  })
})
