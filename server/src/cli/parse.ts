/**
 * What is typed on a command line becomes values here: numbers, durations, lists.
 */
import { maxMs } from '@holdfast/shared'
import { InvalidArgumentError } from 'commander'

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** A duration in ms: a whole number of ms, or a number with a unit, such as `10s` or `1.5m`. */
export const duration = durationIn(0, maxMs)

/** A {@link duration} of at least and at most so many ms. */
export function durationIn(least: number, most: number): (text: string) => number {
  return (text) => {
    const [, number, unit] = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? []
    // By whole thousandths: 2.01 times 1,000 is not 2,010.
    const ms = (Math.round(Number(number) * 1_000) * (unitMs[unit ?? 'ms'] as number)) / 1_000
    if (number !== undefined && Number.isInteger(ms) && ms >= least && ms <= most) return ms
    throw new InvalidArgumentError(
      `It must be a time from ${timeText(least)} to ${timeText(most)}, ` +
        'such as 500 (ms), 500ms, 10s or 2m.',
    )
  }
}

/** A time as it can be typed: in the largest unit that it is a whole number of. */
export function timeText(ms: number): string {
  const fitting = Object.entries(unitMs).filter(([, size]) => ms % size === 0)
  const [unit, size] = fitting.at(-1) as [string, number]
  return ms === 0 ? '0' : `${ms / size}${unit}`
}

export const integer = integerIn(0, Number.MAX_SAFE_INTEGER)

/** A whole number of at least and at most so much. */
export function integerIn(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (/^\d{1,16}$/.test(text) && number >= least && number <= most) return number
    throw new InvalidArgumentError(`It must be a whole number${rangeText(least, most)}.`)
  }
}

function rangeText(least: number, most: number): string {
  return most === Number.MAX_SAFE_INTEGER ? `, at least ${least}` : ` from ${least} to ${most}`
}

export function collect(value: string, former: readonly string[] = []): string[] {
  return [...former, value]
}
