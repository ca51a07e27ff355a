/**
 * `holdfast token`: makes a token for `holdfast serve --tokens`. It is printed once; what is kept
 * is its hash.
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
import { deliver } from './output.js'
import { collect } from './parse.js'
import { jsonLine, visible } from './print.js'
import { prepareWith } from './tokenFile.js'

interface TokenFlags {
  readonly allow: readonly Operation[]
  readonly key?: readonly string[] | undefined
  readonly file?: string | undefined
  readonly json?: boolean | undefined
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('make a token, and the line for the file of serve --tokens')
    .argument('<principal>', 'whose it is', principal)
    .option(
      '--allow <operations>',
      `what it allows, by commas: ${operations.join(', ')}, everyday (all but steal and revoke) or all`,
      operationsFrom,
      defaultOperations,
    )
    .option(
      '--key <pattern>',
      'on which keys: a key, or a beginning and *, without spaces (repeatable; default all)',
      pattern,
    )
    .option('--file <file>', 'add the line to this file, which is made if need be')
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
    .action((whose: string, flags: TokenFlags) => make(whose, flags))
}

/**
 * The token is printed before its line is in the file: a line whose token nobody has read is of no
 * use. The new file is written before that, so that a token is not printed in vain either.
 */
async function make(whose: string, { allow, key, file, json }: TokenFlags): Promise<void> {
  const token = randomBytes(32).toString('base64url')
  const line = tokenLine(token, whose, allow, key)
  const prepared = file === undefined ? undefined : await prepareWith(file, line)
  const text = json
    ? jsonLine({ principal: whose, token, line: line.trimEnd() })
    : `${visible(token)}\n`
  try {
    await deliver(process.stdout, text)
    if (file === undefined && !json) {
      await deliver(process.stderr, `for the file of tokens:\n${visible(line.trimEnd())}\n`)
    }
  } catch (cause) {
    prepared?.discard()
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.io, `The token cannot be printed (${code}); no file has been changed`)
  }
  prepared?.commit()
}

function principal(text: string): string {
  if (isOneWord(text) && !text.startsWith('#')) return text
  throw new InvalidArgumentError('It has no spaces, and does not begin with #.')
}

function pattern(text: string, former?: readonly string[]): string[] {
  if (isOneWord(text)) return collect(text, former)
  throw new InvalidArgumentError('It is one word: in the file, a space begins the next key.')
}

function operationsFrom(text: string): readonly Operation[] {
  if (text === 'all') return operations
  if (text === 'everyday') return defaultOperations
  const names = text.split(',')
  if (names.every(isOperation)) return names
  throw new InvalidArgumentError(`They are some of ${operations.join(', ')}.`)
}
