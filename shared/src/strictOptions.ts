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
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(known, name)) continue
    const names = Object.keys(known)
    const meant = nearest(name, names)
    const hint = meant === undefined ? `it has ${names.join(', ')}` : `did you mean "${meant}"?`
    const shown = JSON.stringify(name.slice(0, 60))
    throw new HoldfastError('INVALID_OPTION', `${what} has no option ${shown}: ${hint}`)
  }
}

/**
 * The name that was probably meant, in whatever case; undefined if none is near. Of two that are as
 * near, the one that begins like what was typed: `trace` is `tracer` rather than `grace`.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const typed = name.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, name.length / 3)
  for (const candidate of names) {
    const other = candidate.toLowerCase()
    const distance = distanceOf(typed, other) - commonStart(typed, other) / 1_000
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

/** How many letters have to be typed, deleted, changed or swapped to make one of the other. */
function distanceOf(a: string, b: string): number {
  let before: number[] = []
  let above: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    before = above
    above = row
    row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let least = Math.min(changed, above[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, before[j - 2]! + 1)
      }
      row.push(least)
    }
  }
  return row[b.length]!
}
