/**
 * The simulation catches mutants (planted bugs). Some mutants name a test file, and this test file
 * must catch them instead. A quick run tries a sample of three mutants. A full run (see
 * `support/counts.ts`) tries all mutants.
 */
import { expect } from 'chai'
import { count, full } from '../support/counts.js'
import { mutants } from './catalogue/index.js'
import { hunt, isCaught } from './hunt.js'

/** Mutants of the table, of the client and of the broker that are caught soon. */
const sample = [
  'unlock-does-not-grant-waiters',
  'client-ignores-wall-clock',
  'refused-deadlocks-not-counted',
]

describe('the hunt for mutants', function () {
  this.timeout(60_000)

  it('finds each mutant of the sample in the catalogue', () => {
    expect(mutants.map(({ name }) => name)).to.include.members(sample)
  })

  it('does not count a mutant as caught if its replacement throws, for instance after a property was renamed', async () => {
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

  describe('with a test file', () => {
    const mutant = {
      in: 'recordChunks',
      find: '$COUNT += $ROWS.count',
      tests: 'server/recordQueries',
      why: 'The broker counts barriers in another way.',
    }
    // The simulation runs one world (a random history) for each seed of this range.
    const seedRange = { from: 1, seeds: 1, events: 1 }

    it('does not count a mutant as caught if a test fails with a programming error such as a TypeError', async () => {
      const name = 'replacement-out-of-date'
      const caught = await hunt({ ...mutant, name, replace: '$ROWS.first.first' }, seedRange)
      expect(caught.error).to.match(/^TypeError: Cannot read/)
      expect(isCaught(caught)).to.equal(false)
    })

    it('does not count a mutant as caught if all tests pass', async () => {
      const replace = '$COUNT = $COUNT + $ROWS.count'
      const caught = await hunt({ ...mutant, name: 'equivalent-code', replace }, seedRange)
      expect([caught.test, caught.error]).to.deep.equal([undefined, undefined])
      expect(isCaught(caught)).to.equal(false)
    })
  })
})

describe('the hunt catches the mutant', () => {
  for (const mutant of mutants.filter(({ name }) => full || sample.includes(name))) {
    it(`${mutant.name}: ${mutant.why}`, async function () {
      // 30 s in a quick run, 10 min in a full run.
      this.timeout(count(30_000, 600_000))
      const seedRange = { from: 1, seeds: 3_000, events: 2_000 }
      const caught = await hunt(mutant, seedRange)
      const { seed, rule, test, error, seconds } = caught
      if (full) console.log(`      seed ${seed}, ${seconds.toFixed(1)} s: ${rule ?? test}`)
      expect(error, 'an error that the mutant threw').to.equal(undefined)
      expect(isCaught(caught), 'the simulation or a test caught the mutant').to.equal(true)
    })
  }
})
