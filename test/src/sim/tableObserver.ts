/**
 * Lets the oracles observe every command that a lock table applies, with the effects of the
 * command. Every command of a broker passes its table in order, whichever command log the broker
 * uses. The product needs no hook for this, because this file wraps `apply` of the table's
 * prototype.
 */
import { type Command, type Effect, LockTable } from '@holdfast/server/core'

export type TableObserver = (table: LockTable, command: Command, effects: readonly Effect[]) => void

const original = LockTable.prototype.apply

/**
 * Calls the observer for each command that any table of this process applies; undefined ends the
 * calls.
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
