/**
 * A table that is restored from a snapshot equals the original table, and later commands have the
 * same effects on both tables. Brokers that restart or join later rely on this equality.
 */
import {
  dump,
  LockTable,
  restore,
  restoreGradually,
  type SnapshotItem,
} from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { checkTableRecords } from './invariants.js'
import { CommandMaker, step } from './steps.js'
import { isDeepEqual } from './tableAndModel.js'
import { TableDriver } from './tableDriver.js'
import { plainEffect, plainState } from './tableToPlain.js'

/** Generates lists of 150 random steps. `step` generates one step. */
const stepLists = fc.array(step, { minLength: 150, maxLength: 150, size: 'max' })

/** Restores a copy of a table from its snapshot, which is sent as JSON, as in a command log. */
function copyOf(table: LockTable): LockTable {
  return restore(JSON.parse(JSON.stringify([...dump(table)])) as SnapshotItem[])
}

describe('table: snapshots', () => {
  it('a restored table has the same state and the same later effects', function () {
    this.timeout(300_000)
    // The snapshot comes after at most 120 of the 150 steps, so that 30 or more steps follow.
    const property = fc.property(stepLists, fc.nat(120), (steps, snapshotAt) => {
      const commandMaker = new CommandMaker()
      const table = new LockTable()
      for (const stepToRun of steps.slice(0, snapshotAt)) {
        // Undefined if the step would open a session that is open already.
        const command = commandMaker.commandOf(stepToRun, plainState(table))
        if (command !== undefined) table.apply(command)
      }
      const copy = copyOf(table)
      expect(isDeepEqual(plainState(copy), plainState(table))).to.equal(true)
      checkTableRecords(copy)
      for (const stepToRun of steps.slice(snapshotAt)) {
        const command = commandMaker.commandOf(stepToRun, plainState(table))
        if (command === undefined) continue
        const copyEffects = copy.apply(command).map(plainEffect)
        expect(isDeepEqual(copyEffects, table.apply(command).map(plainEffect))).to.equal(true)
      }
      expect(isDeepEqual(plainState(copy), plainState(table))).to.equal(true)
    })
    fc.assert(property, { ...quickOrFullRuns(25, 2_000), endOnFailure: true })
  })

  it('the snapshot of an empty table has only the item `table`', () => {
    const items = [...dump(new LockTable())]
    expect(items).to.deep.equal([{ item: 'table', fence: 0, quiet: false }])
  })

  it('a gradual restore reads at most 64 items between two pauses', () => {
    // The driver does not check the invariants, because each check examines the whole table.
    const driver = new TableDriver({ checksInvariants: false })
    for (const session of ['a', 'b']) driver.open(session)
    for (let i = 0; i < 300; i++) {
      driver.lock('a', `k${i}`)
      driver.lock('b', `k${i}`)
    }
    const items = [...dump(driver.table)]
    let readCount = 0
    const restoring = restoreGradually(
      (function* () {
        for (const item of items) {
          readCount++
          yield item
        }
      })(),
    )
    for (;;) {
      const countBefore = readCount
      const { value, done } = restoring.next()
      expect(readCount - countBefore).to.be.at.most(64)
      if (done !== true) continue
      expect(isDeepEqual(plainState(value), plainState(driver.table))).to.equal(true)
      checkTableRecords(value)
      break
    }
    expect(readCount).to.equal(items.length)
  })

  it('a snapshot with a request of an unknown session is refused', () => {
    const item = {
      item: 'request',
      session: 'unknown',
      key: 'k',
      id: 1,
      mode: 'shared',
      at: 0,
      ttl: undefined,
      timeout: undefined,
      metadata: undefined,
    }
    expect(() => restore([item] as SnapshotItem[])).to.throw('refers to the session')
  })
})
