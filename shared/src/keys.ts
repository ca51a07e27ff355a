/**
 * The rules for keys. A key is the name of the resource that a lock protects.
 *
 * Two keys are equal if their UTF-16 units are equal. Keys are not normalised, so the two Unicode
 * spellings of "é" are two keys. A lone surrogate is not allowed, because a UTF-8 encoder replaces
 * every lone surrogate by U+FFFD. So two different keys would look equal to the broker.
 */
import { maxKeyBytes } from './limits.js'

/**
 * Matches a key of printable ASCII, as nearly all keys are. Also checks the length of the key: 512
 * is `maxKeyBytes`.
 */
const plainKey = /^[\x20-\x7e]{1,512}$/
/** Matches a text of printable ASCII, which has as many bytes as characters. */
const printableAscii = /^[\x20-\x7e]*$/
/** From this length on, {@link printableAscii} is faster than a loop over the characters. */
const longTextLength = 64
/** Control characters (C0, DEL, C1), and surrogates that are not part of a pair. */
const forbiddenCharacter = /[\p{Cc}\p{Cs}]/u

/** Whether a value is a key: 1 to 512 bytes of well-formed UTF-8 without control characters. */
export function isKey(value: unknown): value is string {
  if (typeof value !== 'string') return false
  if (plainKey.test(value)) return true
  // In UTF-8, each UTF-16 unit becomes at least one byte. So a text with more units than
  // `maxKeyBytes` is too long, and does not need the slower checks below.
  if (value.length === 0 || value.length > maxKeyBytes) return false
  return !forbiddenCharacter.test(value) && utf8Length(value) <= maxKeyBytes
}

/**
 * Whether a value is a prefix: the beginning of a key, or the empty text, which matches every key.
 */
export function isPrefix(value: unknown): value is string {
  return value === '' || isKey(value)
}

/**
 * Length of a text in bytes of UTF-8. A lone surrogate counts as 3, like its replacement U+FFFD.
 */
export function utf8Length(text: string): number {
  if (text.length >= longTextLength && printableAscii.test(text)) return text.length
  // In UTF-8, each UTF-16 unit becomes at least one byte.
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const codePoint = text.codePointAt(i)!
    // A code point has two bytes from 0x80 on, and three bytes from 0x800 on.
    if (codePoint >= 0x80) bytes += codePoint < 0x800 ? 1 : 2
    // Skips the second unit of a surrogate pair. The pair has four bytes: one byte for each of its
    // two units, and the two bytes that the line above added.
    if (codePoint > 0xffff) i++
  }
  return bytes
}
