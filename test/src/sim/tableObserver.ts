/**
 * Lets the oracles observe every command that a lock table applies, with the effects of the
 * command. The table of a broker applies all its commands in order, whichever command log the
 * broker uses. The product needs no hook for this, because this file wraps `apply` of the table's
 * prototype.
 */
import { type Command, type Effect, LockTable } from '@holdfast/server/core'

export type TableObserver = (table: LockTable, command: Command, effects: readonly Effect[]) => void

const original = LockTable.prototype.apply

/**
 * Calls the observer for each command that any table applies in this Node process, which runs all
 * simulated brokers; undefined ends the calls.
 */
export function observeTables(observer: TableObserver | undefined): void {
  LockTable.prototype.apply =
    observer === undefined
      ? original
      : function observed(this: LockTable, command: Command): readonly Effect[] {
          const effects = original.call(this, command)
          observer(this, command, effects)
          return effects
        }
}
