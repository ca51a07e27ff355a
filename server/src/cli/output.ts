/**
 * All output of the command. This file formats text, tables, JSON and times, and writes to
 * standard output and standard error.
 *
 * - Text from a broker or another client is escaped, because for example a key must not move the
 *   cursor of a terminal.
 * - The command fails unless standard output takes the whole text, because a full disk must not
 *   look like success.
 */
import { fstatSync, writeSync } from 'node:fs'
import type { HeldInfo, WaitingInfo } from '@holdfast/client'

/**
 * Characters that a terminal interprets or hides: control characters, marks of writing direction,
 * line separators, and unassigned characters.
 */
const invisible = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Escapes a line with {@link escapeText} and prints it. */
export function print(line: string): void {
  writeOut(`${escapeText(line)}\n`)
}

/** Prints a value as one line of JSON, escaped with {@link plainJson}. */
export function printJson(value: unknown): void {
  writeOut(jsonLine(value))
}

/** A value as one line of JSON, escaped with {@link plainJson}. */
export function jsonLine(value: unknown): string {
  return `${plainJson(JSON.stringify(value))}\n`
}

/** Replaces every character that a terminal interprets or hides, such as ESC by `\u{1b}`. */
export function escapeText(text: string): string {
  return text.replace(invisible, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}

/** Escapes each line of a text with {@link escapeText}, and keeps the line feeds. */
export function escapeLines(text: string): string {
  return text.split('\n').map(escapeText).join('\n')
}

/**
 * Escapes the same characters as {@link escapeText} by the rules of JSON, so that the parsed value
 * stays the same. `JSON.stringify` does not escape DEL, C1 controls and marks of writing direction.
 */
export function plainJson(json: string): string {
  // JSON escapes UTF-16 units, and some of these characters, such as U+E0001, have two.
  return json.replace(invisible, (char) =>
    char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

/**
 * Formats a table with a line of column names. Each column is as wide as its widest text. In a
 * terminal, an East Asian character or an emoji is as wide as two letters, and a combining mark has
 * no width.
 */
export async function formatTable(
  names: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<string[]> {
  // Import this module only when a table is printed, because its import takes 30 ms. `run` and
  // `serve` print no table.
  const { default: stringWidth } = await import('string-width')
  const escapedRows = [names, ...rows].map((row) => row.map(escapeText))
  const widths = names.map((_, i) =>
    escapedRows.reduce((widest, row) => Math.max(widest, stringWidth(row[i] ?? '')), 0),
  )
  return escapedRows.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat(Math.max(0, (widths[i] ?? 0) - stringWidth(cell))))
      .join('  ')
      .trimEnd(),
  )
}

/** Rounds a number to a hundredth. */
export function rounded(value: number): number {
  return Math.round(value * 100) / 100
}

/** The time from `since` to `now` (wall clock, ms) as text in its two largest units: `3m 12s`. */
export function ago(since: number, now = Date.now()): string {
  return span(Math.max(0, now - since))
}

/** A number of ms as text in its two largest units: `3m 12s`; below a second, `250ms`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  const seconds = Math.floor(ms / 1_000)
  const units: [string, number][] = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ]
  const largestUnit = units.findIndex(([, size]) => seconds >= size)
  return units
    .slice(largestUnit, largestUnit + 2)
    .map(([unit, size], i) => [
      Math.floor((i === 0 ? seconds : seconds % units[largestUnit]![1]) / size),
      unit,
    ])
    .filter(([count], i) => i === 0 || count !== 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ')
}

/**
 * How long a lock lasts from now on if its session does not refresh it, such as `21s`. Returns `-`
 * for a lock that does not end by itself. Returns `?` if only another broker of the cluster knows
 * the time.
 */
export function timeLeftText({
  ttl,
  maxHold,
  ttlRemaining,
  maxHoldRemaining,
}: Pick<HeldInfo, 'ttl' | 'maxHold' | 'ttlRemaining' | 'maxHoldRemaining'>): string {
  if (ttl === undefined && maxHold === undefined) return '-'
  const remaining = Math.min(ttlRemaining ?? Infinity, maxHoldRemaining ?? Infinity)
  return remaining === Infinity ? '?' : span(remaining)
}

/** The name of a session, or the id of a session that has no name. */
export function sessionLabel({
  session,
  name,
}: Pick<HeldInfo | WaitingInfo, 'session' | 'name'>): string {
  return name === undefined ? session : escapeText(name)
}

/** The fields that show the kind of a lock or of a request. */
export type LockKind = Pick<
  HeldInfo,
  'mode' | 'permits' | 'capacity' | 'keyCount' | 'maxHold' | 'scope' | 'once' | 'election'
> &
  Pick<WaitingInfo, 'upgrade'>

/**
 * The kind of a lock or request as text, such as `exclusive`, `shared`, `once` or `permits 1/3`
 * (one permit of three). `election` stands for a leader or a candidate. `upgrade` stands for a
 * holder that waits to turn its shared lock into an exclusive lock. The text may go on with:
 * - `, set of 2` for a lock of two keys;
 * - `, scope 2` for a lock in the scope (one logical task of a session) with the number 2;
 * - `, at most 10m` for a lock with a `maxHold` (the longest hold) of 10 minutes.
 */
export function modeText(lock: LockKind): string {
  const { mode, permits, capacity, keyCount, maxHold, scope, once, election, upgrade } = lock
  const permitsOrMode = mode === 'permits' ? `permits ${permits}/${capacity}` : mode
  const kind = upgrade ? 'upgrade' : election ? 'election' : once ? 'once' : permitsOrMode
  const keyCountText = keyCount === undefined ? '' : `, set of ${keyCount}`
  const scopeText = scope === undefined ? '' : `, scope ${scope}`
  const maxHoldText = maxHold === undefined ? '' : `, at most ${span(maxHold)}`
  return `${kind}${keyCountText}${scopeText}${maxHoldText}`
}

/** A table shows at most this many characters of the value of a leader. */
export const maxValueInTable = 40

/**
 * The value that the leader of an election publishes, as escaped JSON; empty for a leader without a
 * value, and for other locks.
 *
 * @param prefix The text in front of the value.
 * @param maxLength How many characters of JSON are kept; a longer value ends with `…`.
 */
export function valueNote(
  { value }: Pick<HeldInfo, 'value'>,
  prefix = ' with ',
  maxLength = Number.POSITIVE_INFINITY,
): string {
  if (value === undefined) return ''
  const json = JSON.stringify(value)
  // The spread splits the text into whole characters, and not into UTF-16 units.
  const characters = [...json]
  const shown =
    characters.length <= maxLength ? json : `${characters.slice(0, maxLength).join('')}…`
  return `${prefix}${escapeText(shown)}`
}

/** The metadata of a lock as escaped JSON; empty if the lock has no metadata. */
export function metadataText({ metadata }: Pick<HeldInfo, 'metadata'>): string {
  return metadata === undefined ? '' : escapeText(JSON.stringify(metadata))
}

// ---------------------------------------------------------------------------------- writing

/**
 * Writes to standard output without escaping, because the caller has escaped its own text, and the
 * output of another program must stay unchanged.
 */
export function writeOut(output: string | Uint8Array): void {
  if (isDirect(process.stdout)) writeOrEmitError(process.stdout, output)
  else process.stdout.write(output)
}

/**
 * Writes a text. Resolves when the operating system has accepted the whole text, and rejects if the
 * write fails.
 */
export function deliver(stream: Stdio, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (isDirect(stream)) {
      writeAllSync(stream.fd, text)
      resolve()
    } else stream.write(text, (error) => (error == null ? resolve() : reject(error)))
  })
}

