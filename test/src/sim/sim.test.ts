/**
 * The simulation as a test: a few worlds at a desk, six minutes of them in CI, half of these with
 * one broker and half with three, and the proof that a seed is a world that comes again.
 */
import { expect } from 'chai'
import { count, full } from '../support/counts.js'
import { Campaign } from './campaign.js'
import { simulate } from './simulate.js'

/** What has to have happened for the worlds to have proved anything. */
const interesting = [
  'granted at once',
  'handed over',
  'lock lost',
  'resume: resumed',
  'resume: refused',
  'released: expired',
  'released: stolen',
  'released: revoked',
  'released: ended',
  'session ended: expired',
  'session ended: dropped',
  'event jeopardy',
  'event newSession',
  'refused LOCK_TIMEOUT',
  'refused ABORTED',
  'watch state',
  'believed after release: dropped',
]

/** The same, of what several brokers have in common. */
const interestingTogether = [
  'broker taken for dead',
  'broker left',
  'broker resigned',
  'broker takes up a snapshot',
  'entry come before',
  'entry of the dead',
  'handed over',
  'lock lost',
  'resume: resumed',
  'resume: refused',
  'released: ended',
  'released: expired',
  'session taken over',
]

/** One or three brokers; worlds of a length in which something happens. */
const kinds = [
  {
    what: 'keeps every promise, whatever goes wrong',
    options: { brokers: 1, events: count(400, 2_000) },
    seeds: 100,
    interesting,
  },
  {
    what: 'keeps every promise with three brokers, whatever goes wrong',
    options: { brokers: 3, events: count(1_500, 4_000) },
    seeds: 40,
    interesting: interestingTogether,
  },
]

/** Worlds in which a promise was broken once, as they were shrunk then. */
const mended = [
  // A resume that travelled slowly shortened the time that a lock was believed in.
  { seed: 6_979, events: 80, faults: [1] },
  { seed: 14_633, events: 96, faults: [1, 2, 3] },
  // A resume made a lock believed in for another lease before it told that the lock was revoked.
  {
    seed: 31_384,
    events: 1_258,
    faults: [
      0, 1, 2, 3, 6, 9, 10, 13, 14, 15, 16, 20, 27, 28, 31, 32, 34, 38, 41, 42, 44, 50, 53, 55, 58,
      60, 68, 69, 74, 75, 76, 77, 91, 93, 94, 98, 99, 100, 103, 104, 115, 123, 124, 126,
    ],
  },
  // A hello whose connection was gone when the log came to it did not begin the lease anew.
  { seed: 54_230, events: 676, faults: [0, 2, 3, 4, 6, 7, 10, 12, 13, 14, 15, 16, 24] },
]

/** The first seed whose world has faults; nearly every one has. */
async function someWorldWithFaults() {
  for (let seed = 1; ; seed++) {
    const result = await simulate(seed, { events: 600 })
    if (result.faults.length > 0) return [seed, result] as const
  }
}

describe('simulation', () => {
  it('is the same world for the same seed', async () => {
    for (const seed of [3, 17, 54]) {
      const first = await simulate(seed, { events: 600, lines: 10 })
      const second = await simulate(seed, { events: 600, lines: 10 })
      expect(second.hash, `seed ${seed}`).to.equal(first.hash)
      expect(second.lines).to.deep.equal(first.lines)
    }
    const brokers = 3
    const first = await simulate(8, { events: 1_500, brokers })
    const second = await simulate(8, { events: 1_500, brokers })
    expect(second.hash, 'three brokers').to.equal(first.hash)
    const [one, other] = [await simulate(3, { events: 100 }), await simulate(4, { events: 100 })]
    expect(one.hash).to.not.equal(other.hash)
  })

  it('leaves the rest of a world as it was when a fault is left out', async () => {
    const [seed, whole] = await someWorldWithFaults()
    const [first, ...others] = whole.faults
    const part = await simulate(seed, { events: 600, faults: new Set(others) })
    expect(part.faults).to.not.include(first)
    expect(part.hash).to.not.equal(whole.hash)
  })

  it('keeps every promise where it once broke one', async () => {
    for (const { seed, events, faults } of mended) {
      const { violation } = await simulate(seed, { events, faults: new Set(faults) })
      expect(violation, `seed ${seed}`).to.equal(undefined)
    }
  })

  for (const { what, options, seeds, interesting } of kinds) {
    it(what, async function () {
      this.timeout(count(60_000, 600_000))
      const campaign = new Campaign(options)
      const task = full ? { from: 1, seconds: 180 } : { from: 250, seeds }
      const say = (line: string) => console.log(`      ${line}`)
      const failed = await campaign.run({ ...task, onProgress: full ? say : undefined })
      if (failed?.violation !== undefined) {
        const { seed, violation, events } = failed
        const again = `npm run sim -- --brokers ${options.brokers} --seed ${seed}`
        throw new Error(
          `"${violation.rule}" is broken: ${violation.detail}\n` +
            `at event ${violation.event} of ${events}; ` +
            `again: ${again} --events ${options.events}\n${failed.lines.join('\n')}`,
        )
      }
      const missing = interesting.filter((thing) => !campaign.counts.has(thing))
      expect(missing, 'what never happened').to.deep.equal([])
      if (full) for (const line of campaign.table()) say(line)
    })
  }
})
