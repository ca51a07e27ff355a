/**
 * Converts names of the Web Locks API to keys and back.
 *
 * A name may be any JavaScript string: empty, with NUL, with lone surrogates. Two names are equal
 * if all their UTF-16 units are equal. A key is stricter, because it travels as UTF-8. A name that
 * is a valid key is used as that key, so that `session.lock` and `session.locks` share it. Every
 * other name is escaped to a key with a reserved prefix, and no two names have the same escape.
 */
import { isKey } from '@holdfast/shared'
import { isReserved, reservedPrefix } from '../locks/options.js'

/** What an escape must not contain: the escape character itself, and characters that no key has. */
const escaped = /[%\p{Cc}\p{Cs}]/gu

/**
 * The key of a Web Locks name: the name itself if it is a valid key, otherwise its escape.
 * Undefined if the escape is longer than a key may be. A name of up to 100 characters always has a
 * key.
 */
export function keyForName(name: string): string | undefined {
  if (isKey(name) && !isReserved(name)) return name
  const key = reservedPrefix + name.replace(escaped, escapeUnit)
  return isKey(key) ? key : undefined
}

/** The name that has this key; the key itself if the key is not an escape. */
export function nameForKey(key: string): string {
  if (!isReserved(key)) return key
  return key.slice(reservedPrefix.length).replace(/%([0-9A-F]{4})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
}

/** Every escaped character is a single UTF-16 unit. */
function escapeUnit(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}
