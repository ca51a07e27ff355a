/**
 * Runs a world (one simulated run) while an oracle checks it. The oracle receives every command of
 * a lock table, every error that an event throws, and every rejected promise that no code handles.
 */
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import { observeTables } from './tableObserver.js'
import type { World } from './world.js'

/** The methods of an oracle that {@link runWithOracle} calls. */
export interface WorldOracle {
  /** Reports that the product breaks a rule. @param rule The rule, as a sentence. */
  violated(rule: string, detail: string): void
  /** A lock table has applied a command. */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void
}

/** Calls `run`, and reports to the oracle until the promise of `run` has settled. */
export async function runWithOracle(
  world: World,
  oracle: WorldOracle,
  run: () => Promise<void>,
): Promise<void> {
  world.onError = (error) => oracle.violated('no code throws an error', textOf(error))
  observeTables((table, command, effects) => oracle.applied(table, command, effects))
  // Mocha's own listener would fail the test for a rejection that the oracle reports.
  const otherListeners = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  const onRejection = (reason: unknown) =>
    oracle.violated('every rejection is handled', textOf(reason))
  process.on('unhandledRejection', onRejection)
  try {
    await run()
  } finally {
    process.off('unhandledRejection', onRejection)
    for (const listener of otherListeners) process.on('unhandledRejection', listener)
    observeTables(undefined)
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
