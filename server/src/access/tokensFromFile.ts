/**
 * Tokens in a file: one line each, with the hash of the token, whose it is, and what it allows.
 *
 *     # SHA-256 of the token, in hex   principal   operations        keys
 *     9f86d081884c7d65...              billing     lock,share,query  orders:* invoices:*
 *     60303ae22b998861...              ops         all
 *
 * Operations are separated by commas, `all` or `everyday` (all but `steal` and `revoke`, the
 * default); keys by spaces, each a key or the beginning of keys with a `*` after it (default `*`).
 * Of a key with a space in it, only the beginning before that can stand here.
 * What a thief reads in the file opens nothing, as long as the tokens were long and random.
 */
import { readFileSync, statSync } from 'node:fs'
import { HoldfastError } from '@holdfast/shared'
import type { Identity, Operation } from '../config/permissions.js'
import {
  type Authenticate,
  defaultOperations,
  isOperation,
  operations,
  permissionsFrom,
} from '../config/permissions.js'
import { sameText } from '../core/secrets.js'
import { nodeEnvironment } from '../platform/environment.js'

interface Token {
  readonly hash: string
  readonly identity: Identity
}

/**
 * Lets in whoever shows a token of the file. The file is read again when it changes, so a line that
 * is taken out lets nobody in any more; who is in stays until the connection ends.
 *
 * @param onFault Told, once for each change, that the file has become unusable; what it said before
 *   holds until it is good again.
 * @throws {HoldfastError} `INVALID_OPTION` if the file cannot be read or has a line that is wrong.
 */
export function tokensFromFile(
  path: string,
  onFault: (error: HoldfastError) => void = () => {},
): Authenticate {
  if (typeof path !== 'string' || path === '') {
    throw unusable(`tokensFromFile takes the path of a file, not ${kindOf(path)}`)
  }
  if (typeof onFault !== 'function') {
    throw unusable(`onFault of tokensFromFile must be a function, not ${kindOf(onFault)}`)
  }
  let seen = stampOf(path)
  let tokens = readTokens(path)
  const refresh = (): void => {
    const stamp = stampOf(path)
    if (stamp === seen) return
    seen = stamp
    try {
      tokens = readTokens(path)
    } catch (error) {
      onFault(error as HoldfastError)
    }
  }
  return ({ token }) => {
    if (token === undefined) return undefined
    refresh()
    const hash = nodeEnvironment.hash(token)
    let found: Identity | undefined
    // Every line is compared, whole, whether or not an earlier one fits: time tells nothing.
    for (const one of tokens) if (sameText(one.hash, hash)) found = one.identity
    return found
  }
}

/**
 * What to put into the file for a token.
 *
 * @param principal Whose it is; without blanks, as the keys.
 * @param allow At least one operation. Default {@link defaultOperations}.
 * @param keys At least one key, or beginning of keys with a `*` after it. Default all.
 * @throws {HoldfastError} `INVALID_OPTION` for what would be read as something else.
 */
export function tokenLine(
  token: string,
  principal: string,
  allow: readonly Operation[] = defaultOperations,
  keys: readonly string[] = ['*'],
): string {
  if (typeof token !== 'string' || token === '') {
    throw unusable(`tokenLine takes a token that is not empty, not ${kindOf(token)}`)
  }
  for (const [name, list] of Object.entries({ allow, keys })) {
    if (Array.isArray(list)) continue
    throw unusable(`${name} of tokenLine must be a list of texts, not ${kindOf(list)}`)
  }
  const wrong = allow.find((name) => !isOperation(name))
  if (wrong !== undefined) {
    throw unusable(`tokenLine cannot allow "${wrong}": operations are ${operations.join(', ')}`)
  }
  if (![principal, ...keys].every(isOneWord) || allow.length === 0 || keys.length === 0) {
    throw new HoldfastError(
      'INVALID_OPTION',
      'A line for the token file has a principal, an operation and a key, with no blanks in them.',
    )
  }
  const hash = Buffer.from(nodeEnvironment.hash(token), 'base64url').toString('hex')
  return `${hash} ${principal} ${allow.join()} ${keys.join(' ')}\n`
}

/** Whether this is one still when it stands between blanks; a second one may allow everything. */
export function isOneWord(text: unknown): boolean {
  return typeof text === 'string' && /^\S+$/.test(text)
}

/** Changes whenever the file does. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`
}

function readTokens(path: string): Token[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw unusable(`The token file ${path} cannot be read.`, cause)
  }
  const tokens: Token[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = line.trim()
    if (words === '' || words.startsWith('#')) continue
    tokens.push(tokenFrom(words.split(/\s+/), `Line ${index + 1} of the token file ${path}`))
  }
  return tokens
}

/**
 * @param where Begins a sentence; the line itself is not repeated, it may hold a token by mistake.
 */
function tokenFrom([hash = '', principal, allow = 'everyday', ...keys]: string[], where: string) {
  if (!/^[0-9a-f]{64}$/i.test(hash)) {
    throw unusable(`${where} does not begin with a SHA-256 in hex.`)
  }
  if (principal === undefined) throw unusable(`${where} does not say whose the token is.`)
  const grant = { keys: keys.length === 0 ? ['*'] : keys, allow: operationsFrom(allow, where) }
  return {
    hash: Buffer.from(hash, 'hex').toString('base64url'),
    identity: { principal, may: permissionsFrom([grant]) },
  }
}

function operationsFrom(text: string, where: string): readonly Operation[] {
  if (text === 'all') return operations
  if (text === 'everyday') return defaultOperations
  const names = text.split(',')
  if (names.every(isOperation)) return names
  const allowed = ['all', 'everyday', ...operations].join(', ')
  throw unusable(`${where} allows something that is none of ${allowed}.`)
}

function unusable(message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('INVALID_OPTION', message, cause === undefined ? undefined : { cause })
}

/** Of a value of the wrong kind; never the value, which may be a token. */
function kindOf(value: unknown): string {
  return value === '' ? 'an empty text' : `a value of type ${typeof value}`
}
