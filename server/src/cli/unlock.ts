/**
 * `holdfast unlock`: revokes the lock of another session. The user names the lock by its fence, so
 * that no newer lock of the key is revoked by mistake: each grant gets a higher fence.
 */
import { HoldfastError, maxReasonLength } from '@holdfast/shared'
import type { Command } from 'commander'
import { type BrokerFlags, brokerCommand, withSessionFor } from './connecting.js'
import { Exit } from './exitCodes.js'
import { wrongFence } from './inspect.js'
import { escapeText, print, printJson } from './output.js'
import { integerParser, textParser } from './parse.js'

interface UnlockFlags extends BrokerFlags {
  readonly fence: number
  readonly reason: string
}

export function unlockCommand(): Command {
  return brokerCommand(
    'unlock',
    'revoke the lock of another session; needs the permission "revoke", and is logged',
    `holdfast show orders:42          # shows the fence
holdfast unlock orders:42 --fence 1767225600123 --reason "worker 7 hangs since noon"`,
  )
    .argument('<key>', 'the key of the lock')
    .requiredOption(
      '--fence <n>',
      'the fence that the lock has now',
      integerParser(1, Number.MAX_SAFE_INTEGER),
    )
    .requiredOption(
      '--reason <text>',
      'the reason, for the holder and for the log lines of the broker',
      textParser(maxReasonLength),
    )
    .addHelpText(
      'after',
      `
The broker tells the holder that the lock is lost. The holder may still work for a moment, or for
longer if it has no connection. The resource that the lock protects should refuse every fence that
is lower than the highest fence it has seen.`,
    )
    .action((key: string, flags: UnlockFlags) => unlock(key, flags))
}

async function unlock(key: string, { fence, reason, ...flags }: UnlockFlags): Promise<void> {
  await withSessionFor(key, flags, async (session) => {
    try {
      await session.revoke(key, { fence, reason })
    } catch (error) {
      // Here an `Exit` comes only from the time limit for answers.
      if (error instanceof Exit) throw noAnswerInTime(key, error)
      if (!(error instanceof HoldfastError && error.code === 'LOCK_NOT_HELD')) throw error
      // This query may fail, because a token with the permission "revoke" need not have "query".
      throw wrongFence(key, await session.query({ key }).catch(() => undefined))
    }
  })
  if (flags.json) printJson({ key, fence, revoked: true })
  else print(`${escapeText(key)}: the lock with fence ${fence} is revoked`)
}

/** The error if the broker did not answer in time. The lock may or may not be revoked. */
function noAnswerInTime(key: string, { code, message }: Exit): Exit {
  const advice = `the lock may be revoked all the same: check with holdfast show ${key}`
  return new Exit(code, `${message}; ${advice}`)
}
