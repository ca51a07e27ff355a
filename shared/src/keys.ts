/**
 * What a key may be: the name of the thing that is locked.
 *
 * Keys are compared exactly, code unit by code unit, and never normalised: two spellings of "é" are
 * two keys. Lone surrogates are refused because two different ones become the same UTF-8 bytes,
 * which would make two keys into one.
 */
import { maxKeyBytes } from './limits.js'

/** Printable ASCII of a length that cannot be too long: nearly every key there is. */
const plainKey = /^[\x20-\x7e]{1,512}$/
/** Control characters (C0, DEL, C1), and surrogates that are not part of a pair. */
const forbidden = /[\p{Cc}\p{Cs}]/u

/** Whether a value is a key: 1 to 512 bytes of well-formed UTF-8 without control characters. */
export function isKey(value: unknown): value is string {
  if (typeof value !== 'string') return false
  if (plainKey.test(value)) return true
  if (value.length === 0 || value.length > maxKeyBytes) return false
  return !forbidden.test(value) && utf8Length(value) <= maxKeyBytes
}

/** A prefix is the beginning of a key; the empty prefix matches every key. */
export function isPrefix(value: unknown): value is string {
  return value === '' || isKey(value)
}

/** Length of a string in bytes of UTF-8 (a lone surrogate counts as its replacement, 3). */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const point = text.codePointAt(i)!
    if (point >= 0x80) bytes += point < 0x800 ? 1 : 2
    // A pair is two units and four bytes: the second unit adds nothing more.
    if (point > 0xffff) i++
  }
  return bytes
}
