/**
 * The rules for keys. A key is the name of what is locked.
 *
 * Keys are compared code unit by code unit and never normalised, so two spellings of "é" are two
 * keys. Lone surrogates are not allowed, because two different ones have the same encoding in
 * UTF-8, so two keys would become one.
 */
import { maxKeyBytes } from './limits.js'

/** Keys of printable ASCII, which nearly all keys are. The expression checks their length too. */
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

/**
 * Whether a value is a prefix: the beginning of a key, or the empty text, which matches every key.
 */
export function isPrefix(value: unknown): value is string {
  return value === '' || isKey(value)
}

/** Length of a text in bytes of UTF-8. A lone surrogate counts 3, as its replacement does. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const point = text.codePointAt(i)!
    if (point >= 0x80) bytes += point < 0x800 ? 1 : 2
    // A surrogate pair is two units and four bytes, so its second unit adds nothing.
    if (point > 0xffff) i++
  }
  return bytes
}
