/**
 * Lets the oracles observe every command that a broker's table applies, with its effects. A
 * broker's table is the one place where its history has an order, with any log. The product needs
 * no hook for this, because the prototype of the table can be wrapped here.
 */
import { type Command, type Effect, LockTable } from '@holdfast/server/core'

export type TableObserver = (table: LockTable, command: Command, effects: readonly Effect[]) => void

const original = LockTable.prototype.apply

/** Passes what every table of this process applies to one observer; undefined ends this. */
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
