/**
 * `holdfast unlock`: ends somebody else's lock, which has to be named by its fence.
 */
import { HoldfastError } from '@holdfast/shared'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, withSession } from './connecting.js'
import { notThere } from './inspect.js'
import { integerIn } from './parse.js'
import { print, printJson, visible } from './print.js'

interface UnlockFlags extends BrokerFlags {
  readonly fence: number
  readonly reason: string
}

export function unlockCommand(): Command {
  return brokerCommand(
    'unlock',
    "end somebody's lock by force; needs the permission to revoke, and is logged",
    `holdfast show orders:42          # says the fence
holdfast unlock orders:42 --fence 1767225600123 --reason "worker 7 hangs since noon"`,
  )
    .argument('<key>', 'the key of the lock')
    .requiredOption(
      '--fence <n>',
      'the fence that the lock has now',
      integerIn(1, Number.MAX_SAFE_INTEGER),
    )
    .requiredOption('--reason <text>', 'why, for the log of the broker')
    .addHelpText(
      'after',
      `
Its holder is told, but may go on for a moment, or for long if it is cut off: what the lock protects
should refuse fences lower than the highest it has seen.`,
    )
    .action((key: string, flags: UnlockFlags) => unlock(key, flags))
}

async function unlock(key: string, { fence, reason, ...flags }: UnlockFlags): Promise<void> {
  await withSession(flags, async (session) => {
    try {
      await session.revoke(key, { fence, reason })
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD')) throw error
      // Who may revoke need not be one who may look.
      throw notThere(key, await session.query({ key }).catch(() => undefined))
    }
  })
  if (flags.json) printJson({ key, fence, revoked: true })
  else print(`${visible(key)} is unlocked`)
}
