/**
 * Compares an `IdTable` with a `Map` under random operations, with numbers that share a home slot
 * and numbers that do not.
 */
import { IdTable } from '@holdfast/shared/idTable'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'

/** One operation: add a number that is `by` above the last, or remove one of the members. */
const step = fc.oneof(
  fc.record({ by: fc.constantFrom(1, 2, 3, 64, 4_096) }),
  fc.record({ gone: fc.nat() }),
)

describe('shared: IdTable', () => {
  it('behaves like a Map under random operations', () => {
    const steps = fc.array(step, { maxLength: 300, size: 'max' })
    const property = fc.property(fc.constantFrom(0, Date.now() * 1_024), steps, (start, all) => {
      const table = new IdTable<{ readonly tableId: number }>()
      const model = new Map<number, { readonly tableId: number }>()
      let number = start
      for (const one of all) {
        if ('by' in one) {
          number += one.by
          const member = { tableId: number }
          table.add(member)
          model.set(number, member)
        } else if (model.size > 0) {
          const member = [...model.values()][one.gone % model.size]!
          table.remove(member)
          model.delete(member.tableId)
          expect(table.get(member.tableId)).to.equal(undefined)
        }
        expect(table.size).to.equal(model.size)
        for (const [known, member] of model) expect(table.get(known)).to.equal(member)
      }
      expect(table.values()).to.deep.equal([...model.values()])
    })
    fc.assert(property, runs(100, 2_000))
  })

  it('does not remove another member with the same number', () => {
    const table = new IdTable<{ readonly tableId: number }>()
    const member = { tableId: 7 }
    table.remove(member)
    table.add(member)
    table.remove({ tableId: 7 })
    expect(table.get(7)).to.equal(member)
  })

  const ten = 10_000
  const rows: Record<string, (i: number) => number> = {
    'follow each other': (i) => i,
    'are a power of two apart': (i) => i * 2 ** 16,
    'differ above 32 bits only': (i) => i * 2 ** 32,
  }
  for (const [what, numberOf] of Object.entries(rows)) {
    it(`visits few slots to add and remove numbers that ${what}`, () => {
      let looks = 0
      const members = Array.from({ length: ten }, (_, i) => ({
        get tableId() {
          looks++
          return numberOf(i + 1)
        },
      }))
      const table = new IdTable<{ readonly tableId: number }>()
      for (const member of members) table.add(member)
      for (const member of members) table.remove(member)
      expect(table.size).to.equal(0)
      expect(looks / ten).to.be.below(100)
    })
  }
})
