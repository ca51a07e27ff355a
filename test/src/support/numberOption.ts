/**
 * Parses numbers on the command line of programs for developers, such as `npm run sim`. A wrong
 * value must end the program: with `--rounds abc`, a program would otherwise check nothing and
 * succeed.
 */
import process from 'node:process'

/** The exit code of a wrong command line, as in `sysexits.h`. */
export const usageExitCode = 64

export interface NumberBound {
  /** The smallest valid number; `-Infinity` for any number. Default: 0. */
  readonly min?: number
}

/**
 * Returns the number in the text, or prints a message and exits with 64.
 *
 * @param name The option, without the dashes.
 */
export function numberOption(name: string, text: string, { min = 0 }: NumberBound = {}): number {
  const number = text.trim() === '' ? Number.NaN : Number(text)
  if (number >= min) return number
  const bound = min === Number.NEGATIVE_INFINITY ? '' : ` of at least ${min}`
  console.error(`--${name} must be a number${bound}, not ${JSON.stringify(text)}`)
  process.exit(usageExitCode)
}

/** Like {@link numberOption}, but returns undefined if the option is not on the command line. */
export function optionalNumber(
  name: string,
  text: string | undefined,
  bound: NumberBound = {},
): number | undefined {
  return text === undefined ? undefined : numberOption(name, text, bound)
}
