/**
 * The simulation catches mutants (planted bugs): four mutants in `npm test`, and all mutants with
 * full counts.
 */
import { expect } from 'chai'
import { count, full } from '../support/counts.js'
import { mutants } from './catalogue/index.js'
import { hunt, isCaught } from './hunt.js'

/** The mutants that the simulation catches soonest. */
const sample = [
  'unlock-does-not-grant-waiters',
  'session-without-grace-survives-its-connection',
  'client-ignores-wall-clock',
  'cluster-repeated-entry-counts-twice',
]

describe('the hunt for mutants', () => {
  it('finds each mutant of the sample in the catalogue', () => {
    expect(mutants.map(({ name }) => name)).to.include.members(sample)
  })

  it('does not count a mutant as caught that itself throws an error, for instance after a rename', async () => {
    const mutant = {
      name: 'replacement-out-of-date',
      in: 'KeyState.admits',
      find: `$MODE !== $HOLDER.mode || $MODE === 'exclusive'`,
      replace: '$MODE.first.first',
      why: 'The replacement reads a property that no longer exists.',
    }
    const caught = await hunt(mutant, { from: 1, seeds: 10, events: 2_000 })
    expect(caught.error).to.match(/^TypeError: Cannot read/)
    expect(isCaught(caught)).to.equal(false)
  })
})

describe('the simulation catches the mutant', () => {
  for (const mutant of mutants.filter(({ name }) => full || sample.includes(name))) {
    it(`${mutant.name}: ${mutant.why}`, async function () {
      this.timeout(count(30_000, 600_000))
      const worlds = { from: 1, seeds: 3_000, events: 2_000 }
      const { seed, rule, error, seconds } = await hunt(mutant, worlds)
      if (full) console.log(`      seed ${seed}, ${seconds.toFixed(1)} s: ${rule}`)
      expect(seed, 'the seed that caught the mutant').to.be.a('number')
      expect(error, 'an error that the mutant threw').to.equal(undefined)
    })
  }
})
