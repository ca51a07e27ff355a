/**
 * A table that went through a snapshot is the table that it was: it looks the same, and goes on the
 * same. On this rest restarts, and brokers that join late.
 */
import { dump, LockTable, restore, type SnapshotItem } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { checkRecords } from './invariants.js'
import { plainEffect, plainState } from './plain.js'
import { Director, step } from './steps.js'
import { isSame } from './twin.js'

const histories = fc.array(step, { minLength: 150, maxLength: 150, size: 'max' })

/** Through JSON, as a log keeps it. */
function copyOf(table: LockTable): LockTable {
  return restore(JSON.parse(JSON.stringify([...dump(table)])) as SnapshotItem[])
}

describe('table: snapshots', () => {
  it('a restored table looks the same, and goes on the same', function () {
    this.timeout(300_000)
    const property = fc.property(histories, fc.nat(120), (steps, cut) => {
      const director = new Director()
      const table = new LockTable()
      for (const one of steps.slice(0, cut)) {
        const command = director.direct(one, plainState(table))
        if (command !== undefined) table.apply(command)
      }
      const copy = copyOf(table)
      expect(isSame(plainState(copy), plainState(table))).to.equal(true)
      checkRecords(copy)
      for (const one of steps.slice(cut)) {
        const command = director.direct(one, plainState(table))
        if (command === undefined) continue
        const done = copy.apply(command).map(plainEffect)
        expect(isSame(done, table.apply(command).map(plainEffect))).to.equal(true)
      }
      expect(isSame(plainState(copy), plainState(table))).to.equal(true)
    })
    fc.assert(property, { ...runs(60, 2_000), endOnFailure: true })
  })

  it('is made of small items, one for each lock and each request', () => {
    const items = [...dump(new LockTable())]
    expect(items).to.deep.equal([{ item: 'table', fence: 0, quiet: false }])
  })

  it('refuses items that are not those of a table', () => {
    const stray = { item: 'request', session: 'nobody', key: 'k', id: 1, mode: 'shared', at: 0 }
    const items = [{ ...stray, ttl: undefined, timeout: undefined, metadata: undefined }]
    expect(() => restore(items as SnapshotItem[])).to.throw('a session that it does not have')
  })
})
