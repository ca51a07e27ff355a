/**
 * Tests that the simulation catches mutants (planted bugs). The simulation runs worlds, which are
 * random histories of brokers and clients, and checks the worlds. If a mutant names a test file,
 * that file must catch the mutant instead. A quick run tries three mutants. A full run (see
 * `support/counts.ts`) tries all mutants.
 */
import { expect } from 'chai'
import { isFullRun, quickOrFull } from '../support/counts.js'
import { mutants } from './catalogue/index.js'
import { hunt, isCaught } from './hunt.js'

/** Mutants of the lock table, the client and the broker, which a hunt catches quickly. */
const sample = [
  'unlock-does-not-grant-waiters',
  'client-ignores-wall-clock',
  'refused-deadlocks-not-counted',
]

describe('the hunt for mutants', function () {
  this.timeout(60_000)

  it('has a sample of mutants that are all in the catalogue', () => {
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
    // Ten seeds are enough, because even the first worlds run the replacement.
    const result = await hunt(mutant, { from: 1, seeds: 10, events: 2_000 })
    expect(result.error).to.match(/^TypeError: Cannot read/)
    expect(isCaught(result)).to.equal(false)
  })

  describe('with a test file', () => {
    /** Each test adds its own name and replacement. */
    const mutant = {
      in: 'recordChunks',
      find: '$COUNT += $ROWS.count',
      testFile: 'server/recordQueries',
      why: 'The broker counts the rows of an answer in another way.',
    }
    // `hunt` ignores this range, because a hunt with a test file runs no worlds.
    const worldRange = { from: 1, seeds: 1, events: 1 }

    it('does not count a mutant as caught if a test fails with a programming error such as a TypeError', async () => {
      const name = 'replacement-out-of-date'
      const result = await hunt({ ...mutant, name, replace: '$ROWS.first.first' }, worldRange)
      expect(result.error).to.match(/^TypeError: Cannot read/)
      expect(isCaught(result)).to.equal(false)
    })

    it('does not count a mutant as caught if all tests pass', async () => {
      const replace = '$COUNT = $COUNT + $ROWS.count'
      const result = await hunt({ ...mutant, name: 'equivalent-code', replace }, worldRange)
      expect([result.test, result.error]).to.deep.equal([undefined, undefined])
      expect(isCaught(result)).to.equal(false)
    })
  })
})

describe('the hunt catches the mutant', () => {
  for (const mutant of mutants.filter(({ name }) => isFullRun || sample.includes(name))) {
    it(`${mutant.name}: ${mutant.why}`, async function () {
      // 60 s in a quick run, 10 min in a full run.
      this.timeout(quickOrFull(60_000, 600_000))
      // At most 3,000 worlds (random histories), each with 2,000 events.
      const worldRange = { from: 1, seeds: 3_000, events: 2_000 }
      const result = await hunt(mutant, worldRange)
      const { seed, rule, test, error, seconds } = result
      if (isFullRun) console.log(`      seed ${seed}, ${seconds.toFixed(1)} s: ${rule ?? test}`)
      expect(error, 'an error that the mutant threw').to.equal(undefined)
      expect(isCaught(result), 'the simulation or a test caught the mutant').to.equal(true)
    })
  }
})
