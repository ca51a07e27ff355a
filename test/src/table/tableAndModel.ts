/**
 * Applies every command to a real lock table and to the model, a second and simpler implementation.
 * The table and the model must have equal effects and equal states. The invariants of the table are
 * checked too.
 */
import { type Command, LockTable } from '@holdfast/server/core'
import { formatEffect } from './effectText.js'
import { Invariants } from './invariants.js'
import { Model } from './model.js'
import type { PlainEffect, PlainState } from './plainValues.js'
import { plainEffect, plainState } from './tableToPlain.js'

/**
 * Reports a difference between the table and the model, with all data that an engineer needs to
 * investigate the difference.
 */
export class Disagreement extends Error {
  /** @param subject What differs: effects or states. */
  constructor(subject: string, command: Command, ofTable: unknown, ofModel: unknown) {
    const sides = `table: ${JSON.stringify(ofTable)}\nmodel: ${JSON.stringify(ofModel)}`
    super(`the ${subject} differ after ${JSON.stringify(command)}\n${sides}`)
  }
}

export class TableAndModel {
  readonly #table: LockTable
  readonly #model: Model
  readonly #invariants: Invariants
  /** The present state of the model; undefined until {@link state} computes this state. */
  #modelState: PlainState | undefined

  /** @param grantsPerCommand The largest number of waiters that one command grants. */
  constructor(grantsPerCommand = 1_000) {
    this.#table = new LockTable(/* contents */ undefined, grantsPerCommand)
    this.#model = new Model(grantsPerCommand)
    this.#invariants = new Invariants(this.#table)
  }

  /** The state of the model, which equals the state of the table. */
  get state(): PlainState {
    this.#modelState ??= this.#model.state()
    return this.#modelState
  }

  /** Applies a command, and checks the effects, the states and the invariants. */
  apply(command: Command): PlainEffect[] {
    const effects = this.#table.apply(command)
    const tableEffects = effects.map(plainEffect)
    this.#invariants.check(command, effects)
    const modelEffects = this.#model.apply(command)
    if (!isDeepEqual(tableEffects, modelEffects)) {
      throw new Disagreement(
        'effects',
        command,
        tableEffects.map(formatEffect),
        modelEffects.map(formatEffect),
      )
    }
    const tableState = plainState(this.#table)
    this.#modelState = this.#model.state()
    if (!isDeepEqual(tableState, this.#modelState))
      throw new Disagreement('states', command, tableState, this.#modelState)
    return tableEffects
  }

  /** Applies commands without checks. Call only for commands that `apply` checked before. */
  replay(commands: readonly Command[]): void {
    this.#modelState = undefined
    for (const command of commands) {
      // The invariants of later commands depend on the effects of these commands.
      this.#invariants.follow(command, this.#table.apply(command))
      this.#model.apply(command)
    }
  }
}

/** Returns whether two plain values are deeply equal. A missing field equals an undefined field. */
export function isDeepEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  for (const field in left) if (!isDeepEqual(left[field], right[field])) return false
  for (const field in right) if (!(field in left) && right[field] !== undefined) return false
  return true
}
