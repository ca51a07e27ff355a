/**
 * Web Locks names as keys.
 *
 * A name may be any DOMString: empty, with NUL, with lone surrogates, and two names are the same
 * only if every code unit is. A key is stricter, because it travels as UTF-8. So a name that is a
 * key is that key, and both faces of a session meet on it; every other name travels as an escape
 * that no two names share, under a prefix with which no key of a caller's may begin.
 */
import { isKey } from '@holdfast/shared'

/** Begins the escape of a name. */
const reserved = '~name:'

/** For whoever gives such a key. */
export const whatIsReserved = `keys that begin with ${reserved} belong to names of session.locks`

/** What cannot stand for itself in an escape: the sign of escaping, and what no key may contain. */
const unfit = /[%\p{Cc}\p{Cs}]/gu

/** Whether a key is one that only a name can have; `session.lock` refuses those. */
export function isReserved(key: string): boolean {
  return key.startsWith(reserved)
}

/**
 * The key of a Web Locks name: the name itself if it can be a key, else an escape of it. Undefined
 * if that is longer than a key may be; a name of up to 100 characters always has one.
 */
export function keyForName(name: string): string | undefined {
  if (isKey(name) && !isReserved(name)) return name
  const key = reserved + name.replace(unfit, escapeUnit)
  return isKey(key) ? key : undefined
}

/** The name that has this key; the key itself if it is nobody's escape. */
export function nameForKey(key: string): string {
  if (!isReserved(key)) return key
  return key.slice(reserved.length).replace(/%([0-9A-F]{4})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
}

/** None of them is longer than one code unit. */
function escapeUnit(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}
