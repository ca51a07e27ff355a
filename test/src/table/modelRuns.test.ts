/**
 * Runs long random histories on a lock table and on its model. Each history has two hundred steps.
 * A step becomes a command of any kind, or no command if the step would open a session that is
 * already open. Many commands are out of date, such as the unlock of a former lock. The test
 * reports a failing history as a list of commands that is as short as possible.
 */
import type { Command } from '@holdfast/server/core'
import { expect } from 'chai'
import fc from 'fast-check'
import { isFullRun, quickOrFull, quickOrFullRuns } from '../support/counts.js'
import type { PlainEffect } from './plainValues.js'
import { CommandMaker, type Step, step } from './steps.js'
import { TableAndModel } from './tableAndModel.js'

/** The number of steps in a history. */
const stepCount = 200
/**
 * 10 histories in a quick run, and 2,000 in a full run. `quickOrFull` takes its two numbers in the
 * same order.
 */
const parameters = quickOrFullRuns(10, 2_000)

interface History {
  readonly commands: Command[]
  readonly effects: PlainEffect[]
}

/**
 * Runs a history. Throws if the table and the model differ after a command. Adds each command to
 * `commands`, which the caller can read even after an error.
 */
function runHistory(steps: readonly Step[], commands: Command[] = []): History {
  // One command grants at most two waiters. If more waiters can be granted, the key is unfinished,
  // and a later command grants the others.
  const tableAndModel = new TableAndModel(2)
  const commandMaker = new CommandMaker()
  const effects: PlainEffect[] = []
  for (const stepToRun of steps) {
    const command = commandMaker.commandOf(stepToRun, tableAndModel.state)
    if (command === undefined) continue
    commands.push(command)
    effects.push(...tableAndModel.apply(command))
  }
  return { commands, effects }
}

/** Returns the failure of these steps; undefined if the table and the model agree. */
function failureOf(steps: readonly Step[]): { error: Error; commands: Command[] } | undefined {
  const commands: Command[] = []
  try {
    runHistory(steps, commands)
    return undefined
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return { error, commands }
  }
}

/**
 * Removes steps, first many at a time and then fewer, as long as the remaining steps still fail.
 */
function shorten(steps: readonly Step[]): readonly Step[] {
  let remaining = steps
  for (let size = remaining.length >> 1; size > 0; size >>= 1) {
    for (let start = 0; start < remaining.length; ) {
      const shorter = [...remaining.slice(0, start), ...remaining.slice(start + size)]
      if (failureOf(shorter) === undefined) start += size
      else remaining = shorter
    }
  }
  return remaining
}

/** If the table and the model differ, fails with a short list of commands that cause this. */
function expectAgreement(steps: readonly Step[]): void {
  if (failureOf(steps) === undefined) return
  const shortest = failureOf(shorten(steps))!
  const commands = shortest.commands.map((command) => JSON.stringify(command)).join('\n')
  throw new Error(`${shortest.error.message}\nafter\n${commands}`, { cause: shortest.error })
}

const histories = fc.array(step, { minLength: stepCount, maxLength: stepCount, size: 'max' })

describe('table: random histories compared with the model', () => {
  it(`the table and the model agree on ${parameters.numRuns} histories of ${stepCount} steps`, function () {
    this.timeout(quickOrFull(60_000, 1_200_000))
    // `expectAgreement` shortens a failing history, because fast-check cannot shorten a list of
    // fixed length.
    fc.assert(fc.property(histories, expectAgreement), { ...parameters, endOnFailure: true })
  })

  it('the histories contain every command and every effect', function () {
    this.timeout(300_000)
    const occurrences = new Map<string, number>()
    const addKind = (kind: string) => occurrences.set(kind, (occurrences.get(kind) ?? 0) + 1)
    // The seed is constant, so that no run lacks a rare kind by chance.
    for (const steps of fc.sample(histories, { numRuns: quickOrFull(70, 200), seed: 7 })) {
      const { commands, effects } = runHistory(steps)
      for (const command of commands) addKind(describeCommand(command))
      for (const effect of effects) addKind(describeEffect(effect))
      // A quick run ends as soon as every kind was seen.
      if (!isFullRun && expectedKinds.every((kind) => occurrences.has(kind))) break
    }
    // A quick run fails if a kind is missing, and a full run if a kind occurs at most 3 times.
    const maxRareCount = quickOrFull(0, 3)
    const rare = expectedKinds.filter((kind) => (occurrences.get(kind) ?? 0) <= maxRareCount)
    expect(rare, 'kinds that are missing or rare').to.deep.equal([])
  })
})

