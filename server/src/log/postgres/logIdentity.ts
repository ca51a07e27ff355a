/**
 * What a broker knows about the shared log that it uses: the id of the log, and the newest entry
 * (batch of commands) that the broker has seen. The broker compares this knowledge with the
 * database on every new connection. A database that was restored from a backup has an older log. A
 * standby that replaced the primary can also lack the newest commits. With an older log no broker
 * can know which locks exist, so all brokers must stop.
 */
import type { Connection, Row } from './connection.js'
import { PostgresError } from './errors.js'
import type { Statements } from './statements.js'

/** An entry that the broker has read or appended, or up to which it has restored a snapshot. */
export interface SeenEntry {
  readonly position: number
  /** Undefined if only the position is known: before the first entry, or after a snapshot. */
  readonly id: string | undefined
}

export class LogIdentity {
  readonly #statements: Statements
  readonly #schema: string
  #logId: string | undefined
  #seen: SeenEntry = { position: 0, id: undefined }

  constructor(statements: Statements, schema: string) {
    this.#statements = statements
    this.#schema = schema
  }

  /** Uses the log with this id from now on. */
  set logId(id: string) {
    this.#logId = id
  }

  /** Records an entry that is known to be in the log. */
  onSeen(position: number, id: string): void {
    if (position > this.#seen.position) this.#seen = { position, id }
  }

  /**
   * Checks the log on a new connection.
   *
   * @throws {LostLogError} If its `mustMark` is true, the caller must mark the log as broken.
   * @throws {PostgresError} if the call fails.
   */
  async check(connection: Connection, deadlineMs: number): Promise<void> {
    if (this.#logId === undefined) return
    const seen = this.#seen
    const { rows } = await connection.call(this.#statements.check(seen.position), deadlineMs)
    const [row] = rows
    if (row === undefined) throw this.lost('its settings are gone', /* mustMark */ false)
    this.compare(row, seen)
  }

  /**
   * Compares the log with an entry that the broker has seen. Returns the id that the log now has at
   * the position of this entry; undefined if the entry was compacted.
   *
   * @param row A row of the answer to the statement `check` or `read`.
   * @throws {LostLogError}
   */
  compare(row: Row, seen: SeenEntry): string | undefined {
    if (row['log_id'] !== this.#logId)
      throw this.lost('it is another log now', /* mustMark */ false)
    // `broken` has the reason why another broker has marked the log.
    if (row['broken'] !== null) throw this.lost(String(row['broken']), /* mustMark */ false)
    const newestPosition = Number(row['newest'])
    if (newestPosition < seen.position)
      throw this.lost(`its position went back from ${seen.position} to ${newestPosition}`)
    const id = (row['seen_id'] as string | null) ?? undefined
    if (id !== undefined && seen.id !== undefined && id !== seen.id)
      throw this.lost(`entry ${seen.position} is another entry now`)
    return id
  }

  /**
   * The error for a log that the broker must not use.
   *
   * @param mustMark See `LostLogError`. False if the log is gone, is another log, or is marked
   *   already.
   */
  lost(reason: string, mustMark = true): LostLogError {
    return new LostLogError(this.#schema, reason, mustMark)
  }
}

/** The error for a log that is gone, has lost entries, or is another log. */
export class LostLogError extends PostgresError {
  /** Why the log must not be used. A mark in the log contains this text for the other brokers. */
  readonly reason: string
  /** Whether this broker must mark the log as broken, so that the other brokers stop too. */
  readonly mustMark: boolean

  constructor(schema: string, reason: string, mustMark: boolean) {
    super(
      'replaced',
      `The log in the schema ${schema} of PostgreSQL was replaced (${reason}), for example by a ` +
        'restore or by a standby without the newest commits: stop all brokers, wait for the ' +
        'longest lease, drop the schema and start the brokers again',
    )
    this.reason = reason
    this.mustMark = mustMark
  }
}
