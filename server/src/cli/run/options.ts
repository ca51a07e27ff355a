/**
 * The command lines of `holdfast run` and `holdfast hold`: their options, what of the words is the
 * command, and the times that have to fit each other.
 */
import { basename } from 'node:path'
import type { Session } from '@holdfast/client'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { BrokerFlags } from '../connecting.js'
import { Exit, exitCodes } from '../exitCodes.js'
import { duration, integer } from '../parse.js'

/** What is kept back of the time to stop a command, for the machine to do it, in ms. */
export const reserveMs = 300
/** Of the names of a command and a machine, so many characters are shown to others. */
const shownChars = 64
const mostExitCode = 255

/** What `run` and `hold` have in common. */
export interface HoldingFlags extends BrokerFlags {
  readonly shared?: boolean | undefined
  readonly try?: boolean | undefined
  /** In ms. */
  readonly timeout?: number | undefined
  readonly conflictExitCode?: number | undefined
  readonly name?: string | undefined
  readonly quiet?: boolean | undefined
  /** In ms. */
  readonly lease?: number | undefined
  /** In ms. */
  readonly grace?: number | undefined
}

export function addHoldingOptions(command: Command): Command {
  return command
    .addOption(new Option('-s, --shared', 'beside others who share it'))
    .addOption(new Option('-t, --try', 'do not wait: exit 75 if it is taken').conflicts('timeout'))
    .option('--timeout <time>', 'connect and wait for at most so long, then exit 75', duration)
    .option(
      '-E, --conflict-exit-code <n>',
      'exit with this in place of 75 when the lock is held by others',
      exitCode,
    )
    .option('--name <name>', 'how others see this session (default: the command and the machine)')
    .option('-q, --quiet', 'print errors only, nothing of waiting or of a lock held by others')
    .option('--lease <time>', 'how long the broker keeps the session of a silent client', duration)
    .option('--grace <time>', 'give up sooner than the lease when the connection drops', duration)
}

const flockOptions: Readonly<Record<string, string>> = {
  ...named(['n', 'nb', 'nonblock'], '--try'),
  ...named(['w', 'wait'], '--timeout'),
  ...named(['x', 'e', 'exclusive'], 'A lock is exclusive without --shared'),
  ...named(['o', 'close'], '--leader-only'),
  ...named(['c', 'command'], 'For a line for the shell: holdfast run KEY -c LINE'),
}

function named(names: readonly string[], meant: string): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, meant]))
}

/** For an option of flock(1) that has another name or place in this command; else undefined. */
export function flockHint(command: Command, option: string): string | undefined {
  const name = option.replace(/^-+/, '').replace(/=.*/s, '')
  const meant = Object.hasOwn(flockOptions, name) ? flockOptions[name] : undefined
  if (!meant?.startsWith('--')) return meant
  return command.options.some(({ long }) => long === meant) ? `Did you mean ${meant}?` : undefined
}

function exitCode(text: string): number {
  const code = integer(text)
  if (code <= mostExitCode) return code
  throw new InvalidArgumentError(`It must be an exit code: 0 to ${mostExitCode}.`)
}

/**
 * The command, from the words after KEY: all of them, without one `--` in front; or `-c LINE`, a
 * line for the shell in SHELL, as flock(1) has it.
 * @throws {Exit} 64
 */
export function commandOf(words: readonly string[]): readonly string[] {
  const [first, line, ...more] = words
  if (first === '-c' || first === '--command') {
    if (line !== undefined && more.length === 0) {
      return [process.env['SHELL'] || '/bin/sh', '-c', line]
    }
    throw new Exit(
      exitCodes.usage,
      `${first} takes one argument, a line for the shell, and nothing after it: ` +
        `there are ${words.length - 1}. Quote the line: ${first} 'make && make install'`,
    )
  }
  const command = first === '--' ? words.slice(1) : words
  if (command.length > 0) return command
  throw new Exit(
    exitCodes.usage,
    'No command is given after the key: holdfast run KEY COMMAND. ' +
      'To hold a lock without a command, use: holdfast hold KEY',
  )
}

/**
 * What the command is called before others: the name of its program, which for `-c LINE` is the
 * first word of the line. Only the start of it, since a whole command line given as one word is no
 * name, and too long for one.
 */
export function commandName(words: readonly string[]): string {
  const [first = '', line = ''] = words
  const isLine = first === '-c' || first === '--command'
  const program = isLine ? (line.trim().split(/\s/)[0] ?? '') : (commandOf(words)[0] ?? '')
  return short(basename(program) || 'command')
}

export function short(text: string): string {
  return [...text].slice(0, shownChars).join('')
}

/**
 * The time from SIGTERM to SIGKILL, in ms: a fifth of the lease if none was asked for.
 * @throws {Exit} 64 if the lease is too short for it
 */
export function killAfterFor(
  { killAfter, lease, grace }: HoldingFlags & { readonly killAfter?: number | undefined },
  session: Session,
): number {
  // A lease is renewed every third of it, so this much is always left to those who are heard.
  const always = Math.min(session.lease, session.grace) / 2
  const chosen = killAfter ?? Math.round(Math.min(session.lease, session.grace) / 5)
  if (chosen + reserveMs < always) return chosen
  const wanted =
    [lease, grace].filter((one) => one !== undefined).length > 0
      ? ' --lease or --grace'
      : ' --lease'
  throw new Exit(
    exitCodes.usage,
    `--kill-after ${chosen} ms is too long for a lease of ${session.lease} ms and a grace of ` +
      `${session.grace} ms: it has to be below ${Math.floor(always - reserveMs)} ms, or${wanted} longer`,
  )
}
