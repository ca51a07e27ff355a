/**
 * Arguments and variables that are not UTF-8, such as a file name in Latin-1. Node reads each such
 * byte as U+FFFD, so `holdfast run k rm FILE` would remove another file. Linux has the bytes in
 * /proc; elsewhere they are not known, and the text stands for them.
 */
import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { Exit, exitCodes } from '../exitCodes.js'
import { visible } from '../print.js'

/** The arguments after the name of this program, in bytes; none where the system hides them. */
const rawWords =
  process.argv.length > 2
    ? nullTerminated(contentOf('/proc/self/cmdline')).slice(2 - process.argv.length)
    : []

/** The variables that are not UTF-8: what Node made of "NAME=value", and its bytes. */
const rawVariables = new Map(
  nullTerminated(contentOf('/proc/self/environ'))
    .filter((entry) => !isUtf8(entry))
    .map((entry) => [entry.toString('utf8'), entry]),
)

/** Notes a variable that this process was not started with, such as one from the launcher. */
export function noteVariable(entry: Buffer): void {
  if (!isUtf8(entry)) rawVariables.set(entry.toString('utf8'), entry)
}

/**
 * The bytes of the words at the end of our command line, in order; undefined for each that is
 * UTF-8.
 */
export function bytesOfLast(words: readonly string[]): readonly (Buffer | undefined)[] {
  return words.map((word, i) => {
    const raw = rawWords.at(i - words.length)
    // Words that do not come from the command line, such as the shell for -c, differ.
    return raw === undefined || isUtf8(raw) || raw.toString('utf8') !== word ? undefined : raw
  })
}

/** The bytes of "NAME=value"; undefined if this is UTF-8 or was changed since the start. */
export function bytesOfVariable(name: string, value: string | undefined): Buffer | undefined {
  return rawVariables.get(`${name}=${value}`)
}

/**
 * Refuses words of ours that are not UTF-8: two such keys would be one, and such a file is not
 * found.
 *
 * @param handedOn How many words at the end of the command line are not ours.
 * @throws {Exit} 64
 */
export function refuseOwnBytes(handedOn: number): void {
  const wrong = rawWords.slice(0, rawWords.length - handedOn).find((word) => !isUtf8(word))
  if (wrong === undefined) return
  throw new Exit(
    exitCodes.usage,
    `the argument "${visible(wrong.toString('utf8'))}" is not UTF-8: keys, names and the values ` +
      'of options are. Only the command of "holdfast run" and its arguments may have other bytes',
  )
}

/** For `printf %b` of a POSIX shell: printable ASCII without a backslash, and the rest in octal. */
export function octal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\0${byte.toString(8).padStart(3, '0')}`,
  ).join('')
}

/** Parts of which each has a null byte after it. */
export function nullTerminated(all: Buffer): Buffer[] {
  const parts: Buffer[] = []
  let start = 0
  for (let end = all.indexOf(0); end >= 0; end = all.indexOf(0, start)) {
    parts.push(all.subarray(start, end))
    start = end + 1
  }
  return parts
}

function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}
