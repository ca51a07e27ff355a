/**
 * What is typed on a command line becomes values here: numbers, durations, lists; and names that do
 * not exist find the ones that were meant.
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

/** The name that was probably meant; undefined if none is near. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly distance: number } | undefined
  for (const candidate of names) {
    const distance = distanceOf(name.toLowerCase(), candidate.toLowerCase())
    if (best === undefined || distance < best.distance) best = { name: candidate, distance }
  }
  return best !== undefined && best.distance <= Math.max(2, name.length / 3) ? best.name : undefined
}

/** How many letters have to be typed, deleted, changed or swapped to make one of the other. */
function distanceOf(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let least = Math.min(changed, rows[i - 1]![j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1)
      }
      row.push(least)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
