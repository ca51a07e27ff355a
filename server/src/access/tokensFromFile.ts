/**
 * Authenticates clients by a token file. Each line has the hash of a token, the principal, the
 * allowed operations, and the keys on which the operations are allowed. The principal is the name
 * of the client to which the token belongs.
 *
 *     # SHA-256 of the token, in hex   principal   operations        keys
 *     9f86d081884c7d65...              billing     lock,share,query  orders:* invoices:*
 *     60303ae22b998861...              ops         all
 *
 * - Operations are separated by commas. The default `everyday` means all operations but `steal`,
 *   `revoke` and `inspect`.
 * - Keys are separated by spaces. Each item is a key, or a prefix with a `*` at its end. The
 *   default `*` means all keys. An item cannot contain a space. To allow the key `a b`, write `a*`,
 *   which also allows all other keys that begin with `a`.
 *
 * The file holds hashes, so a thief of the file cannot use the tokens if the tokens are long and
 * random.
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
import { equalInConstantTime } from '../core/secrets.js'
import { nodeEnvironment } from '../platform/environment.js'

interface FileToken {
  /** SHA-256 of the token, in base64url. */
  readonly hash: string
  /** The words of the line after the hash: the principal, its operations and its keys. */
  readonly wordsAfterHash: string
  readonly identity: Identity
}

/**
 * Makes an `authenticate` option that accepts clients with a token of the file. The file is read
 * again when the file changes. After a line was removed, the broker refuses new connections with
 * the token of that line. Open connections stay open.
 *
 * @param onFault Called once for each change that makes the file unusable. Until the file is valid
 *   again, the former lines stay valid.
 * @param onChange Called when the lines have changed. `added` has the principals of new lines, and
 *   `removed` the principals of lines that are gone. A changed line counts as gone and as new.
 * @throws {HoldfastError} `INVALID_OPTION` if the file cannot be read or has an invalid line.
 */
export function tokensFromFile(
  path: string,
  onFault: (error: HoldfastError) => void = () => {},
  onChange: (added: readonly string[], removed: readonly string[]) => void = () => {},
): Authenticate {
  if (typeof path !== 'string' || path === '') {
    throw invalidOption(`tokensFromFile takes the path of a file, not ${typeName(path)}`)
  }
  if (typeof onFault !== 'function') {
    throw invalidOption(`onFault of tokensFromFile must be a function, not ${typeName(onFault)}`)
  }
  if (typeof onChange !== 'function') {
    throw invalidOption(`onChange of tokensFromFile must be a function, not ${typeName(onChange)}`)
  }
  let knownVersion = versionOf(path)
  let tokens = readTokens(path)
  const readIfChanged = (): void => {
    // The version is read before the text. If the file changes between these two steps, the next
    // call reads the file again.
    const version = versionOf(path)
    if (version === knownVersion) return
    // An unusable version counts as known too, so that `onFault` is called only once for it.
    knownVersion = version
    const formerTokens = tokens
    try {
      tokens = readTokens(path)
    } catch (error) {
      onFault(error as HoldfastError)
      return
    }
    const [added, removed] = [
      principalsOnlyIn(tokens, formerTokens),
      principalsOnlyIn(formerTokens, tokens),
    ]
    if (added.length + removed.length > 0) onChange(added, removed)
  }
  return ({ token }) => {
    if (token === undefined) return undefined
    readIfChanged()
    const hash = nodeEnvironment.hash(token)
    let identity: Identity | undefined
    // Compare all lines even after a match, so that the duration reveals nothing about the file.
    for (const fileToken of tokens) {
      if (equalInConstantTime(fileToken.hash, hash)) identity = fileToken.identity
    }
    return identity
  }
}

/**
 * Returns the line of a token for the token file.
 *
 * @param principal The principal that the token belongs to; must not have white space.
 * @param allow At least one operation. Default {@link defaultOperations}.
 * @param keys One or more items without white space. An item is a key, or a prefix with a `*` at
 *   its end. Default `*`.
 * @throws {HoldfastError} `INVALID_OPTION` for an argument that the line cannot express.
 */
