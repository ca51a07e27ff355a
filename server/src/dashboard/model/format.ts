/** Formats numbers, times and session ids for display. */

const wholeNumberFormat = new Intl.NumberFormat('en')
const compactFormat = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const timeFormat = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const dateFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

/** The maximum length of a value that the page shows as JSON, in characters. */
const maxJsonChars = 40

export function formatCount(value: number): string {
  return wholeNumberFormat.format(value)
}

/** Formats a number; from 10,000 on in compact notation, such as 12.3K. */
export function formatCompactCount(value: number): string {
  return value < 10_000 ? wholeNumberFormat.format(value) : compactFormat.format(value)
}

/** A rate per second; `–` if the rate is not known. */
export function formatRate(value: number | null): string {
  if (value === null) return '–'
  return value < 10 && !Number.isInteger(value)
    ? value.toFixed(1)
    : formatCompactCount(Math.round(value))
}

/** A share from 0 to 1 as a percentage. */
export function formatPercent(share: number): string {
  // Round down to tenths of a percent, so that a share below 1 is never shown as 100 %.
  const tenths = Math.floor(share * 1_000)
  return `${tenths % 10 === 0 ? tenths / 10 : (tenths / 10).toFixed(1)} %`
}

/** Formats a latency, given in ms, with few digits; `–` if the latency is not known. */
export function formatLatency(value: number | null): string {
  if (value === null) return '–'
  if (value >= 1_000) return `${(value / 1_000).toFixed(1)} s`
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`
}

/** Formats a duration in its largest unit and the next smaller unit, such as 3 h 20 min. */
export function formatTwoUnits(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000))
  const units: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ]
  const largestUnit = units.findIndex(([value]) => value > 0)
  if (largestUnit < 0) return '0 s'
  return units
    .slice(largestUnit, largestUnit + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ')
}

/** Formats a duration; a duration below 10 s has tenths of a second. */
export function formatDurationWithTenths(milliseconds: number): string {
  if (milliseconds >= 10_000) return formatTwoUnits(milliseconds)
  return `${(Math.max(0, milliseconds) / 1_000).toFixed(1)} s`
}

/** The time of day of a wall time in ms since 1970. */
export function formatTime(wall: number): string {
  return timeFormat.format(wall)
}

/** The date and the time of a wall time in ms since 1970. */
export function formatDate(wall: number): string {
  return dateFormat.format(wall)
}

/** How many characters of a session id distinguish the sessions on one screen. */
const shortIdLength = 6

/** The first characters of a session id. */
export function shortId(session: string): string {
  return session.slice(0, shortIdLength)
}

/** A number with its noun: `1 lock`, `2 locks`. */
export function formatPlural(value: number, singular: string, pluralForm = `${singular}s`): string {
  return `${formatCount(value)} ${value === 1 ? singular : pluralForm}`
}

/** The start of a value as JSON; longer JSON is cut. */
export function shortJson(value: unknown): string {
  const chars = [...JSON.stringify(value)]
  if (chars.length <= maxJsonChars) return chars.join('')
  return `${chars.slice(0, maxJsonChars - 1).join('')}…`
}

/** The longest text that {@link shortenMiddle} leaves as it is, in characters. */
const maxTextLength = 48
/** How many characters at the end are kept, because keys differ most often at the end. */
const keptEndLength = 20

/** Replaces the middle of a long text by `…`. */
export function shortenMiddle(text: string): string {
  const characters = Array.from(text)
  if (characters.length <= maxTextLength) return text
  // One character is for the `…`.
  const start = characters.slice(0, maxTextLength - keptEndLength - 1)
  return `${start.join('')}…${characters.slice(-keptEndLength).join('')}`
}
