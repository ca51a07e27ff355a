/**
 * The number that says what a table is: kept up to date by effects it is what it would be if it was
 * counted anew, tables that differ have another one, and a broker that differs finds out.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { Digest, DivergenceCheck } from '@holdfast/server/internal'
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
        for (const effect of table.apply(command)) digest.update(effect)
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
    const open = { type: 'open', handshakeId: 'a', principal: 'p', name: 'n', at: 0 } as const
    const none = { ttl: undefined, timeout: undefined, metadata: undefined }
    const terms = { ...none, steal: false }
    const kept = { lease: 15_000, grace: 15_000, secret: 'hash', limits }
    const shown = { principal: 'p', proof: 'hash', resumeAttempt: 1 }
    const resume = { type: 'resume', handshakeId: 'b', ...shown } as const
    const lock = { type: 'lock', session: 's', attachEpoch: 1, mode: 'exclusive', at: 0 } as const
    const note = (): void => {
      const { value } = new Digest(table)
      expect(values.has(value), value).to.equal(false)
      values.add(value)
    }
    note()
    for (const session of ['s', 't']) {
      table.apply({ ...open, ...kept, session, ownerBroker: 'one' })
      note()
    }
    for (const [id, key] of ['k', 'k', 'l', 'l'].entries()) {
      table.apply({ ...lock, ...terms, id: id + 1, key })
      note()
    }
    table.apply({ ...resume, session: 't', ownerBroker: 'two', secret: 'x', at: 0 })
    note()
  })
})

describe('agreement', () => {
  it('is looked for now and then', () => {
    const agreement = new DivergenceCheck()
    expect([1, 999, 1_000, 1_001, 2_000].map((count) => agreement.isDue(count))).to.deep.equal([
      ...[false, false, true, false, true],
    ])
  })

  /** Each broker with a table of its own, and what each says, in this order; then who is left. */
  function verdicts(said: readonly [string, string][], voters = 'abc', left = voters) {
    const living = new Map([...left].map((voter) => [voter, 1]))
    return Object.fromEntries(
      [...new Set(said.map(([, value]) => value))].map((own) => {
        const agreement = new DivergenceCheck()
        agreement.begin(1_000, own, voters)
        const found = said.map(([voter, value]) => {
          agreement.addDigest(voter, [1_000, value])
          return agreement.verdict(living)?.message
        })
        return [own, found.find((one) => one !== undefined)]
      }),
    )
  }

  const odd = /^This broker's table is not that of the others after 1000 entries/
  const tie = /^The brokers' tables differ after 1000 entries of the log, and no majority/

  it('is with most of them, whoever speaks first', () => {
    const orders: [string, string][][] = [
      [...'abc'].map((voter) => [voter, voter === 'a' ? 'y' : 'x']),
      [...'abc'].map((voter) => [voter, voter === 'b' ? 'y' : 'x']),
      [...'abc'].map((voter) => [voter, voter === 'c' ? 'y' : 'x']),
    ]
    for (const said of orders) {
      const { x, y } = verdicts(said)
      expect(x).to.equal(undefined)
      expect(y).to.match(odd)
    }
  })

  it('is with nobody where no most of them say the same: then all stop', () => {
    for (const voters of ['ab', 'abcd']) {
      const said = [...voters].map((voter, i): [string, string] => [voter, 'xy'[i % 2]!])
      const { x, y } = verdicts(said, voters)
      expect(x).to.match(tie)
      expect(y).to.match(tie)
    }
    const { x, y, z } = verdicts([...'abc'].map((voter, i) => [voter, 'xyz'[i]!]))
    for (const one of [x, y, z]) expect(one).to.match(tie)
  })

  it('is between those that are left', () => {
    const said: [string, string][] = [
      ['a', 'x'],
      ['b', 'y'],
    ]
    expect(verdicts(said, 'abc')).to.deep.equal({ x: undefined, y: undefined })
    expect(verdicts(said, 'abc', 'ab')['x']).to.match(tie)
    expect(verdicts(said, 'abc', 'a')).to.deep.include({ x: undefined })
    expect(verdicts(said, 'abc', 'a')['y']).to.match(odd)
    expect(verdicts(said, 'abc', '')).to.deep.equal({ x: undefined, y: undefined })
  })

  it('takes one vote of each who was there, and about this table', () => {
    const agreement = new DivergenceCheck()
    agreement.begin(2_000, 'x', 'abc')
    const living = new Map([...'abcd'].map((voter) => [voter, 1]))
    const votes: [string, [number, string]][] = [
      ['a', [2_000, 'y']],
      ['a', [2_000, 'y']],
      ['b', [1_000, 'y']],
      ['d', [2_000, 'y']],
      ['b', [2_000, 'x']],
      ['c', [2_000, 'x']],
    ]
    for (const [voter, vote] of votes) {
      agreement.addDigest(voter, vote)
      expect(agreement.verdict(living), voter).to.equal(undefined)
    }
  })

  it('is not to be had for what was before this broker came', () => {
    const agreement = new DivergenceCheck()
    agreement.addDigest('a', [1_000, 'y'])
    expect(agreement.verdict(new Map([['a', 1]]))).to.equal(undefined)
  })
})
