/**
 * What is typed on a command line becomes values here: numbers, durations, lists.
 */
import { InvalidArgumentError } from 'commander'

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** A duration in ms: a whole number of ms, or a number with a unit, such as `10s` or `1.5m`. */
export function duration(text: string): number {
  const [, number, unit] = /^(\d{1,10}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? []
  // By whole thousandths: 2.01 times 1,000 is not 2,010.
  const ms = (Math.round(Number(number) * 1_000) * (unitMs[unit ?? 'ms'] as number)) / 1_000
  if (number === undefined || !Number.isInteger(ms) || ms > 2 ** 31 - 1) {
    throw new InvalidArgumentError('It must be a time, such as 500 (ms), 500ms, 10s or 2m.')
  }
  return ms
}

export function integer(text: string): number {
  const number = Number(text)
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(number)) return number
  throw new InvalidArgumentError('It must be a whole number.')
}

export function collect(value: string, former: readonly string[] = []): string[] {
  return [...former, value]
}
