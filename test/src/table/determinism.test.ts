/**
 * A table is nothing but its commands: applied to another table, in the same order, they do the
 * same and end in the same state. On this rest replay from a journal and replication.
 */
import { type Command, LockTable } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { runs } from '../support/counts.js'
import { type PlainEffect, plainEffect, plainState } from './plain.js'
import { Director, step } from './steps.js'
import { isSame } from './twin.js'

/** Plays random steps on a new table; returns what it was told, what it did and what it became. */
function record(steps: Parameters<Director['direct']>[0][]) {
  const table = new LockTable()
  const director = new Director()
  const commands: Command[] = []
  const effects: PlainEffect[][] = []
  for (const one of steps) {
    const command = director.direct(one, plainState(table))
    if (command === undefined) continue
    commands.push(command)
    effects.push(table.apply(command).map(plainEffect))
  }
  return { commands, effects, state: plainState(table) }
}

const histories = fc.array(step, { minLength: 100, maxLength: 100, size: 'max' })

describe('table: determinism', () => {
  it('the same commands do the same to another table, also after a trip through JSON', function () {
    this.timeout(300_000)
    const property = fc.property(histories, (steps) => {
      const { commands, effects, state } = record(steps)
      const replayed = new LockTable()
      for (const [i, command] of commands.entries()) {
        const copy = JSON.parse(JSON.stringify(command)) as Command
        const done = replayed.apply(copy).map(plainEffect)
        expect(isSame(done, effects[i]), JSON.stringify({ done, before: effects[i] })).to.equal(
          true,
        )
      }
      expect(plainState(replayed)).to.deep.equal(state)
    })
    fc.assert(property, { ...runs(100, 2_000), endOnFailure: true })
  })

  it('a command is only read, and may be frozen', () => {
    const steps = fc.sample(histories, { numRuns: 20, seed: 3 })
    for (const { commands, state } of steps.map(record)) {
      const replayed = new LockTable()
      for (const command of commands) replayed.apply(Object.freeze(command))
      expect(plainState(replayed)).to.deep.equal(state)
    }
  })
})
