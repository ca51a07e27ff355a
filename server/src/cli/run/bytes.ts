/**
 * The bytes of arguments and environment variables that are not UTF-8, such as a file name in
 * Latin-1. Node reads each invalid byte as U+FFFD, so `holdfast run k rm FILE` would remove another
 * file. On Linux the bytes come from /proc. On other systems the bytes are not known, and the
 * command gets the text as Node has read it.
 */
import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { Exit, exitCodes } from '../exitCodes.js'
import { escapeText } from '../output.js'

/**
 * The arguments of this program, in bytes; empty if the system hides the bytes. In
 * `process.argv`, the arguments follow two words, Node and its script. The command line may also
 * have options of Node before the script, so `slice` counts the arguments from the end. Without
 * arguments, `slice(0)` would return all words.
 */
const rawWords =
  process.argv.length > 2
    ? splitAtNullBytes(contentOf('/proc/self/cmdline')).slice(2 - process.argv.length)
    : []

/**
 * The bytes of each environment variable that is not UTF-8. The key is "NAME=value" as Node reads
 * the variable.
 */
const rawVariables = new Map(
  splitAtNullBytes(contentOf('/proc/self/environ'))
    .filter((assignment) => !isUtf8(assignment))
    .map((assignment) => [assignment.toString('utf8'), assignment]),
)

/**
 * Stores the bytes of a variable for {@link bytesOfVariable}. Does nothing if the bytes of
 * "NAME=value" are UTF-8.
 */
export function addRawVariable(assignment: Buffer): void {
  if (!isUtf8(assignment)) rawVariables.set(assignment.toString('utf8'), assignment)
}

/**
 * The bytes of each word of a command, which is at the end of the command line; undefined for each
 * word that is UTF-8.
 */
export function rawBytesOf(words: readonly string[]): readonly (Buffer | undefined)[] {
  return words.map((word, i) => {
    const rawWord = rawWords.at(i - words.length)
    // This program may itself have added `word`, such as the name of the user's shell for `-c`. The
    // command line then has another word at this place.
    return rawWord === undefined || isUtf8(rawWord) || rawWord.toString('utf8') !== word
      ? undefined
      : rawWord
  })
}

/** The bytes of "NAME=value"; undefined if the bytes are UTF-8, or if the variable was changed. */
export function bytesOfVariable(name: string, value: string | undefined): Buffer | undefined {
  return rawVariables.get(`${name}=${value}`)
}

/**
 * Refuses arguments of holdfast itself that are not UTF-8, because Node reads different invalid
 * bytes as the same text. Two different keys would become one key, and a file would not be found.
 *
 * @param wrappedCount How many words at the end of the command line are the command of `run` or
 *   `elect`. These words are not checked.
 * @throws {Exit} 64 if an argument is not UTF-8.
 */
export function refuseInvalidUtf8(wrappedCount: number): void {
  const invalid = rawWords.slice(0, rawWords.length - wrappedCount).find((word) => !isUtf8(word))
  if (invalid === undefined) return
  throw new Exit(
    exitCodes.usage,
    `The argument "${escapeText(invalid.toString('utf8'))}" is not UTF-8. Keys, names and values of ` +
      'options must be UTF-8. Only the command of "run" or "elect" may have other bytes',
  )
}

/**
 * Encodes bytes for `printf %b` of a POSIX shell: visible ASCII characters except the backslash
 * (0x5c) stay, and all other bytes become octal.
 */
export function encodeForPrintf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\0${byte.toString(8).padStart(3, '0')}`,
  ).join('')
}

/** Splits bytes at each null byte, and drops the bytes that follow the last null byte. */
export function splitAtNullBytes(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = []
  let start = 0
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, start)) {
    strings.push(bytes.subarray(start, end))
    start = end + 1
  }
  return strings
}

/** The content of a file; empty if the file cannot be read. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}
