/**
 * The number that says what a table is: kept up to date by effects it is what it would be if it was
 * counted anew, tables that differ have another one, and a broker that differs finds out.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { Agreement, Digest } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { plainState } from '../table/plain.js'
import { Director, step } from '../table/steps.js'

const histories = fc.array(step, { minLength: 120, maxLength: 120, size: 'max' })

describe('digest', () => {
  it('kept up to date is what it would be if it was counted anew, also after a snapshot', function () {
    this.timeout(120_000)
    const property = fc.property(histories, (steps) => {
      const table = new LockTable()
      const digest = new Digest(table)
      const director = new Director()
      for (const one of steps) {
        const command = director.direct(one, plainState(table))
        if (command === undefined) continue
        for (const effect of table.apply(command)) digest.take(effect)
        expect(digest.value).to.equal(new Digest(table).value)
      }
      expect(new Digest(restore(dump(table))).value).to.equal(digest.value)
    })
    fc.assert(property, { ...runs(50, 1_000), endOnFailure: true })
  })

  it('is another one where a session, a lock or a waiting request is', () => {
    const values = new Set<string>()
    const table = new LockTable()
    const limits = { locks: 10, answers: 10, waitersPerKey: 10 }
    const open = { type: 'open', attempt: 'a', principal: 'p', name: 'n', at: 0 } as const
    const none = { ttl: undefined, timeout: undefined, metadata: undefined }
    const terms = { ...none, steal: false }
    const kept = { ttl: 15_000, grace: 15_000, secret: 'hash', limits }
    const shown = { principal: 'p', proof: 'hash', try: 1 }
    const resume = { type: 'resume', attempt: 'b', ...shown } as const
    const lock = { type: 'lock', session: 's', attach: 1, mode: 'exclusive', at: 0 } as const
    const note = (): void => {
      const { value } = new Digest(table)
      expect(values.has(value), value).to.equal(false)
      values.add(value)
    }
    note()
    for (const session of ['s', 't']) {
      table.apply({ ...open, ...kept, session, home: 'one' })
      note()
    }
    for (const [id, key] of ['k', 'k', 'l', 'l'].entries()) {
      table.apply({ ...lock, ...terms, id: id + 1, key })
      note()
    }
    table.apply({ ...resume, session: 't', home: 'two', secret: 'x', at: 0 })
    note()
  })
})

describe('agreement', () => {
  it('is looked for now and then', () => {
    const agreement = new Agreement()
    expect([1, 999, 1_000, 1_001, 2_000].map((count) => agreement.isDue(count))).to.deep.equal([
      ...[false, false, true, false, true],
    ])
  })

  it('is with the first who says it; whoever differs is at fault', () => {
    const agreement = new Agreement()
    agreement.note(1_000, 'x')
    expect(agreement.compare([1_000, 'x'])).to.equal(undefined)
    // Somebody else differs: that is for them to find out.
    expect(agreement.compare([1_000, 'y'])).to.equal(undefined)
    agreement.note(2_000, 'x')
    expect(agreement.compare([2_000, 'y'])?.message).to.contain('after 2000 entries')
  })

  it('is not to be had for what was before this broker came', () => {
    const agreement = new Agreement()
    expect(agreement.compare([1_000, 'y'])).to.equal(undefined)
  })
})
