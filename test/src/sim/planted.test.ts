/**
 * Bugs that were planted are found: four of them at a desk, all of them in CI.
 */
import { expect } from 'chai'
import { count, full } from '../support/counts.js'
import { applyEdit, hunt, readMutants } from './planted.js'

const planted = readMutants()
/** The quickest to find. */
const few = new Set([
  'lost-wake-up',
  'grace-zero-is-kept',
  'client-without-wall-clock',
  'log-entry-counts-twice',
])

describe('planted bugs', () => {
  it('are at least 60, ten of them among several brokers, each with a reason', () => {
    expect(planted.length).to.be.at.least(60)
    const together = planted.filter(({ brokers = 1 }) => brokers > 1)
    expect(together.length).to.be.at.least(10)
    for (const { name, why } of planted) expect(why, name).to.match(/^[A-Z].+\.$/)
  })

  it('fail when they no longer apply', () => {
    const [first] = planted
    expect(() => applyEdit('nothing of the kind', first!)).to.throw('0 times')
    expect(() => applyEdit(first!.find.repeat(2), first!)).to.throw('2 times')
    expect(applyEdit(`a ${first!.find} b`, first!)).to.equal(`a ${first!.replace} b`)
  })

  for (const bug of planted.filter(({ name }) => full || few.has(name))) {
    it(`${bug.name}: ${bug.why}`, async function () {
      this.timeout(count(30_000, 600_000))
      const { seed, rule, seconds } = await hunt(bug, { from: 1, seeds: 1_000, events: 2_000 })
      if (full) console.log(`      seed ${seed}, ${seconds.toFixed(1)} s: ${rule}`)
      expect(seed, 'the seed that caught it').to.be.a('number')
    })
  }
})
