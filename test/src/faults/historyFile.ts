/**
 * Formats and parses files with histories of locks. Other programs can write such files too, so
 * that `npm run check-history` checks their histories. A file has one line of JSON for each tenure
 * (one use of a lock). A file of an election also has a line for each published value and for each
 * observation. A fence is the number of a grant. test/README.md documents the format.
 */
import {
  type ElectionHistory,
  findObservationViolations,
  type Observation,
  type Publication,
} from './electionHistory.js'
import {
  findFenceViolations,
  findOverlaps,
  findPermitsViolations,
  isLinearizable,
  type Tenure,
} from './history.js'

/** The tenures of one key. For an election, also the published values and the observations. */
export interface KeyHistory extends ElectionHistory {
  readonly key: string
  /** How many permits the key has; undefined for an exclusive lock. */
  readonly capacity: number | undefined
}

/** A line that does not fit the format. */
export class InvalidHistory extends Error {}

/** A history with more tenures is not searched for a linear order, because this may take long. */
const maxSearchedTenures = 30

/** The times of a {@link Tenure}. */
const timeFields = ['requestedAt', 'grantedAt', 'givenUpAt', 'unlockConfirmedAt'] as const

/** The three kinds of lines, and their fields. */
const fieldsOf = {
  tenure: ['key', 'process', 'fence', 'permits', 'capacity', ...timeFields],
  publication: ['key', 'process', 'value', 'publishedAt', 'fence'],
  observation: ['key', 'observer', 'seenAt', 'fence', 'value'],
} as const

/** Formats histories as a file. */
export function formatHistories(histories: readonly KeyHistory[]): string {
  const lines = histories.flatMap(({ key, capacity, tenures, publications, observations }) => [
    ...tenures.map((tenure) => ({ key, capacity, ...tenure })),
    ...publications.map((publication) => ({ key, ...publication })),
    ...observations.map(({ leader, ...observation }) => ({ key, ...observation, ...leader })),
  ])
  return lines.map((line) => `${JSON.stringify(line, bigintAsText)}\n`).join('')
}

/** A replacer for `JSON.stringify`: JSON has no bigint, so a time in ns becomes a text. */
function bigintAsText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

/** A history while its file is parsed. */
interface PartialHistory extends KeyHistory {
  capacity: number | undefined
  readonly tenures: Tenure[]
  readonly publications: Publication[]
  readonly observations: Observation[]
}

/**
 * Parses a file.
 *
 * @throws {InvalidHistory} for an invalid line; the message has the number of the line.
 */
export function parseHistories(text: string): KeyHistory[] {
  const byKey = new Map<string, PartialHistory>()
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const fields = new Line(line, i + 1)
    const { kind } = fields
    fields.allowOnly(fieldsOf[kind])
    const key = fields.textAt('key')
    const lists = { tenures: [], publications: [], observations: [] }
    const history = byKey.get(key) ?? { key, capacity: undefined, ...lists }
    byKey.set(key, history)
    if (kind === 'observation') history.observations.push(observationOf(fields))
    else if (kind === 'publication') history.publications.push(publicationOf(fields))
    else addTenure(history, fields)
  }
  return [...byKey.values()]
}

/** Adds the tenure in this line to the history. */
function addTenure(history: PartialHistory, line: Line): void {
  const capacity = line.has('capacity') ? line.positiveIntegerAt('capacity') : undefined
  // The first three times are required.
  const [requestedAt, grantedAt, givenUpAt] = timeFields
    .slice(0, 3)
    .map((field) => line.timeAt(field))
  const unlockConfirmedAt = line.has('unlockConfirmedAt')
    ? line.timeAt('unlockConfirmedAt')
    : undefined
  if (requestedAt! > grantedAt!) line.fail('grantedAt is before requestedAt')
  if (unlockConfirmedAt !== undefined && unlockConfirmedAt < givenUpAt!)
    line.fail('unlockConfirmedAt is before givenUpAt')
  if (history.tenures.length > 0 && history.capacity !== capacity)
    line.fail('the capacity of a key must not change')
  history.capacity = capacity
  history.tenures.push({
    process: line.textAt('process'),
    fence: line.positiveIntegerAt('fence'),
    requestedAt: requestedAt!,
    grantedAt: grantedAt!,
    givenUpAt: givenUpAt!,
    unlockConfirmedAt,
    ...(line.has('permits') ? { permits: line.positiveIntegerAt('permits') } : {}),
  })
}

