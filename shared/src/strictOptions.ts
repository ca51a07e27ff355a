/**
 * Refuses unknown option names and suggests the known name that is most similar. Plain JavaScript
 * has no compiler that reports the misspelt option in `{ timout: 5 }`. If a broker ignored the
 * misspelt option `authentcate`, that broker would accept every client.
 *
 * This file is part of the browser bundle, so it must stay small.
 */
import { HoldfastError } from './errors.js'

/**
 * An object that has every option name of `T` as a key; the values are always 1 and mean nothing.
 * The compiler reports an option name that is missing in such an object. Example:
 * `const known: OptionNames<LockOptions> = { timeout: 1, signal: 1 }`.
 */
export type OptionNames<T> = Readonly<Record<Extract<keyof T, string>, 1>>

/**
 * Throws if `given` has an option that does not exist, even an option with the value `undefined`.
 *
 * @param owner The function or option that has these options, such as `createBroker` or `limits`.
 * @param given The options as the caller passed them. `undefined` means no options.
 * @param known An object whose keys are all existing options.
 * @throws {HoldfastError} `INVALID_OPTION` for an unknown name. The message suggests the nearest
 *   known name, or lists all known names if no name is near. Also `INVALID_OPTION` if `given` is
 *   not an object with options, but for example an array, a number or `null`.
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
 * Throws if a name is not among the known names.
 *
 * @param messageStart The error message up to the unknown name, such as `connect has no option`.
 * @param known An object whose keys are all existing names.
 * @throws {HoldfastError} `INVALID_OPTION`. The message suggests the nearest known name, or lists
 *   all known names if no name is near.
 */
export function refuseUnknownName(
  messageStart: string,
  name: string,
  known: Readonly<Record<string, unknown>>,
): void {
  if (Object.hasOwn(known, name)) return
  const names = Object.keys(known)
  const suggestion = nearestName(name, names)
  const hint =
    suggestion === undefined ? `it has ${names.join(', ')}` : `did you mean "${suggestion}"?`
  // Cuts a long name, so that the message stays readable.
  const quotedName = JSON.stringify(name.slice(0, 60))
  throw new HoldfastError('INVALID_OPTION', `${messageStart} ${quotedName}: ${hint}`)
}

/** The largest number of edits by which a suggestion may differ from the misspelt name. */
const maxEdits = 5

/**
 * Returns the known name that needs the fewest edits to become `name`, without regard to case.
 * Returns undefined if every known name needs too many edits. If two known names need equally many
 * edits, the function returns the one that shares the longer beginning with `name`. For example, if
 * the caller wrote `trace` and the known names are `grace` and `tracer`, it returns `tracer`.
 *
 * @param minAllowedEdits The function allows a third of the length of `name` as edits, but at least
 *   this number and at most 5.
 */
export function nearestName(
  name: string,
  knownNames: readonly string[],
  minAllowedEdits = 2,
): string | undefined {
  const lowerName = name.toLowerCase()
  const maxDistance = Math.min(Math.max(minAllowedEdits, name.length / 3), maxEdits)
  let bestName: string | undefined
  let bestDistance = Infinity
  for (const candidate of knownNames) {
    const lowerCandidate = candidate.toLowerCase()
    // Divided by 1,000, the length of the common beginning is less than one edit, and only breaks
    // ties.
    const distance =
      editDistance(lowerName, lowerCandidate, maxEdits) -
      commonStart(lowerName, lowerCandidate) / 1_000
    if (distance <= maxDistance && distance < bestDistance) {
      bestName = candidate
      bestDistance = distance
    }
  }
  return bestName
}

/** Length of the common beginning of two words. */
function commonStart(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}

/**
 * How many letters must be inserted, deleted, changed or swapped to turn `a` into `b`; `Infinity`
 * if more than `maxDistance`. Where the texts differ, the function tries up to four kinds of edits.
 * So `maxDistance` must be small: each further edit multiplies the cost by up to four.
 */
function editDistance(a: string, b: string, maxDistance: number): number {
  if (a === b) return 0
  if (maxDistance === 0) return Infinity
  if (a[0] === b[0]) return editDistance(a.slice(1), b.slice(1), maxDistance)
  const withEdit = (skipA: number, skipB: number) =>
    editDistance(a.slice(skipA), b.slice(skipB), maxDistance - 1)
  const isSwapped = a[0] === b[1] && a[1] === b[0]
  return (
    1 +
    Math.min(withEdit(1, 0), withEdit(0, 1), withEdit(1, 1), isSwapped ? withEdit(2, 2) : Infinity)
  )
}
