/**
 * Runs a world while an oracle judges it. The oracle hears of every command of a lock table, of
 * every error that code throws, and of every rejected promise that no code handles.
 */
import type { Command, Effect, LockTable } from '@holdfast/server/core'
import { observeTables } from './tableObserver.js'
import type { World } from './world.js'

/** The part of an oracle that every kind of world has. */
export interface Judge {
  /** Reports that the product breaks a rule. @param rule The rule, as a sentence. */
  violated(rule: string, detail: string): void
  /** A lock table has applied a command. */
  applied(table: LockTable, command: Command, effects: readonly Effect[]): void
}

/** Calls `runWorld`, and reports to the judge until `runWorld` has settled. */
export async function runJudged(
  world: World,
  judge: Judge,
  runWorld: () => Promise<void>,
): Promise<void> {
  world.onError = (error) => judge.violated('no code throws an error', textOf(error))
  observeTables((table, command, effects) => judge.applied(table, command, effects))
  const otherListeners = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  const onRejection = (reason: unknown) =>
    judge.violated('every rejection is handled', textOf(reason))
  process.on('unhandledRejection', onRejection)
  try {
    await runWorld()
  } finally {
    process.off('unhandledRejection', onRejection)
    for (const listener of otherListeners) process.on('unhandledRejection', listener)
    observeTables(undefined)
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
