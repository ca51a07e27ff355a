/**
 * The seam between what wants to happen and what happens: a log puts commands in order and hands
 * each back exactly once, in that order. One table, however the order is made.
 */
import type { Command } from '../core/index.js'

export interface Log {
  /** Whoever applies the commands; set once, before the first `submit`. */
  start(apply: (command: Command) => void): void
  /** Puts a command in order. It comes back through `apply`, at once or later. */
  submit(command: Command): void
  /** Resolves when everything submitted has come back; nothing is submitted after this. */
  close(): Promise<void>
}
