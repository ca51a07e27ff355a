/** Formats numbers, times and session ids for display. */

const wholeNumber = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const calendar = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

export function formatCount(value: number): string {
  return wholeNumber.format(value)
}

/** Formats a number; from 10,000 on in compact notation, such as 12.3K. */
export function formatCompactCount(value: number): string {
  return value < 10_000 ? wholeNumber.format(value) : compact.format(value)
}

/** A rate per second. */
export function formatRate(value: number | null): string {
  if (value === null) return '–'
  return value < 10 && !Number.isInteger(value)
    ? value.toFixed(1)
    : formatCompactCount(Math.round(value))
}

export function formatPercent(share: number): string {
  // Round down, so that a share below 1 is never shown as 100 %.
  const tenths = Math.floor(share * 1_000)
  return `${tenths % 10 === 0 ? tenths / 10 : (tenths / 10).toFixed(1)} %`
}

/** A number of ms, with few digits. */
export function formatMs(value: number | null): string {
  if (value === null) return '–'
  if (value >= 1_000) return `${(value / 1_000).toFixed(1)} s`
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`
}

/** A duration in its two largest units. */
export function formatSpan(milliseconds: number): string {
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
export function formatDuration(milliseconds: number): string {
  if (milliseconds >= 10_000) return formatSpan(milliseconds)
  return `${(Math.max(0, milliseconds) / 1_000).toFixed(1)} s`
}

export function formatTime(wall: number): string {
  return clock.format(wall)
}

export function formatDate(wall: number): string {
  return calendar.format(wall)
}

/** The first six characters of a session id, which distinguish the sessions on one screen. */
export function shortId(session: string): string {
  return session.slice(0, 6)
}

export function formatPlural(value: number, singular: string, pluralForm = `${singular}s`): string {
  return `${formatCount(value)} ${value === 1 ? singular : pluralForm}`
}

/** The start of a value as JSON, at most 40 characters. */
export function shortJson(value: unknown): string {
  const chars = [...JSON.stringify(value)]
  return chars.length <= 40 ? chars.join('') : `${chars.slice(0, 39).join('')}…`
}
