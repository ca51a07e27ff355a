/**
 * The shape of a mutant (a planted bug): a small change to the product that breaks a promise of the
 * product. A mutant says where the change is by a symbol and what the change is by the structure of
 * the code, so that moved files, renamed locals and other formatting leave the mutant as it is.
 */
export interface Mutant {
  readonly name: string
  /**
   * The function, class or member to change, for instance `LockTable.#grant` or
   * `isSupersededAttempt`. The package comes first, as in `client/Lock.held`, if several packages
   * have the symbol.
   */
  readonly in: string
  /**
   * The code to change, as a pattern of ast-grep that matches exactly once in the symbol: `$NAME`
   * stands for any expression or statement, `$$$NAME` for any number of them, and the same name
   * for the same code.
   */
  readonly find: string
  /** The new code. A name of `find` stands for the code that this name matched. */
  readonly replace: string
  /**
   * A sentence that says what goes wrong, with the broker, the client or the table as its subject.
   */
  readonly why: string
  /** The number of brokers that the simulation needs to catch the mutant. Default 1. */
  readonly brokers?: number | undefined
}