/** Writes to standard error. `watchProcess` ignores errors of standard error. */
export function writeError(text: string): void {
  process.stderr.write(text)
}

/** Calls the listener once, with the first error of standard output, such as EPIPE or ENOSPC. */
export function onOutputFailure(listener: (error: NodeJS.ErrnoException) => void): void {
  process.stdout.once('error', listener)
}

type Stdio = NodeJS.WriteStream & { readonly fd: number }

/**
 * Whether to write with `writeSync` instead of Node's stream. On a nearly full disk, the system can
 * write a part of the text without an error. Node's stream would then lose the rest unnoticed.
 */
function isDirect(stream: Stdio): boolean {
  let result = isDirectByStream.get(stream)
  if (result === undefined) {
    result = isFileOrDevice(stream)
    isDirectByStream.set(stream, result)
  }
  return result
}

const isDirectByStream = new WeakMap<Stdio, boolean>()

/** Whether a stream is a file, or a device other than a terminal. False if this is not known. */
function isFileOrDevice({ fd, isTTY }: Stdio): boolean {
  try {
    const stat = fstatSync(fd)
    return stat.isFile() || (stat.isCharacterDevice() && !isTTY)
  } catch {
    return false
  }
}

/** Writes to a stream. Emits an error as an event of the stream, as the stream itself would. */
function writeOrEmitError(stream: Stdio, output: string | Uint8Array): void {
  try {
    writeAllSync(stream.fd, output)
  } catch (error) {
    stream.emit('error', error)
  }
}

/** Writes the whole output, if necessary with several calls of `writeSync`. */
function writeAllSync(fd: number, output: string | Uint8Array): void {
  let unwritten = typeof output === 'string' ? Buffer.from(output) : output
  while (unwritten.length > 0) unwritten = unwritten.subarray(writeSync(fd, unwritten))
}
