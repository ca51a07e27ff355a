/**
 * The shape of a mutant: one small change to the product that breaks one promise. A mutant says
 * where the change is by a symbol and what the change is by the structure of the code, so that
 * moved files, renamed locals and other formatting leave the mutant as it is.
 */
export interface Mutant {
  readonly name: string
  /**
   * The function, class or member to change, for instance `LockTable.#grant` or `isSupersededAttempt`.
   * The package stands in front, as in `client/Lock.held`, if several packages have the symbol.
   */
  readonly in: string
  /**
   * The code to change, as a pattern of ast-grep that matches exactly once in the symbol: `$NAME`
   * stands for any expression or statement, `$$$NAME` for any number of them, and the same name
   * for the same code.
   */
  readonly find: string
  /** The code to put there, in which the names of `find` stand for what they matched. */
  readonly replace: string
  /** The promise that the mutant breaks, in a sentence that names who breaks it. */
  readonly why: string
  /** How many brokers the simulation needs to find the mutant. Default 1. */
  readonly brokers?: number | undefined
}
