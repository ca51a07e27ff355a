/**
 * The command lines of `holdfast run` and `holdfast hold`: their options, the command after the
 * key, and the check that `--kill-after` fits into the lease. The lease is how long the broker
 * keeps the session of a silent client. `holdfast elect` uses a part of these options.
 */
import { basename } from 'node:path'
import type { LockItem, Session } from '@holdfast/client'
import { maxCapacity, maxDurationMs, maxNameLength, maxSetKeys } from '@holdfast/shared'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { cellsFrom, checkSameSlot } from '../cellList.js'
import type { BrokerFlags } from '../connecting.js'
import { Exit, exitCodes } from '../exitCodes.js'
import {
  appendValue,
  durationParser,
  integerParser,
  parseDuration,
  parseInteger,
  textParser,
} from '../parse.js'

/** How long a command may take to end after SIGKILL, in ms. */
export const reserveMs = 300
/** The name of a command or a machine is cut to this many characters for other sessions. */
const maxShownChars = 64
/** The system keeps only 8 bits of an exit code. */
const maxExitCode = 255

/** The options of `run` and `hold`. `elect` has a part of them, and `value`. */
export interface HoldingFlags extends BrokerFlags {
  readonly shared?: boolean | undefined
  /** How many permits the lock needs; only with `capacity`. */
  readonly permits?: number | undefined
  /** How many permits the key has. All locks of the key together hold at most this many. */
  readonly capacity?: number | undefined
  /** More keys: the lock is a set, which is granted on all keys in one step. */
  readonly also?: readonly string[] | undefined
  /** The longest time for which the lock is held, in ms. */
  readonly maxHold?: number | undefined
  readonly try?: boolean | undefined
  /** The longest time to connect and to wait for the lock together, in ms. */
  readonly timeout?: number | undefined
  /** The exit code if another session holds the lock; default 75. */
  readonly conflictExitCode?: number | undefined
  readonly name?: string | undefined
  readonly quiet?: boolean | undefined
  /** How long the broker keeps the session of a silent client, in ms. */
  readonly lease?: number | undefined
  /** How long the broker keeps the session after a dropped connection, in ms. */
  readonly grace?: number | undefined
  /** The value that the leader of an election publishes; only for `elect`. */
  readonly value?: unknown
}

/** Adds the options of `run` and `hold`: the kind of the lock, waiting, and the session. */
export function addHoldingOptions(command: Command): Command {
  command
    .addOption(new Option('-s, --shared', 'take a shared lock, which several sessions can hold'))
    .addOption(
      new Option(
        '--capacity <n>',
        'number of permits of the key; each lock takes --permits of them',
      )
        .argParser(integerParser(1, maxCapacity))
        .conflicts('shared'),
    )
    .option(
      '--permits <n>',
      'how many permits to take (default 1); only with --capacity',
      integerParser(1, maxCapacity),
    )
    .option(
      '--also <key>',
      'lock this key too, all keys in one step or none; may be repeated',
      appendValue,
    )
    .option(
      '--max-hold <time>',
      'longest time to hold the lock; the command is stopped before that time',
      durationParser(1, maxDurationMs),
    )
  return addWaitingOptions(command)
}

/** The options about waiting and about the session, which `elect` has too. */
export function addWaitingOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-t, --try', 'do not wait: exit 75 if the lock is held').conflicts('timeout'),
    )
    .option(
      '--timeout <time>',
      'longest time to connect and to wait for the lock; then exit 75',
      parseDuration,
    )
    .option(
      '-E, --conflict-exit-code <n>',
      'exit with this code instead of 75 if another session holds the lock',
      parseExitCode,
    )
    .option(
      '--name <name>',
      'name of the session (default: the command and the machine)',
      textParser(maxNameLength),
    )
    .option('-q, --quiet', 'print only errors, and nothing about waiting or a held lock')
    .option(
      '--lease <time>',
      'how long the broker keeps the session of a silent client',
      durationParser(1, maxDurationMs),
    )
    .option(
      '--grace <time>',
      'how long the broker keeps the session after a dropped connection (default: the lease)',
      parseDuration,
    )
}

/**
 * The keys of the lock: the key of the command line, and the keys of --also. --shared applies to
 * all keys. --capacity and --permits apply only to the key of the command line.
 * @throws {Exit} 64 if the options do not fit together
 */
export function lockItemsOf(key: string, flags: HoldingFlags): readonly [LockItem, ...LockItem[]] {
  const { shared, capacity, permits, also = [] } = flags
  if (permits !== undefined && (capacity === undefined || permits > capacity)) {
    throw new Exit(
      exitCodes.usage,
      capacity === undefined
        ? '--permits needs --capacity, the number of permits of the key'
        : `--permits ${permits} is more than --capacity ${capacity}`,
    )
  }
  if (also.length >= maxSetKeys) {
    throw new Exit(
      exitCodes.usage,
      `A lock has at most ${maxSetKeys} keys, but this command names ${also.length + 1}`,
    )
  }
  const repeatedKey = also.find((alsoKey, i) => alsoKey === key || also.indexOf(alsoKey) < i)
  if (repeatedKey !== undefined)
    throw new Exit(exitCodes.usage, `--also names the key ${JSON.stringify(repeatedKey)} twice`)
  // All keys of a lock must be in one cell (a broker or cluster with its own part of the keys).
  // Keys with the same slot (a hash) are in one cell, however many cells there are.
  if (cellsFrom(flags) !== undefined) checkSameSlot([key, ...also])
  const mode = shared ? ({ mode: 'shared' } as const) : {}
  const firstItem = capacity === undefined ? { key, ...mode } : { key, capacity, permits }
  return [firstItem, ...also.map((alsoKey) => ({ key: alsoKey, ...mode }))]
}

