/**
 * A real table and a model side by side: every command goes to both, and whatever they do or become
 * must be the same. The invariants are checked on the way.
 */
import { type Command, LockTable } from '@holdfast/server/core'
import { Invariants } from './invariants.js'
import { Model } from './model.js'
import { line, type PlainEffect, type PlainState, plainEffect, plainState } from './plain.js'

/** Where the two differ, with all that is needed to look into it. */
export class Disagreement extends Error {
  constructor(what: string, command: Command, table: unknown, model: unknown) {
    const sides = `table: ${JSON.stringify(table)}\nmodel: ${JSON.stringify(model)}`
    super(`the ${what} differ after ${JSON.stringify(command)}\n${sides}`)
  }
}

export class Twin {
  readonly #table: LockTable
  readonly #model: Model
  readonly #invariants: Invariants

  #state: PlainState | undefined

  /** @param grantsAtOnce Most waiters that one command grants to. */
  constructor(grantsAtOnce = 1_000) {
    this.#table = new LockTable(undefined, grantsAtOnce)
    this.#model = new Model(grantsAtOnce)
    this.#invariants = new Invariants(this.#table)
  }

  /** The model's, which is also the table's. */
  get state(): PlainState {
    this.#state ??= this.#model.state()
    return this.#state
  }

  /** Applies a command and checks everything. */
  step(command: Command): PlainEffect[] {
    const effects = this.#table.apply(command)
    const done = effects.map(plainEffect)
    this.#invariants.check(command, effects)
    const expected = this.#model.apply(command)
    if (!isSame(done, expected)) {
      throw new Disagreement('effects', command, done.map(line), expected.map(line))
    }
    const state = plainState(this.#table)
    this.#state = undefined
    if (!isSame(state, this.state)) throw new Disagreement('states', command, state, this.state)
    return done
  }

  /** Applies commands that were checked before, in this order, without checking them again. */
  replay(commands: readonly Command[]): void {
    this.#state = undefined
    for (const command of commands) {
      this.#invariants.follow(command, this.#table.apply(command))
      this.#model.apply(command)
    }
  }
}

/** Deep equality of plain values; an absent field and an undefined one are the same. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  for (const field in left) if (!isSame(left[field], right[field])) return false
  for (const field in right) if (!(field in left) && right[field] !== undefined) return false
  return true
}
