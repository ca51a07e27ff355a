/**
 * The shape of a mutant (a planted bug): a small change to the product that breaks a promise of the
 * product. A mutant gives the place of the change by a symbol, and the change itself by the
 * structure of the code. So the mutant still fits after files were moved, locals were renamed, or
 * code was formatted. A hunt runs worlds (random histories) of the simulation to catch the mutant.
 * The brokers of a world form one cluster, or each broker is a cell: an independent broker with a
 * part of the keys.
 */
import type { WorldNeeds } from '../sim/plan.js'

export interface Mutant {
  readonly name: string
  /**
   * The function, class or member to change, for instance `Granter.#grantSet` or
   * `isSupersededAttempt`. The package comes first, as in `client/Lock.held`, if several packages
   * have the symbol.
   */
  readonly in: string
  /**
   * The code to change, as a pattern of ast-grep that matches exactly once in the symbol. `$NAME`
   * stands for any expression or statement, and `$$$NAME` for any number of them. A name that
   * occurs twice stands for equal code at both places.
   */
  readonly find: string
  /** The new code. A name of `find` stands for the code that this name matched. */
  readonly replace: string
  /** A sentence that says what goes wrong. */
  readonly why: string
  /** The number of brokers that the simulation needs to catch the mutant. Default 1. */
  readonly brokers?: number | undefined
  /**
   * The number of cells that the simulation needs to catch the mutant. Default: a world without
   * cells.
   */
  readonly cells?: number | undefined
  /**
   * What a world must have for the bug to show, for instance an action of clients. The hunt runs
   * only worlds with these properties. Default: nothing.
   */
  readonly needs?: WorldNeeds | undefined
  /**
   * The test file that must fail with the mutant, in place of the simulation. The path begins in
   * `test/src` and ends before `.test.ts`, for instance `table/deadlock`. Only for a bug that the
   * simulation meets too rarely, or cannot see.
   */
  readonly testFile?: string | undefined
}