/** Parses a line about a value that a candidate published. */
function publicationOf(line: Line): Publication {
  return {
    process: line.textAt('process'),
    value: line.textAt('value'),
    publishedAt: line.timeAt('publishedAt'),
    fence: line.has('fence') ? line.positiveIntegerAt('fence') : undefined,
  }
}

/** Parses a line about what an observer saw. Without a leader, a line has no fence and no value. */
function observationOf(line: Line): Observation {
  const seesLeader = line.has('fence') || line.has('value')
  return {
    observer: line.textAt('observer'),
    seenAt: line.timeAt('seenAt'),
    leader: seesLeader
      ? { fence: line.positiveIntegerAt('fence'), value: line.textAt('value') }
      : undefined,
  }
}

/** A line of a file, with checks of its fields. Each check throws {@link InvalidHistory}. */
class Line {
  readonly #number: number
  readonly #fields: Readonly<Record<string, unknown>>

  constructor(text: string, number: number) {
    this.#number = number
    this.#fields = this.#parse(text)
  }

  #parse(text: string): Record<string, unknown> {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return this.fail('it must be JSON')
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.fail('it must be an object')
    return value as Record<string, unknown>
  }

  fail(problem: string): never {
    throw new InvalidHistory(`Line ${this.#number}: ${problem}`)
  }

  has(field: string): boolean {
    return this.#fields[field] !== undefined
  }

  get kind(): keyof typeof fieldsOf {
    if (this.has('observer')) return 'observation'
    return this.has('publishedAt') ? 'publication' : 'tenure'
  }

  allowOnly(fields: readonly string[]): void {
    const unknownField = Object.keys(this.#fields).find((field) => !fields.includes(field))
    if (unknownField !== undefined) this.fail(`unknown field ${JSON.stringify(unknownField)}`)
  }

  textAt(field: string): string {
    const value = this.#fields[field]
    return typeof value === 'string' && value !== '' ? value : this.fail(`${field} must be text`)
  }

  positiveIntegerAt(field: string): number {
    const value = this.#fields[field]
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number
    return this.fail(`${field} must be a positive integer`)
  }

  timeAt(field: string): bigint {
    const value = this.#fields[field]
    // A time fits into a signed 64-bit integer, which has at most 19 digits.
    if (typeof value === 'string' && /^\d{1,19}$/.test(value)) return BigInt(value)
    if (Number.isSafeInteger(value) && (value as number) >= 0) return BigInt(value as number)
    return this.fail(`${field} must be a time in ns, as an integer or as text`)
  }
}

/**
 * Checks exclusion, fences, linearizability and observations of one key. Returns the violations.
 * For a key with permits, checks only the capacity, and that no fence repeats.
 *
 * For an exclusive lock, a linear order of all operations exists exactly if no two tenures overlap.
 * To test this statement too, the function also searches a short history for a linear order.
 */
export function judgeHistory(history: KeyHistory): string[] {
  const { capacity, tenures } = history
  if (capacity !== undefined) return findPermitsViolations(tenures, capacity)
  const violations = [...findFenceViolations(tenures), ...findOverlaps(tenures)]
  if (violations.length === 0 && tenures.length <= maxSearchedTenures && !isLinearizable(tenures))
    violations.push('no linear order of all operations exists')
  violations.push(...findObservationViolations(history))
  return [...new Set(violations)]
}