function describeCommand(command: Command): string {
  if (command.type === 'lock' && command.extras?.election !== undefined) return 'campaign'
  return command.type === 'lock' && command.mode === 'permits' ? 'lock with permits' : command.type
}

function describeEffect(effect: PlainEffect): string {
  if (effect.kind === 'answer') {
    const { answer, repeat } = effect
    return `${repeat ? 'repeat' : 'answer'} ${answer.kind === 'failed' ? answer.code : answer.kind}`
  }
  if (effect.kind === 'granted') {
    const { mode, set, election } = effect.lock
    if (election !== undefined) return `granted ${effect.waited ? 'late' : 'immediately'} as leader`
    const kind = set !== undefined ? ' as a set' : mode === 'permits' ? ' with permits' : ''
    return `granted ${effect.waited ? 'late' : 'immediately'}${kind}`
  }
  if (effect.kind === 'upgraded') return `upgraded ${effect.waited ? 'late' : 'immediately'}`
  return 'reason' in effect ? `${effect.kind} ${effect.reason}` : effect.kind
}

/**
 * Every kind of command, and every kind of effect with its reason or its answer. A `repeat` is an
 * answer that the table gave before, or a refusal that changed nothing. A grant comes `late` if its
 * request waited.
 */
const expectedKinds = [
  ...[
    'lock',
    'lock with permits',
    'lockAll',
    'upgrade',
    'downgrade',
    'endScope',
    'unlock',
    'refresh',
    'cancel',
    'timeout',
    'expire',
    'endHold',
    'ack',
    'suspend',
    'resume',
    'confirm',
    'end',
    'open',
    'raiseFenceFloor',
    'quiet',
    'restart',
    'grantUnfinishedKeys',
  ],
  ...['deadlinesRestarted', 'unfinished'],
  ...['opened', 'resumed', 'refused', 'suspended', 'queued', 'refreshed'],
  ...['granted immediately', 'granted late'],
  ...['granted immediately with permits', 'granted late with permits'],
  ...['campaign', 'granted immediately as leader', 'granted late as leader'],
  ...['proclaim', 'proclaimed', 'answer proclaimed', 'repeat proclaimed'],
  ...['granted immediately as a set', 'granted late as a set'],
  ...[
    'upgraded immediately',
    'upgraded late',
    'downgraded',
    'answer upgraded',
    'answer downgraded',
  ],
  'answer scopeEnded',
  'repeat DEADLOCK',
  ...['ended goodbye', 'ended expired', 'ended dropped'],
  ...['withdrawn aborted', 'withdrawn timeout', 'withdrawn ended'],
  ...[
    'released unlocked',
    'released expired',
    'released maxHold',
    'released stolen',
    'released ended',
  ],
  ...['revoke', 'revoked', 'released revoked', 'answer revoked'],
  ...['answer unlocked', 'answer refreshed', 'answer ABORTED', 'answer LOCK_TIMEOUT'],
  ...['answer LOCK_HELD', 'answer LOCK_NOT_HELD', 'repeat LOCK_NOT_HELD'],
  ...['once', 'complete', 'forgetResult', 'kept', 'forgotten', 'keepRestarted'],
  ...['answer result', 'repeat result', 'withdrawn answered'],
  ...['barrier', 'arrived', 'answer passed', 'repeat passed'],
  ...['departed passed', 'departed aborted', 'departed timeout', 'departed ended'],
  ...['repeat granted', 'repeat unlocked', 'repeat refreshed', 'repeat LOCK_HELD'],
  ...['repeat BAD_MESSAGE', 'repeat QUOTA_EXCEEDED', 'repeat CAPACITY_MISMATCH'],
]