/**
 * For each option name of flock(1), which locks a file on one machine: the option of this program
 * with the same effect, or a hint.
 */
const flockOptions: Readonly<Record<string, string>> = {
  ...forNames(['n', 'nb', 'nonblock'], '--try'),
  ...forNames(['w', 'wait'], '--timeout'),
  ...forNames(['x', 'e', 'exclusive'], 'A lock is exclusive without --shared'),
  ...forNames(['o', 'close'], '--leader-only'),
  ...forNames(['c', 'command'], 'To run a line with the shell, use: holdfast run KEY -c LINE'),
}

/** Gives each of these names the same hint. */
function forNames(names: readonly string[], hint: string): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, hint]))
}

/**
 * A hint for a user who gave an option of flock(1) to this command. Undefined if flock(1) has no
 * such option, or if this command has no option with the same effect.
 */
export function flockHint(command: Command, option: string): string | undefined {
  const optionName = option.replace(/^-+/, '').replace(/=.*/s, '')
  const hint = Object.hasOwn(flockOptions, optionName) ? flockOptions[optionName] : undefined
  if (!hint?.startsWith('--')) return hint
  return command.options.some(({ long }) => long === hint) ? `Did you mean ${hint}?` : undefined
}

/** Parses the value of --conflict-exit-code. */
function parseExitCode(text: string): number {
  const code = parseInteger(text)
  if (code <= maxExitCode) return code
  throw new InvalidArgumentError(`It must be an exit code from 0 to ${maxExitCode}.`)
}

/**
 * The command in the words after KEY: all words except a leading `--`. For `-c LINE`, as in
 * flock(1), the command is the shell in the variable SHELL with that line.
 * @throws {Exit} 64 if there is no command, or if `-c` does not have exactly one argument.
 */
export function commandOf(words: readonly string[], subcommand = 'run'): readonly string[] {
  const [firstWord, line, ...more] = words
  if (firstWord === '-c' || firstWord === '--command') {
    if (line !== undefined && more.length === 0) {
      return [process.env['SHELL'] || '/bin/sh', '-c', line]
    }
    throw new Exit(
      exitCodes.usage,
      `${firstWord} takes exactly one argument, a line for the shell, but has ${words.length - 1}: ` +
        `quote the line, as in ${firstWord} 'make && make install'`,
    )
  }
  const command = firstWord === '--' ? words.slice(1) : words
  if (command.length > 0) return command
  const argument = subcommand === 'elect' ? 'NAME' : 'KEY'
  throw new Exit(
    exitCodes.usage,
    `The command after the ${argument.toLowerCase()} is missing: use ` +
      `"holdfast ${subcommand} ${argument} COMMAND", ` +
      'or "holdfast hold KEY" to hold a lock without a command',
  )
}

/**
 * The name of the command, for the data that other sessions see. The name is the name of the
 * program or, for `-c LINE`, the first word of the line. A long name is cut to 64 characters.
 */
export function commandName(words: readonly string[]): string {
  const [firstWord = '', line = ''] = words
  const isLine = firstWord === '-c' || firstWord === '--command'
  const program = isLine ? (line.trim().split(/\s/)[0] ?? '') : (commandOf(words)[0] ?? '')
  return shortened(basename(program) || 'command')
}

/** The first 64 characters of a text. */
export function shortened(text: string): string {
  return [...text].slice(0, maxShownChars).join('')
}

/**
 * The time from SIGTERM to SIGKILL, in ms: `--kill-after`, or else a fifth of the shorter of lease
 * and grace. `hold` kills no command and has no `--kill-after`, but exits at the time at which
 * `run` would send SIGTERM.
 * @param subcommand `run` also stands for `elect`.
 * @throws {Exit} 64 if the lease, the grace or --max-hold is too short for that time
 */
export function killAfterFor(
  { killAfter, lease, grace, maxHold }: HoldingFlags & { readonly killAfter?: number | undefined },
  session: Session,
  subcommand: 'hold' | 'run',
): number {
  // Stopping the command must fit into the part of the lease that is always left. A client with a
  // lock renews the lease when 0.4 of the lease has passed. If the broker answers before 0.5 has
  // passed, half of the lease is always left. If the grace is shorter, the grace counts instead.
  const minLeaseLeft = Math.min(session.lease, session.grace) / 2
  const killAfterMs = killAfter ?? Math.round(Math.min(session.lease, session.grace) / 5)
  if (maxHold !== undefined && killAfterMs + reserveMs >= maxHold) {
    throw new Exit(
      exitCodes.usage,
      `--max-hold ${maxHold} ms is too short: it must be above ${killAfterMs + reserveMs} ms, ` +
        (subcommand === 'hold'
          ? 'because hold exits that long before the lock ends'
          : 'the time to stop the command, or --kill-after must be shorter'),
    )
  }
  if (killAfterMs + reserveMs < minLeaseLeft) return killAfterMs
  // Without these two options, the grace is as long as the lease, so a longer --lease is enough.
  const options = lease === undefined && grace === undefined ? '--lease' : '--lease or --grace'
  const times = `a lease of ${session.lease} ms and a grace of ${session.grace} ms`
  const maxKillAfterMs = Math.floor(minLeaseLeft - reserveMs)
  throw new Exit(
    exitCodes.usage,
    maxKillAfterMs > 0 && subcommand === 'run'
      ? `--kill-after ${killAfterMs} ms is too long for ${times}: it must be below ` +
          `${maxKillAfterMs} ms, or ${options} must be longer`
      : `The broker gave ${times}, which are too short to stop ` +
          `${subcommand === 'hold' ? 'hold' : 'a command'} in time: give a longer ${options}, ` +
          'or let the operator of the broker raise the limits of leases',
  )
}
