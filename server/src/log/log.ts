/**
 * The seam between what wants to happen and what happens: a log puts commands in order and hands
 * each back exactly once, in that order. One table, however the order is made. ARCHITECTURE.md says
 * what a log must promise.
 */
import type { HoldfastError } from '@holdfast/shared'
import type { Command, SnapshotItem } from '../core/index.js'

/** Whoever applies the commands. */
export interface Replica {
  /** Begin with this table, before any command. */
  restore(items: Iterable<SnapshotItem>): void
  /** A command of the past: nobody waits for its effects any more. */
  replay(command: Command): void
  /** A command that is in order now: its effects are to be acted upon. */
  apply(command: Command): void
  /** The log cannot go on and hands nothing back from here on. */
  fail(error: HoldfastError): void
}

export interface Log {
  /**
   * Begins: first what was before, through `restore` and `replay`, then what is submitted. Called
   * once, before the first `submit`. A log that needs time for it returns a promise.
   *
   * @throws {HoldfastError} if it cannot begin, or rejects with it.
   */
  start(replica: Replica): undefined | Promise<void>
  /** Puts a command in order. It comes back through `apply`, at once or later. */
  submit(command: Command): void
  /** Resolves when everything submitted has come back; nothing is submitted after this. */
  close(): Promise<void>
}
