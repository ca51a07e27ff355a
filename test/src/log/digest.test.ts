/**
 * Tests the digest of a lock table, which is a hash of its state. A command log orders all changes
 * of the table. Brokers that share the log compare their digests, and a broker with a different
 * table stops. A broker updates its digest with each change. The updated digest must equal a digest
 * that is computed anew.
 */
import { dump, LockTable, restore } from '@holdfast/server/core'
import { Digest, DivergenceCheck } from '@holdfast/server/internal'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import { CommandMaker, step } from '../table/steps.js'
import { plainState } from '../table/tableToPlain.js'

/** Random histories of the table. */
const histories = fc.array(step, { minLength: 120, maxLength: 120, size: 'max' })

describe('digest', () => {
  it('equals, after each command and after a snapshot, a digest that is computed anew', function () {
    this.timeout(120_000)
    const property = fc.property(histories, (steps) => {
      const table = new LockTable()
      const digest = new Digest(table)
      const commandMaker = new CommandMaker()
      for (const nextStep of steps) {
        const command = commandMaker.commandOf(nextStep, plainState(table))
        if (command === undefined) continue
        for (const effect of table.apply(command)) digest.update(effect)
        expect(digest.value).to.equal(new Digest(table).value)
      }
      expect(new Digest(restore(dump(table))).value).to.equal(digest.value)
    })
    fc.assert(property, { ...quickOrFullRuns(50, 1_000), endOnFailure: true })
  })

  it('differs if a session, a lock or a waiting request differs', () => {
    const values = new Set<string>()
    const table = new LockTable()
    const limits = { locks: 10, answers: 10, waitersPerKey: 10 }
    const open = { type: 'open', handshakeId: 'a', principal: 'p', name: 'n', at: 0 } as const
    const noOptions = { ttl: undefined, timeout: undefined, metadata: undefined, steal: false }
    const sessionFields = { lease: 15_000, grace: 15_000, secret: 'hash', limits }
    const resume = { type: 'resume', handshakeId: 'b', principal: 'p', proof: 'hash' } as const
    const lock = { type: 'lock', session: 's', attachEpoch: 1, mode: 'exclusive', at: 0 } as const
    const addNewValue = (): void => {
      const { value } = new Digest(table)
      expect(values.has(value), value).to.equal(false)
      values.add(value)
    }
    addNewValue()
    for (const session of ['s', 't']) {
      table.apply({ ...open, ...sessionFields, session, ownerBroker: 'one' })
      addNewValue()
    }
    // The first request for each key gets the lock, and the second request waits.
    for (const [i, key] of ['k', 'k', 'l', 'l'].entries()) {
      table.apply({ ...lock, ...noOptions, id: i + 1, key })
      addNewValue()
    }
    table.apply({
      ...resume,
      resumeAttempt: 1,
      session: 't',
      ownerBroker: 'two',
      secret: 'x',
      at: 0,
    })
    addNewValue()
  })
})

describe('divergence check (a comparison of the digests of all brokers)', () => {
  it('begins a round every thousand entries of the command log', () => {
    const check = new DivergenceCheck()
    const roundBegins = [1, 999, 1_000, 1_001, 2_000].map((n) => check.beginsRoundAfter(n))
    expect(roundBegins).to.deep.equal([false, false, true, false, true])
  })

  /**
   * Runs the check once for each digest that occurs in `digests`, with this digest as the broker's
   * own. Each time, the check receives all `digests` in this order. Returns the error message
   * for each own digest; undefined for no error.
   *
   * @param digests Pairs of a member and its digest.
   * @param members The members at the beginning of the round, one letter for each.
   * @param remaining The members that are still live at the decision.
   */
  function errorsByDigest(
    digests: readonly [string, string][],
    members = 'abc',
    remaining = members,
  ) {
    // The check does not use the values of this map.
    const live = new Map([...remaining].map((member) => [member, 1]))
    return Object.fromEntries(
      [...new Set(digests.map(([, value]) => value))].map((digest) => {
        const check = new DivergenceCheck()
        check.beginRound(1_000, digest, members)
        const errors = digests.map(([member, value]) => {
          check.addDigest(member, [1_000, value])
          return check.decideRound(live)?.message
        })
        return [digest, errors.find((error) => error !== undefined)]
      }),
    )
  }

  const minority =
    /^The lock table of this broker differs from the table of the majority at position 1000 of/
  const tie = /^The lock tables of the brokers differ at position 1000 of the shared log, without a/

  it('stops the broker outside the majority, whether its digest comes first, second or last', () => {
    const orders: [string, string][][] = [
      [...'abc'].map((member) => [member, member === 'a' ? 'y' : 'x']),
      [...'abc'].map((member) => [member, member === 'b' ? 'y' : 'x']),
      [...'abc'].map((member) => [member, member === 'c' ? 'y' : 'x']),
    ]
    for (const digests of orders) {
      const { x, y } = errorsByDigest(digests)
      expect(x).to.equal(undefined)
      expect(y).to.match(minority)
    }
  })

  it('stops all brokers if there is no majority', () => {
    for (const members of ['ab', 'abcd']) {
      const digests = [...members].map((member, i): [string, string] => [member, 'xy'[i % 2]!])
      const { x, y } = errorsByDigest(digests, members)
      expect(x).to.match(tie)
      expect(y).to.match(tie)
    }
    const { x, y, z } = errorsByDigest([...'abc'].map((member, i) => [member, 'xyz'[i]!]))
    for (const error of [x, y, z]) expect(error).to.match(tie)
  })

  it('compares only the digests of live members', () => {
    const digests: [string, string][] = [
      ['a', 'x'],
      ['b', 'y'],
    ]
    // The live member c has sent no digest, so the round is not decided.
    expect(errorsByDigest(digests, 'abc')).to.deep.equal({ x: undefined, y: undefined })
    expect(errorsByDigest(digests, 'abc', 'ab')['x']).to.match(tie)
    expect(errorsByDigest(digests, 'abc', 'a')).to.deep.include({ x: undefined })
    // Only the digest of a counts, so the digest x has the majority against y.
    expect(errorsByDigest(digests, 'abc', 'a')['y']).to.match(minority)
    expect(errorsByDigest(digests, 'abc', '')).to.deep.equal({ x: undefined, y: undefined })
  })

  it('counts one digest of each member, and only digests of the current round', () => {
    const check = new DivergenceCheck()
    check.beginRound(2_000, 'x', 'abc')
    const live = new Map([...'abcd'].map((member) => [member, 1]))
    // Three of these digests do not count: the second digest of a, the digest of b for an earlier
    // round, and the digest of d. The broker d was no member when the round began.
    const entries: [string, [number, string]][] = [
      ['a', [2_000, 'y']],
      ['a', [2_000, 'y']],
      ['b', [1_000, 'y']],
      ['d', [2_000, 'y']],
      ['b', [2_000, 'x']],
      ['c', [2_000, 'x']],
    ]
    for (const [member, digest] of entries) {
      check.addDigest(member, digest)
      expect(check.decideRound(live), member).to.equal(undefined)
    }
  })

  it('ignores digests of a round that began before this broker joined', () => {
    const check = new DivergenceCheck()
    check.addDigest('a', [1_000, 'y'])
    expect(check.decideRound(new Map([['a', 1]]))).to.equal(undefined)
  })
})
