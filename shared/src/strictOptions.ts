/**
 * Options that do not exist are refused, with the name that was probably meant. Plain JavaScript
 * has no compiler to find `{ timout: 5 }`, and an ignored `authentcate` would open the broker.
 *
 * It is part of the browser bundle, so it stays small.
 */
import { HoldfastError } from './errors.js'

/**
 * Every option of `T`, so that the compiler finds one that was forgotten:
 * `const known: OptionNames<LockOptions> = { timeout: 1, signal: 1 }`.
 */
export type OptionNames<T> = Readonly<Record<Extract<keyof T, string>, 1>>

/**
 * Refuses options that `what` does not have, whatever their value, `undefined` included.
 *
 * @param what The function or the option that takes them, such as `createBroker` or `limits`.
 * @param given The options as the caller passed them; `undefined` is none.
 * @param known Every option that exists, as the keys.
 * @throws {HoldfastError} `INVALID_OPTION` with the nearest name if there is one, or all of them;
 *   also if `given` is neither `undefined` nor a plain set of options (an array, a number, `null`).
 */
export function refuseUnknownOptions(
  what: string,
  given: unknown,
  known: Readonly<Record<string, unknown>>,
): void {
  if (given === undefined) return
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    const kind = given === null ? 'null' : Array.isArray(given) ? 'an array' : `a ${typeof given}`
    throw new HoldfastError('INVALID_OPTION', `${what} takes an object with options, not ${kind}`)
  }
  for (const name of Object.keys(given)) refuseUnknownName(`${what} has no option`, name, known)
}

/**
 * Refuses a name that is not among the known ones.
 *
 * @param sentence Says what does not exist, such as `connect has no option`; the name follows.
 * @param known Every name that exists, as the keys.
 * @throws {HoldfastError} `INVALID_OPTION` with the nearest name if there is one, or all of them.
 */
export function refuseUnknownName(
  sentence: string,
  name: string,
  known: Readonly<Record<string, unknown>>,
): void {
  if (Object.hasOwn(known, name)) return
  const names = Object.keys(known)
  const meant = nearest(name, names)
  const hint = meant === undefined ? `it has ${names.join(', ')}` : `did you mean "${meant}"?`
  const shown = JSON.stringify(name.slice(0, 60))
  throw new HoldfastError('INVALID_OPTION', `${sentence} ${shown}: ${hint}`)
}

/** A name that is further from what was typed was not meant. */
const mostEdits = 5

/**
 * The name that was probably meant, in whatever case; undefined if none is near. Of two that are as
 * near, the one that begins like what was typed: `trace` is `tracer` rather than `grace`.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const typed = name.toLowerCase()
  let best: string | undefined
  let least = Math.min(Math.max(2, name.length / 3), mostEdits)
  for (const candidate of names) {
    const other = candidate.toLowerCase()
    const distance = distanceOf(typed, other, mostEdits) - commonStart(typed, other) / 1_000
    if (distance < least || (best === undefined && distance === least)) {
      best = candidate
      least = distance
    }
  }
  return best
}

/** How many letters two words have in common at their beginning. */
function commonStart(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/**
 * How many letters have to be typed, deleted, changed or swapped to make one of the other; Infinity
 * if more than `most`, which bounds the cost: each edit tries four ways to go on.
 */
function distanceOf(a: string, b: string, most: number): number {
  if (a === b) return 0
  if (most === 0) return Infinity
  if (a[0] === b[0]) return distanceOf(a.slice(1), b.slice(1), most)
  const rest = (ofA: number, ofB: number) => distanceOf(a.slice(ofA), b.slice(ofB), most - 1)
  const isSwapped = a[0] === b[1] && a[1] === b[0]
  return 1 + Math.min(rest(1, 0), rest(0, 1), rest(1, 1), isSwapped ? rest(2, 2) : Infinity)
}
