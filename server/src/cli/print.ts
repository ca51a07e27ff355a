/**
 * How things are shown in a terminal. What a broker or another client chose (keys, names, metadata,
 * reasons) is made visible first: a key must not be able to move the cursor.
 */
import type { HeldInfo, WaitingInfo } from '@holdfast/client'
import { writeOut } from './output.js'

/** Characters that a terminal obeys or hides: controls, bidi marks, separators, unassigned ones. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Prints one line. Every line goes through {@link visible} here, so no caller can forget it. */
export function print(line: string): void {
  writeOut(`${visible(line)}\n`)
}

/** Prints one value as one line of JSON, which a terminal can show as it stands. */
export function printJson(value: unknown): void {
  writeOut(jsonLine(value))
}

export function jsonLine(value: unknown): string {
  return `${plainJson(JSON.stringify(value))}\n`
}

/** A text whose every character prints: the others are spelt out, such as `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(unseen, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}

/** As {@link visible}, for a text of several lines. */
export function visibleLines(text: string): string {
  return text.split('\n').map(visible).join('\n')
}

/**
 * The same JSON with every character escaped that {@link visible} would spell out. `JSON.stringify`
 * leaves DEL, C1 controls and bidi marks as they are.
 */
export function plainJson(json: string): string {
  return json.replace(unseen, (char) =>
    char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

/**
 * Columns under their names, as wide as what is in them. Widths are those of a terminal: an East
 * Asian character or an emoji takes two cells, a combining mark none.
 */
export async function table(
  names: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<string[]> {
  // Loaded here: it takes 30 ms, a tenth of the start of `run` and `serve`, which print no table.
  const { default: stringWidth } = await import('string-width')
  const all = [names, ...rows].map((row) => row.map(visible))
  const widths = names.map((_, i) =>
    all.reduce((most, row) => Math.max(most, stringWidth(row[i] ?? '')), 0),
  )
  return all.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat(Math.max(0, (widths[i] ?? 0) - stringWidth(cell))))
      .join('  ')
      .trimEnd(),
  )
}

/** A figure for people, to a hundredth; scripts that need more can measure themselves. */
export function rounded(figure: number): number {
  return Math.round(figure * 100) / 100
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
