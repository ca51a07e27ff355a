/** The simulation catches mutants: four quick ones in `npm test`, all of them with full counts. */
import { expect } from 'chai'
import { count, full } from '../support/counts.js'
import { mutants } from './catalogue/index.js'
import { hunt, isCaught } from './hunt.js'

/** The mutants that are caught soonest. */
const sample = [
  'unlock-does-not-grant-waiters',
  'session-without-grace-survives-its-connection',
  'client-ignores-wall-clock',
  'cluster-repeated-entry-counts-twice',
]

describe('the simulation catches the mutant', () => {
  it('for each name of the sample', () => {
    expect(mutants.map(({ name }) => name)).to.include.members(sample)
  })

  it('but not if the mutant itself throws an error, for instance after a rename', async () => {
    const mutant = {
      name: 'replacement-out-of-date',
      in: 'KeyState.admits',
      find: `$MODE === 'shared' && $HOLDER.mode === 'shared'`,
      replace: '$MODE.first.first',
      why: 'The replacement reads a property that no longer exists.',
    }
    const caught = await hunt(mutant, { from: 1, seeds: 10, events: 2_000 })
    expect(caught.error).to.match(/^TypeError: Cannot read/)
    expect(isCaught(caught)).to.equal(false)
  })

  for (const mutant of mutants.filter(({ name }) => full || sample.includes(name))) {
    it(`${mutant.name}: ${mutant.why}`, async function () {
      this.timeout(count(30_000, 600_000))
      const order = { from: 1, seeds: 3_000, events: 2_000 }
      const { seed, rule, error, seconds } = await hunt(mutant, order)
      if (full) console.log(`      seed ${seed}, ${seconds.toFixed(1)} s: ${rule}`)
      expect(seed, 'the seed that caught the mutant').to.be.a('number')
      expect(error, 'an error that the mutant threw').to.equal(undefined)
    })
  }
})
