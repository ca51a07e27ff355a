/**
 * `holdfast token`: makes a token for `holdfast serve --tokens`. The command prints the token once,
 * and stores only its hash.
 */
import { randomBytes } from 'node:crypto'
import { Command, InvalidArgumentError } from 'commander'
import { isOneWord, tokenLine } from '../access/tokensFromFile.js'
import {
  defaultOperations,
  isOperation,
  type Operation,
  operations,
} from '../config/permissions.js'
import { Exit, exitCodes, exitHelp } from './exitCodes.js'
import { deliver, escapeText, jsonLine } from './output.js'
import { appendValue } from './parse.js'
import { prepareWith } from './tokenFile.js'

/** The number of random bytes in a token: too many for an attacker to guess. */
const tokenBytes = 32

interface TokenFlags {
  readonly allow: readonly Operation[]
  /** Patterns of the allowed keys; undefined for all keys. */
  readonly key?: readonly string[] | undefined
  readonly file?: string | undefined
  readonly json?: boolean | undefined
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('make a token, and its line for the token file of serve --tokens')
    .argument('<principal>', 'the name of the client that gets the token', principalFrom)
    .option(
      '--allow <operations>',
      `allowed operations, separated by commas: ${operations.join(', ')}; ` +
        'or everyday (all but steal, revoke and inspect), or all',
      operationsFrom,
      defaultOperations,
    )
    .option(
      '--key <pattern>',
      'allowed keys: a key, or a prefix and *, without spaces (repeatable; default all keys)',
      addPattern,
    )
    .option('--file <file>', 'add the line to this token file, which is created if it is missing')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  holdfast token billing --file tokens
  holdfast token billing --allow lock,query --key 'orders:*' --key report --file tokens
  holdfast token ops --allow all --file tokens
${exitHelp}`,
    )
    .action((principal: string, flags: TokenFlags) => makeToken(principal, flags))
}

/**
 * Makes a token, and prints it. Without `--file`, also prints the line for the token file, with the
 * hash of the token. With `--file`, adds this line to the token file in three steps:
 * - Writes the new content of the file to a second file. If this fails, no token is printed.
 * - Prints the token. If this fails, the token file stays unchanged.
 * - Replaces the token file by the second file.
 */
async function makeToken(principal: string, { allow, key, file, json }: TokenFlags): Promise<void> {
  const token = randomBytes(tokenBytes).toString('base64url')
  const line = tokenLine(token, principal, allow, key)
  const preparedFile = file === undefined ? undefined : await prepareWith(file, line)
  const text = json
    ? jsonLine({ principal, token, line: line.trimEnd() })
    : `${escapeText(token)}\n`
  try {
    await deliver(process.stdout, text)
    if (file === undefined && !json) {
      await deliver(process.stderr, `The line for the token file:\n${escapeText(line.trimEnd())}\n`)
    }
  } catch (cause) {
    preparedFile?.discard()
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.io, `The token cannot be printed (${code}): no file was changed`)
  }
  preparedFile?.commit()
}

function principalFrom(text: string): string {
  if (isOneWord(text) && !text.startsWith('#')) return text
  throw new InvalidArgumentError('It must not contain spaces or begin with #.')
}

function addPattern(text: string, earlier?: readonly string[]): string[] {
  if (isOneWord(text)) return appendValue(text, earlier)
  throw new InvalidArgumentError(
    'It must not contain spaces, because a space begins the next key in the token file.',
  )
}

function operationsFrom(text: string): readonly Operation[] {
  if (text === 'all') return operations
  if (text === 'everyday') return defaultOperations
  const names = text.split(',')
  if (names.every(isOperation)) return names
  throw new InvalidArgumentError(
    `It must be everyday, all, or some of ${operations.join(', ')}, separated by commas.`,
  )
}
