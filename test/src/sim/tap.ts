/**
 * Where the judges listen in: every command that a broker's table applies, with its effects. The
 * table is the one place where a broker's history has an order, whatever log is in front of it; the
 * product needs no hook for this, since its prototype can be wrapped from here.
 */
import { type Command, type Effect, LockTable } from '@holdfast/server/core'

export type TableObserver = (table: LockTable, command: Command, effects: readonly Effect[]) => void

const original = LockTable.prototype.apply

/** Sends what every table of this process applies to one observer; undefined ends it. */
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
