/**
 * A table that is restored from a snapshot equals the original and behaves the same. Restarts, and
 * brokers that join later, rely on this.
 */
import { dump, LockTable, restore, type SnapshotItem } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { checkRecords } from './invariants.js'
import { plainEffect, plainState } from './plainValues.js'
import { StepRunner, step } from './steps.js'
import { isSame } from './tableAndModel.js'

const histories = fc.array(step, { minLength: 150, maxLength: 150, size: 'max' })

/** Encodes to JSON and back, as a log does. */
function copyOf(table: LockTable): LockTable {
  return restore(JSON.parse(JSON.stringify([...dump(table)])) as SnapshotItem[])
}

describe('table: snapshots', () => {
  it('a restored table looks the same and behaves the same', function () {
    this.timeout(300_000)
    const property = fc.property(histories, fc.nat(120), (steps, cut) => {
      const runner = new StepRunner()
      const table = new LockTable()
      for (const one of steps.slice(0, cut)) {
        const command = runner.commandOf(one, plainState(table))
        if (command !== undefined) table.apply(command)
      }
      const copy = copyOf(table)
      expect(isSame(plainState(copy), plainState(table))).to.equal(true)
      checkRecords(copy)
      for (const one of steps.slice(cut)) {
        const command = runner.commandOf(one, plainState(table))
        if (command === undefined) continue
        const done = copy.apply(command).map(plainEffect)
        expect(isSame(done, table.apply(command).map(plainEffect))).to.equal(true)
      }
      expect(isSame(plainState(copy), plainState(table))).to.equal(true)
    })
    fc.assert(property, { ...runs(60, 2_000), endOnFailure: true })
  })

  it('consist of small items, one for each lock and each request', () => {
    const items = [...dump(new LockTable())]
    expect(items).to.deep.equal([{ item: 'table', fence: 0, quiet: false }])
  })

  it('with an item of an unknown session are refused', () => {
    const stray = { item: 'request', session: 'nobody', key: 'k', id: 1, mode: 'shared', at: 0 }
    const items = [{ ...stray, ttl: undefined, timeout: undefined, metadata: undefined }]
    expect(() => restore(items as SnapshotItem[])).to.throw('refers to the session')
  })
})
