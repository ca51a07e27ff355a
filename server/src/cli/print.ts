/**
 * How things are shown in a terminal. What others chose (keys, names, metadata) is made visible
 * first: a key must not be able to move the cursor.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/client'

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** A text whose every character prints; the rest is spelt out. */
export function visible(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`,
  )
}

/** Columns under their names, as wide as what is in them. */
export function table(names: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [names, ...rows]
  const widths = names.map((_, i) => Math.max(...all.map((row) => [...(row[i] ?? '')].length)))
  return all.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] as number) - [...cell].length))
      .join('  ')
      .trimEnd(),
  )
}

/** For how long, in the two largest units: `3m 12s`. */
export function ago(since: number, now = Date.now()): string {
  return span(Math.max(0, now - since))
}

export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  const seconds = Math.floor(ms / 1_000)
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ]
  const first = units.findIndex(([, size]) => seconds >= size)
  return units
    .slice(first, first + 2)
    .map(([unit, size], i) => [
      Math.floor((i === 0 ? seconds : seconds % units[first]![1]) / size),
      unit,
    ])
    .filter(([count], i) => i === 0 || count !== 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ')
}

/** Who it is, as a person would say. */
export function whoIs({ session, name }: Pick<HeldInfo | WaitingInfo, 'session' | 'name'>): string {
  return name === undefined ? session : visible(name)
}

export function metadataOf({ metadata }: Pick<HeldInfo, 'metadata'>): string {
  return metadata === undefined ? '' : visible(JSON.stringify(metadata))
}
