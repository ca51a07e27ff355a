/**
 * Converts names of the Web Locks API to keys and back.
 *
 * A name may be any JavaScript string, even the empty string or a string with NUL or lone
 * surrogates. Two names are equal if all their UTF-16 units are equal. The rules for keys are
 * stricter, because keys travel as UTF-8. A name that is a valid key, and does not begin with the
 * reserved prefix, is used as the key unchanged. So a lock from `session.locks` (the Web Locks API)
 * and a lock from `session.lock` with the same name exclude each other. Every other name is escaped
 * to a key with the reserved prefix. Different names have different escapes.
 */
import { isKey } from '@holdfast/shared'
import { isReserved, reservedPrefix } from '../locks/options.js'

/** The characters that are escaped: the escape character `%`, and characters that no key has. */
const escapedCharacters = /[%\p{Cc}\p{Cs}]/gu

/**
 * Returns the key for a name: the name itself if it is a valid key without the reserved prefix,
 * otherwise its escape. Returns undefined if the escape is longer than a key may be: 512 bytes.
 *
 * A name of up to 100 characters always has a key. An escape has the 6 bytes of the reserved
 * prefix, and at most 5 bytes for each character of the name.
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

/** Escapes a character that consists of a single UTF-16 unit. */
function escapeUnit(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}
