/**
 * Refuses unknown option names and suggests the known name that is nearest. Plain JavaScript has no
 * compiler to find `{ timout: 5 }`, and a broker that ignored `authentcate` would let everybody in.
 *
 * This file is part of the browser bundle, so it must stay small.
 */
import { HoldfastError } from './errors.js'

/**
 * A list of all options of `T`, as the keys of an object. The compiler reports an option that the
 * list lacks: `const known: OptionNames<LockOptions> = { timeout: 1, signal: 1 }`.
 */
export type OptionNames<T> = Readonly<Record<Extract<keyof T, string>, 1>>

/**
 * Refuses options that do not exist, even if their value is `undefined`.
 *
 * @param owner The function or option that has these options, such as `createBroker` or `limits`.
 * @param given The options as the caller passed them. `undefined` means no options.
 * @param known Every option that exists, as the keys.
 * @throws {HoldfastError} `INVALID_OPTION` for an unknown name, with the nearest known name, or
 *   with all of them if none is near; also if `given` is no object with options, such as an array,
 *   a number or `null`.
 */
export function refuseUnknownOptions(
  owner: string,
  given: unknown,
  known: Readonly<Record<string, unknown>>,
): void {
  if (given === undefined) return
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    const kind = given === null ? 'null' : Array.isArray(given) ? 'an array' : `a ${typeof given}`
    throw new HoldfastError('INVALID_OPTION', `${owner} takes an object with options, not ${kind}`)
  }
  for (const name of Object.keys(given)) refuseUnknownName(`${owner} has no option`, name, known)
}

/**
 * Refuses a name that is not among the known names.
 *
 * @param beginning The beginning of the error message, such as `connect has no option`. The name
 *   follows.
 * @param known Every name that exists, as the keys.
 * @throws {HoldfastError} `INVALID_OPTION` with the nearest known name, or with all of them if none
 *   is near.
 */
export function refuseUnknownName(
  beginning: string,
  name: string,
  known: Readonly<Record<string, unknown>>,
): void {
  if (Object.hasOwn(known, name)) return
  const names = Object.keys(known)
  const meant = nearest(name, names)
  const hint = meant === undefined ? `it has ${names.join(', ')}` : `did you mean "${meant}"?`
  const shown = JSON.stringify(name.slice(0, 60))
  throw new HoldfastError('INVALID_OPTION', `${beginning} ${shown}: ${hint}`)
}

/** A known name that differs in more edits is not suggested. */
const maxEdits = 5

/**
 * The known name that is nearest to `name`, without regard to case; undefined if none is near. Of
 * two names at the same distance, the one with the longer common beginning wins: `trace` gives
 * `tracer` rather than `grace`.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const typed = name.toLowerCase()
  let best: string | undefined
  let least = Math.min(Math.max(2, name.length / 3), maxEdits)
  for (const candidate of names) {
    const other = candidate.toLowerCase()
    const distance = distanceOf(typed, other, maxEdits) - commonStart(typed, other) / 1_000
    if (distance < least || (best === undefined && distance === least)) {
      best = candidate
      least = distance
    }
  }
  return best
}

/** Length of the common beginning of two words. */
function commonStart(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/**
 * How many letters must be inserted, deleted, changed or swapped to turn `a` into `b`; `Infinity`
 * if more than `most`. That bounds the cost, because each edit tries four ways to go on.
 */
function distanceOf(a: string, b: string, most: number): number {
  if (a === b) return 0
  if (most === 0) return Infinity
  if (a[0] === b[0]) return distanceOf(a.slice(1), b.slice(1), most)
  const rest = (ofA: number, ofB: number) => distanceOf(a.slice(ofA), b.slice(ofB), most - 1)
  const isSwapped = a[0] === b[1] && a[1] === b[0]
  return 1 + Math.min(rest(1, 0), rest(0, 1), rest(1, 1), isSwapped ? rest(2, 2) : Infinity)
}
