/**
 * Long random histories on a table and the model: two hundred commands each, of every kind, many of
 * them out of date. A failing history is reported as the shortest list of commands that still
 * fails.
 */
import type { Command } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { count, runs } from '../support/counts.js'
import type { PlainEffect } from './plainValues.js'
import { type Step, StepRunner, step } from './steps.js'
import { TableAndModel } from './tableAndModel.js'

const length = 200
const parameters = runs(100, 2_000)

interface History {
  readonly commands: Command[]
  readonly effects: PlainEffect[]
}

/** Runs a history. Throws where table and model differ, with the `commands` so far. */
function play(steps: readonly Step[], commands: Command[] = []): History {
  const pair = new TableAndModel(2)
  const runner = new StepRunner()
  const effects: PlainEffect[] = []
  for (const one of steps) {
    const command = runner.commandOf(one, pair.state)
    if (command === undefined) continue
    commands.push(command)
    effects.push(...pair.step(command))
  }
  return { commands, effects }
}

/** The failure of these steps; undefined if they pass. */
function failure(steps: readonly Step[]): { error: Error; commands: Command[] } | undefined {
  const commands: Command[] = []
  try {
    play(steps, commands)
    return undefined
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return { error, commands }
  }
}

/** Removes steps, many at a time and then fewer, as long as the rest still fails. */
function shorten(steps: readonly Step[]): readonly Step[] {
  let left = steps
  for (let size = left.length >> 1; size > 0; size >>= 1) {
    for (let from = 0; from < left.length; ) {
      const without = [...left.slice(0, from), ...left.slice(from + size)]
      if (failure(without) === undefined) from += size
      else left = without
    }
  }
  return left
}

function expectAgreement(steps: readonly Step[]): void {
  if (failure(steps) === undefined) return
  const short = failure(shorten(steps))!
  const commands = short.commands.map((command) => JSON.stringify(command)).join('\n')
  throw new Error(`${short.error.message}\nafter\n${commands}`, { cause: short.error })
}

const histories = fc.array(step, { minLength: length, maxLength: length, size: 'max' })

describe('table: random histories beside the model', () => {
  it(`table and model agree on ${parameters.numRuns} histories of ${length} steps`, function () {
    this.timeout(count(60_000, 1_200_000))
    // Shortened here by removing steps, because fast-check cannot shorten a list of fixed length.
    fc.assert(fc.property(histories, expectAgreement), { ...parameters, endOnFailure: true })
  })

  it('the histories contain every command and every effect', () => {
    const done = new Map<string, number>()
    const note = (what: string) => done.set(what, (done.get(what) ?? 0) + 1)
    for (const steps of fc.sample(histories, { numRuns: 100, seed: 7 })) {
      const { commands, effects } = play(steps)
      for (const { type } of commands) note(type)
      for (const effect of effects) note(describeEffect(effect))
    }
    expect([...done.keys()]).to.include.members(everything)
    for (const what of everything) expect(done.get(what), what).to.be.greaterThan(3)
  })
})

function describeEffect(effect: PlainEffect): string {
  if (effect.kind === 'answer') {
    const { answer, repeat } = effect
    return `${repeat ? 'repeat' : 'answer'} ${answer.kind === 'failed' ? answer.code : answer.kind}`
  }
  if (effect.kind === 'granted') return effect.waited ? 'granted late' : 'granted at once'
  return 'reason' in effect ? `${effect.kind} ${effect.reason}` : effect.kind
}

/** Every command, and every effect in each of its meanings. */
const everything = [
  ...['lock', 'unlock', 'refresh', 'cancel', 'timeout', 'expire', 'ack', 'suspend', 'resume'],
  ...['confirm', 'repeat LOCK_NOT_HELD'],
  ...[
    'end',
    'open',
    'raiseFenceFloor',
    'quiet',
    'restart',
    'deadlineRestarted',
    'grantUnfinishedKeys',
    'unfinished',
  ],
  ...['opened', 'resumed', 'refused', 'suspended', 'queued', 'refreshed'],
  ...['granted at once', 'granted late'],
  ...['ended goodbye', 'ended expired', 'ended dropped'],
  ...['withdrawn aborted', 'withdrawn timeout', 'withdrawn ended'],
  ...['released unlocked', 'released expired', 'released stolen', 'released ended'],
  ...['revoke', 'revoked', 'released revoked', 'answer revoked'],
  ...['answer unlocked', 'answer refreshed', 'answer ABORTED', 'answer LOCK_TIMEOUT'],
  ...['answer LOCK_HELD', 'answer LOCK_NOT_HELD'],
  ...['barrier', 'arrived', 'answer passed', 'repeat passed', 'answer CAPACITY_MISMATCH'],
  ...['departed passed', 'departed aborted', 'departed timeout', 'departed ended'],
  ...['repeat granted', 'repeat unlocked', 'repeat refreshed', 'repeat LOCK_HELD'],
  ...['repeat BAD_MESSAGE', 'repeat QUOTA_EXCEEDED'],
]
