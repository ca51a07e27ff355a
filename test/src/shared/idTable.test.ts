/**
 * Tests `IdTable`, a hash table of members with numbers (`tableId`). The slot of a member depends
 * on its number. The tests compare the table with a `Map` under random operations, also with
 * numbers that belong to the same slot.
 */
import { IdTable } from '@holdfast/shared/idTable'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'

/** A step adds a number that is `increment` above the last number, or removes a random member. */
const step = fc.oneof(
  fc.record({ increment: fc.constantFrom(1, 2, 3, 64, 4_096) }),
  fc.record({ removed: fc.nat() }),
)

describe('shared: IdTable', () => {
  it('behaves like a Map under random operations', () => {
    const steps = fc.array(step, { maxLength: 300, size: 'max' })
    const property = fc.property(
      // The ids of requests begin after 0. The fences of a broker (the numbers of its grants) begin
      // near its start time in ms, multiplied by 1,024.
      fc.constantFrom(0, Date.now() * 1_024),
      steps,
      (start, operations) => {
        const table = new IdTable<{ readonly tableId: number }>()
        const model = new Map<number, { readonly tableId: number }>()
        let tableId = start
        for (const operation of operations) {
          if ('increment' in operation) {
            tableId += operation.increment
            const member = { tableId }
            table.add(member)
            model.set(tableId, member)
          } else if (model.size > 0) {
            const member = [...model.values()][operation.removed % model.size]!
            table.remove(member)
            model.delete(member.tableId)
            expect(table.get(member.tableId)).to.equal(undefined)
          }
          expect(table.size).to.equal(model.size)
          for (const [knownId, member] of model) expect(table.get(knownId)).to.equal(member)
        }
        expect(table.values()).to.deep.equal([...model.values()])
      },
    )
    fc.assert(property, quickOrFullRuns(40, 2_000))
  })

  it('removes only its members, not another object with the same number', () => {
    const table = new IdTable<{ readonly tableId: number }>()
    const member = { tableId: 7 }
    // The table is still empty, so this call does nothing.
    table.remove(member)
    table.add(member)
    table.remove({ tableId: 7 })
    expect(table.get(7)).to.equal(member)
  })

  const memberCount = 10_000
  const patterns: Record<string, (i: number) => number> = {
    'follow each other': (i) => i,
    'are a power of two apart': (i) => i * 2 ** 16,
    'differ only above 32 bits': (i) => i * 2 ** 32,
  }
  for (const [pattern, numberOf] of Object.entries(patterns)) {
    it(`reads few members to add and remove numbers that ${pattern}`, () => {
      let readCount = 0
      const members = Array.from({ length: memberCount }, (_, i) => ({
        get tableId() {
          readCount++
          return numberOf(i + 1)
        },
      }))
      const table = new IdTable<{ readonly tableId: number }>()
      for (const member of members) table.add(member)
      for (const member of members) table.remove(member)
      expect(table.size).to.equal(0)
      // With a bad hash, each member would need reads of thousands of other members.
      expect(readCount / memberCount).to.be.below(100)
    })
  }
})
