/**
 * Histories of locks as files, so that anybody can check the histories of own runs: one line of
 * JSON for each use of a lock. test/README.md documents the format.
 */
import {
  findFenceViolations,
  findOverlaps,
  findPermitsViolations,
  isLinearizable,
  type Tenure,
} from './history.js'

/** The uses of one key. */
export interface KeyHistory {
  readonly key: string
  /** How many permits the key has; undefined for an exclusive lock. */
  readonly capacity: number | undefined
  readonly tenures: readonly Tenure[]
}

/** A line that does not fit the format. */
export class InvalidHistory extends Error {}

/** Up to this number of uses of a key, the search for a linear order is fast enough. */
const maxSearched = 30

const times = ['requestedAt', 'grantedAt', 'givenUpAt', 'unlockConfirmedAt'] as const
const fields: readonly string[] = ['key', 'process', 'fence', 'permits', 'capacity', ...times]

/** Formats histories as a file. */
export function formatHistories(histories: readonly KeyHistory[]): string {
  const lines = histories.flatMap(({ key, capacity, tenures }) =>
    tenures.map((tenure) => JSON.stringify({ key, capacity, ...tenure }, bigintAsText)),
  )
  return lines.map((line) => `${line}\n`).join('')
}

function bigintAsText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

/**
 * Parses a file.
 *
 * @throws {InvalidHistory} for an invalid line; the message has the number of the line.
 */
export function parseHistories(text: string): KeyHistory[] {
  const byKey = new Map<string, { capacity: number | undefined; tenures: Tenure[] }>()
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const { key, capacity, tenure } = parseLine(line, i + 1)
    const history = byKey.get(key) ?? { capacity, tenures: [] }
    if (history.capacity !== capacity)
      throw new InvalidHistory(`Line ${i + 1}: the capacity of a key must not change`)
    history.tenures.push(tenure)
    byKey.set(key, history)
  }
  return [...byKey].map(([key, history]) => ({ key, ...history }))
}

function parseLine(line: string, number: number) {
  const fail = (problem: string): never => {
    throw new InvalidHistory(`Line ${number}: ${problem}`)
  }
  let value: Record<string, unknown> = {}
  try {
    value = JSON.parse(line)
  } catch {
    fail('it must be JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('it must be an object')
  const unknownField = Object.keys(value).find((field) => !fields.includes(field))
  if (unknownField !== undefined) fail(`unknown field ${JSON.stringify(unknownField)}`)
  const textAt = (field: string): string => {
    const found = value[field]
    return typeof found === 'string' && found !== '' ? found : fail(`${field} must be text`)
  }
  const countAt = (field: string): number => {
    const found = value[field]
    if (Number.isSafeInteger(found) && (found as number) > 0) return found as number
    return fail(`${field} must be a positive integer`)
  }
  const timeAt = (field: string): bigint => {
    const found = value[field]
    if (typeof found === 'string' && /^\d{1,19}$/.test(found)) return BigInt(found)
    if (Number.isSafeInteger(found) && (found as number) >= 0) return BigInt(found as number)
    return fail(`${field} must be a time in ns, as an integer or as text`)
  }
  const isSet = (field: string): boolean => value[field] !== undefined
  const [requestedAt, grantedAt, givenUpAt] = times.slice(0, 3).map(timeAt) as [
    bigint,
    bigint,
    bigint,
  ]
  const unlockConfirmedAt = isSet('unlockConfirmedAt') ? timeAt('unlockConfirmedAt') : undefined
  if (requestedAt > grantedAt) fail('grantedAt is before requestedAt')
  if (unlockConfirmedAt !== undefined && unlockConfirmedAt < givenUpAt)
    fail('unlockConfirmedAt is before givenUpAt')
  const tenure: Tenure = {
    ...{ process: textAt('process'), fence: countAt('fence') },
    ...{ requestedAt, grantedAt, givenUpAt, unlockConfirmedAt },
    ...(isSet('permits') ? { permits: countAt('permits') } : {}),
  }
  return {
    key: textAt('key'),
    capacity: isSet('capacity') ? countAt('capacity') : undefined,
    tenure,
  }
}

/**
 * Judges exclusion, fences and linearizability of one key. Returns the violations.
 *
 * For an exclusive lock, a linear order exists exactly if no two uses overlap. A short history is
 * also searched for a linear order, which does not rely on this argument.
 */
export function judgeHistory({ capacity, tenures }: KeyHistory): string[] {
  if (capacity !== undefined) return findPermitsViolations(tenures, capacity)
  const violations = [...findFenceViolations(tenures), ...findOverlaps(tenures)]
  if (violations.length === 0 && tenures.length <= maxSearched && !isLinearizable(tenures))
    violations.push('no linear order of all operations exists')
  return [...new Set(violations)]
}
