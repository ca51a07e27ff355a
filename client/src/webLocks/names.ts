/**
 * Converts names of the Web Locks API to keys and back.
 *
 * A name may be any JavaScript string, even the empty string or a string with NUL or lone
 * surrogates. Two names are equal if all their UTF-16 units are equal. The rules for keys are
 * stricter, because keys travel as UTF-8. Most names are valid keys and are used unchanged. So
 * `session.locks.request(x, …)` and `session.lock(x)` ask for the same lock. Every other name is
 * escaped to a key with a prefix that is reserved for such escapes. A name that begins with this
 * prefix is escaped too, so different names have different keys.
 */
import { isKey } from '@holdfast/shared'
import { isReserved, reservedPrefix } from '../locks/options.js'

/** The characters to escape: the escape character `%`, and characters that no key may contain. */
const escapedCharacters = /[%\p{Cc}\p{Cs}]/gu

/**
 * Returns the key for a name: the name itself if it is a valid key without the reserved prefix,
 * otherwise its escape. Returns undefined if the escape is longer than a key may be: 512 bytes.
 *
 * A name of up to 100 characters always has a key, because an escape has at most 506 bytes then: 6
 * bytes of the reserved prefix, and at most 5 bytes for each character, such as `%0000`.
 */
export function keyForName(name: string): string | undefined {
  if (isKey(name) && !isReserved(name)) return name
  const key = reservedPrefix + name.replace(escapedCharacters, escapeUnit)
  return isKey(key) ? key : undefined
}

/** Returns the name that has this key: the key itself, if the key is not an escape. */
export function nameForKey(key: string): string {
  if (!isReserved(key)) return key
  return key.slice(reservedPrefix.length).replace(/%([0-9A-F]{4})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
}

/** Escapes one of `escapedCharacters`, each of which consists of a single UTF-16 unit. */
function escapeUnit(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}
