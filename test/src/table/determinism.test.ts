/**
 * The table is deterministic: a second table that applies the same commands has the same effects
 * and the same state. A broker that replays its journal, and brokers that share a command log, rely
 * on this.
 */
import { type Command, LockTable } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { quickOrFullRuns } from '../support/counts.js'
import type { PlainEffect } from './plainValues.js'
import { CommandMaker, type Step, step } from './steps.js'
import { isDeepEqual } from './tableAndModel.js'
import { plainEffect, plainState } from './tableToPlain.js'

/**
 * Turns random steps into commands, and applies the commands to a new table. A step is a random
 * choice, which the `CommandMaker` turns into a command that fits the state. Returns the commands,
 * their effects and the final state.
 */
function recordHistory(steps: readonly Step[]) {
  const table = new LockTable()
  const commandMaker = new CommandMaker()
  const commands: Command[] = []
  const effects: PlainEffect[][] = []
  for (const nextStep of steps) {
    const command = commandMaker.commandOf(nextStep, plainState(table))
    if (command === undefined) continue
    commands.push(command)
    effects.push(table.apply(command).map(plainEffect))
  }
  return { commands, effects, state: plainState(table) }
}

/** Freezes an object and all objects in the object. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) deepFreeze(member)
  return Object.freeze(value)
}

const stepLists = fc.array(step, { minLength: 100, maxLength: 100, size: 'max' })

describe('table: the same commands', () => {
  it('have equal effects on a second table, even after JSON encoding', function () {
    this.timeout(300_000)
    const property = fc.property(stepLists, (steps) => {
      const { commands, effects, state } = recordHistory(steps)
      const replayed = new LockTable()
      for (const [i, command] of commands.entries()) {
        const copy = JSON.parse(JSON.stringify(command)) as Command
        const replayedEffects = replayed.apply(copy).map(plainEffect)
        expect(
          isDeepEqual(replayedEffects, effects[i]),
          JSON.stringify({ replayedEffects, expected: effects[i] }),
        ).to.equal(true)
      }
      expect(plainState(replayed)).to.deep.equal(state)
    })
    fc.assert(property, { ...quickOrFullRuns(15, 2_000), endOnFailure: true })
  })

  it('are not modified by the table', () => {
    // A constant seed: this test needs no new histories in each run.
    const steps = fc.sample(stepLists, { numRuns: 20, seed: 3 })
    for (const { commands, state } of steps.map(recordHistory)) {
      const replayed = new LockTable()
      // A change of a frozen command throws an error.
      for (const command of commands) replayed.apply(deepFreeze(command))
      expect(plainState(replayed)).to.deep.equal(state)
    }
  })
})