export function tokenLine(
  token: string,
  principal: string,
  allow: readonly Operation[] = defaultOperations,
  keys: readonly string[] = ['*'],
): string {
  if (typeof token !== 'string' || token === '') {
    throw invalidOption(`tokenLine takes a token that is not empty, not ${typeName(token)}`)
  }
  for (const [name, list] of Object.entries({ allow, keys })) {
    if (Array.isArray(list)) continue
    throw invalidOption(`${name} of tokenLine must be a list of texts, not ${typeName(list)}`)
  }
  const unknownOperation = allow.find((name) => !isOperation(name))
  if (unknownOperation !== undefined) {
    throw invalidOption(
      `tokenLine cannot allow "${unknownOperation}": operations are ${operations.join(', ')}`,
    )
  }
  if (![principal, ...keys].every(isOneWord) || allow.length === 0 || keys.length === 0) {
    throw invalidOption(
      'A line of the token file must have a principal, operations and keys, none with white space',
    )
  }
  const hash = Buffer.from(nodeEnvironment.hash(token), 'base64url').toString('hex')
  return `${hash} ${principal} ${allow.join()} ${keys.join(' ')}\n`
}

/**
 * Whether `text` is a single word of a line. With white space, `text` would become two words, and
 * the second word could allow every operation or key.
 */
export function isOneWord(text: unknown): boolean {
  return typeof text === 'string' && /^\S+$/.test(text)
}

/** The principals of the lines in `tokens` that are not among the lines in `others`. */
function principalsOnlyIn(tokens: readonly FileToken[], others: readonly FileToken[]): string[] {
  const lineOf = ({ hash, wordsAfterHash }: FileToken) => `${hash} ${wordsAfterHash}`
  const otherLines = new Set(others.map(lineOf))
  return tokens
    .filter((token) => !otherLines.has(lineOf(token)))
    .map(({ identity }) => identity.principal)
}

/** A text that changes whenever the file changes. */
function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`
}

/**
 * Reads the tokens of all lines.
 *
 * @throws {HoldfastError} `INVALID_OPTION` if the file cannot be read or has an invalid line.
 */
function readTokens(path: string): FileToken[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      const problem = `The token file ${path} does not exist`
      const advice = `make it with "holdfast token NAME --file ${path}", or correct the path`
      throw invalidOption(`${problem}: ${advice}`, cause)
    }
    throw invalidOption(`The token file ${path} cannot be read: check its path and its mode`, cause)
  }
  const tokens: FileToken[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const content = line.trim()
    if (content === '' || content.startsWith('#')) continue
    tokens.push(tokenFrom(content.split(/\s+/), `Line ${index + 1} of the token file ${path}`))
  }
  return tokens
}

/**
 * Makes the token of one line, from the words of the line.
 *
 * @param lineName The file and the number of the line, for the beginning of error messages. The
 *   messages do not show the line itself, because an operator may have written a token there by
 *   mistake.
 */
function tokenFrom(
  [hash = '', principal, allow = 'everyday', ...keys]: string[],
  lineName: string,
) {
  if (!/^[0-9a-f]{64}$/i.test(hash)) {
    throw invalidOption(
      `${lineName} does not begin with a SHA-256 in hex: add lines with holdfast token`,
    )
  }
  if (principal === undefined) {
    throw invalidOption(`${lineName} has no principal: write the owner of the token after the hash`)
  }
  const rule = { keys: keys.length === 0 ? ['*'] : keys, allow: operationsFrom(allow, lineName) }
  return {
    hash: Buffer.from(hash, 'hex').toString('base64url'),
    wordsAfterHash: [principal, allow, ...keys].join(' '),
    identity: { principal, may: permissionsFrom([rule]) },
  }
}

/** The operations that a line names: `all`, `everyday`, or names separated by commas. */
function operationsFrom(text: string, lineName: string): readonly Operation[] {
  if (text === 'all') return operations
  if (text === 'everyday') return defaultOperations
  const names = text.split(',')
  if (names.every(isOperation)) return names
  const validNames = ['all', 'everyday', ...operations].join(', ')
  throw invalidOption(`${lineName} allows an unknown operation; the valid names are ${validNames}`)
}

function invalidOption(message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('INVALID_OPTION', message, cause === undefined ? undefined : { cause })
}

/** The type of a value for an error message. The value is not shown, because it may be a token. */
function typeName(value: unknown): string {
  return value === '' ? 'an empty text' : `a value of type ${typeof value}`
}
