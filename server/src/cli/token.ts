/**
 * `holdfast token`: makes a token for `holdfast serve --tokens`. It is printed once; what is kept
 * is its hash.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { everyday, isOperation, type Operation, operations } from '../access/permissions.js'
import { isOneWord, tokenLine } from '../access/tokens.js'
import { appendPrivate } from '../privateFiles.js'
import { Exit, exitHelp, exits } from './exits.js'
import { collect } from './parse.js'
import { print, printJson } from './print.js'

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
      everyday,
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

function make(whose: string, { allow, key, file, json }: TokenFlags): void {
  const token = randomBytes(32).toString('base64url')
  const line = tokenLine(token, whose, allow, key)
  if (file !== undefined) append(file, line)
  if (json) {
    printJson({ principal: whose, token, line: line.trimEnd() })
    return
  }
  print(token)
  if (file === undefined) process.stderr.write(`for the file of tokens:\n${line}`)
}

function append(file: string, line: string): void {
  try {
    // Or the line before would have all keys of this one as well.
    appendPrivate(file, hasOpenEnd(file) ? `\n${line}` : line)
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    if (code === 'ELOOP') {
      throw new Exit(exits.config, `The file ${file} is a link; give the path of the file itself`)
    }
    throw new Exit(exits.config, `The file ${file} cannot be written (${code}).`)
  }
}

/** Whether the last line has no end, as some editors leave it. */
function hasOpenEnd(file: string): boolean {
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() === true
  return isFile && /[^\n]$/.test(readFileSync(file, 'utf8'))
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
  if (text === 'everyday') return everyday
  const names = text.split(',')
  if (names.every(isOperation)) return names
  throw new InvalidArgumentError(`They are some of ${operations.join(', ')}.`)
}
