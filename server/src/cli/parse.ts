/**
 * Parses the values of options (numbers, durations, lists) and reads the files that options name.
 * "It" in an error message is the value, because Commander prints the value before the message.
 */
import { readFileSync } from 'node:fs'
import {
  isWithinJsonLimits,
  maxDurationMs,
  maxMetadataBytes,
  maxMetadataDepth,
  utf8Length,
} from '@holdfast/shared'
import { InvalidArgumentError } from 'commander'
import { Exit, exitCodes } from './exitCodes.js'

/** How many ms each unit of a duration has, from the smallest unit to the largest. */
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/**
 * Parses a duration to ms: `0`, or a number with a unit, such as `10s` or `1.5m`. Other numbers
 * without a unit are refused, because flock(1) and other commands read such a number as seconds.
 */
export const parseDuration = durationParser(0, maxDurationMs)

/** Makes a parser like {@link parseDuration} for durations from `min` to `max` ms. */
export function durationParser(min: number, max: number): (text: string) => number {
  return (text) => {
    const [, digits, unit] = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? []
    if (unit === undefined && Number(digits) > 0) {
      throw new InvalidArgumentError(`It has no unit: write the unit, as in ${text}s or ${text}ms.`)
    }
    // Calculate with whole thousandths, because 2.01 * 1000 is not 2010 in floating point.
    const ms = (Math.round(Number(digits) * 1_000) * (unitMs[unit ?? 'ms'] as number)) / 1_000
    if (digits !== undefined && Number.isInteger(ms) && ms >= min && ms <= max) return ms
    throw new InvalidArgumentError(
      `It must be a time from ${durationText(min)} to ${durationText(max)}, ` +
        'such as 500ms, 10s, 2m or 12h.',
    )
  }
}

/** Explains `<time>`, for the help of every command with an option that takes a time. */
export const timeHelp = `
A <time> is a number with a unit: 500ms, 10s, 1.5m or 12h. Only 0 needs no unit.`

/** A duration as a user can type it, in the largest unit that needs no fraction. */
export function durationText(ms: number): string {
  const units = Object.entries(unitMs).filter(([, size]) => ms % size === 0)
  const [unit, size] = units.at(-1) as [string, number]
  return ms === 0 ? '0' : `${ms / size}${unit}`
}

/** Parses a whole number that is 0 or more. */
export const parseInteger = integerParser(0, Number.MAX_SAFE_INTEGER)

/** Makes a parser for a whole number from `min` to `max`. */
export function integerParser(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    // The largest safe integer has 16 digits.
    if (/^\d{1,16}$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number${rangeText(min, max)}.`)
  }
}

function rangeText(min: number, max: number): string {
  return max === Number.MAX_SAFE_INTEGER ? `, at least ${min}` : ` from ${min} to ${max}`
}

/**
 * Parses the JSON value that the leader of an election publishes (`holdfast elect --value`). The
 * limits of metadata apply to this value too.
 *
 * @throws {InvalidArgumentError} if the text is not JSON, or is too long
 */
export function jsonValue(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new InvalidArgumentError(`It must be JSON: quote a text, as in '"text"'.`)
  }
  if (utf8Length(JSON.stringify(value)) > maxMetadataBytes) {
    throw new InvalidArgumentError(`It must be JSON of at most ${maxMetadataBytes} bytes.`)
  }
  if (isWithinJsonLimits(value, maxMetadataDepth)) return value
  throw new InvalidArgumentError(`It must be JSON with at most ${maxMetadataDepth} levels.`)
}

/** Makes a parser for a text of 1 to `maxLength` UTF-16 units. */
export function textParser(maxLength: number): (text: string) => string {
  return (text) => {
    if (text !== '' && text.length <= maxLength) return text
    throw new InvalidArgumentError(`It must have 1 to ${maxLength} characters.`)
  }
}

/** Adds the value of a repeatable option to its earlier values. */
export function appendValue(value: string, earlier: readonly string[] = []): string[] {
  return [...earlier, value]
}

/** Like {@link appendValue}, for an option whose value is one URL or a list of URLs. */
export function appendUrls(value: string, earlier: readonly string[] = []): string[] {
  const urls = urlsInList(value)
  // Keep an empty value, so that the check of the URLs refuses it.
  return [...earlier, ...(urls.length === 0 ? [value] : urls)]
}

/** Splits a list of URLs at its commas, and drops empty items. */
export function urlsInList(text: string): string[] {
  const urls = text.split(',').map((url) => url.trim())
  return urls.filter((url) => url !== '')
}

/**
 * Reads a text file that an option names.
 *
 * @param kind What the error message calls the file, such as "token file".
 * @throws {Exit} 78 if the file cannot be read.
 */
export function readText(path: string, kind = 'file'): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Exit(exitCodes.config, `The ${kind} ${path} cannot be read (${code})`)
  }
}
