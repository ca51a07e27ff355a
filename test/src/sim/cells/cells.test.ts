/**
 * Tests the oracle that checks worlds (simulated runs) with cells. A cell is a broker that serves a
 * part of the keys. The oracle must expect the right cell of each key, and must report a key that
 * two clients hold at one moment. The worlds themselves run in `sim.test.ts`.
 */
import { readFileSync } from 'node:fs'
import type { Lock } from '@holdfast/client'
import { cellOfSlot, slotOf } from '@holdfast/shared'
import { expect } from 'chai'
import { SimClock } from '../clocks.js'
import { Random } from '../random.js'
import { SimProcess } from '../simProcess.js'
import { World } from '../world.js'
import { cellKeys, expectedCell } from './cellKeys.js'
import { CellOracle } from './cellOracle.js'

const root = new URL('../../../../', import.meta.url)

describe('simulation: the keys of cells', () => {
  it('belong to the cells that a table in PROTOCOL.md lists', () => {
    const page = readFileSync(new URL('shared/PROTOCOL.md', root), 'utf8')
    // A key, its slot, and the number of its cell if there are two, three or four cells.
    const row = /^\| `([^`]+)` \| \d+ \| (\d+) \| (\d+) \| (\d+) \|$/gm
    const rows = [...page.matchAll(row)]
    // If the table had another form, the pattern would find few rows or none.
    expect(rows).to.have.length.of.at.least(12)
    for (const [, key = '', ...cells] of rows) {
      const expected = [2, 3, 4].map((count) => String(expectedCell(key, count)))
      expect(cells, key).to.deep.equal(expected)
    }
  })

  it('belong to the cells that the product computes', () => {
    const random = new Random('keys of cells')
    const parts = ['a', 'k7', '{', '}', 'é', '🔑', '\u07ff', '\uffff', '{t}', '{}']
    for (let i = 0; i < 2_000; i++) {
      const key = Array.from({ length: random.int(1, 6) }, () => random.pick(parts)).join('')
      const count = random.int(1, 1_024)
      expect(expectedCell(key, count), key).to.equal(cellOfSlot(slotOf(key), count))
    }
  })

  it('include at least one key of each cell', () => {
    for (const count of [1, 2, 3, 16]) {
      const cells = new Set(cellKeys(count).all.map((key) => expectedCell(key, count)))
      expect(cells.size).to.equal(count)
    }
  })
})

describe('simulation: the oracle of cells', () => {
  const lockOf = (fence: number, held = true) => ({ fence, held }) as Lock

  /** An oracle of three cells, here without brokers, and the processes of two clients. */
  function scene() {
    const world = new World()
    const processOf = (name: string) => {
      const random = new Random(name)
      return new SimProcess(name, world, random, new SimClock(world, random, 1, 0))
    }
    const maxTraceLines = 10
    return {
      oracle: new CellOracle(world, 3, [], maxTraceLines),
      ann: processOf('ann'),
      bob: processOf('bob'),
    }
  }

  it('reports two clients that hold one key, also if the second client locks a set', () => {
    for (const keys of [['k'], ['other', 'k']]) {
      const { oracle, ann, bob } = scene()
      oracle.acquired(lockOf(1), ['k'], ann)
      expect(oracle.hasViolation).to.equal(false)
      oracle.acquired(lockOf(2), keys, bob)
      expect(oracle.report.violation).to.include({
        rule: 'two clients never hold one key',
        detail: 'ann holds k with fence 1, and bob got the key with fence 2',
      })
    }
  })

  it('accepts a holder after the former holder has unlocked or lost the lock, or was killed', () => {
    const { oracle, ann, bob } = scene()
    const endHold = oracle.acquired(lockOf(1), ['unlocked'], ann)
    endHold()
    const held = false
    oracle.acquired(lockOf(2, held), ['lost'], ann)
    oracle.acquired(lockOf(3), ['killed'], ann)
    ann.kill()
    for (const key of ['unlocked', 'lost', 'killed']) oracle.acquired(lockOf(4), [key], bob)
    expect(oracle.hasViolation).to.equal(false)
  })
})
