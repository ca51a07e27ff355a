/**
 * Follows a shared log in PostgreSQL until the caller stops the stream, and delivers the entries of
 * the log (batches of commands) in order. The stream executes LISTEN, and reads the next entries at
 * each notification of the database, or by a timer. A session can lose its LISTEN without an error,
 * so each read checks that the session still listens. The engine (see `postgresEngine.ts`) calls
 * {@link EntryStream.offer} with each entry that this broker appends.
 *
 * Each entry has the id of the entry before it. The stream compares this id with the id of the last
 * delivered entry. So the stream notices if the log has another entry in the place of that entry.
 */
import { type Clock, HoldfastError, type Timer } from '@holdfast/shared'
import type { LogListener } from '../replicated/engine.js'
import { damagedLog } from '../replicated/logErrors.js'
import { decodeValue } from '../replicated/packing.js'
import type { Row } from './connection.js'
import { PostgresError } from './errors.js'
import { type LogIdentity, LostLogError } from './logIdentity.js'
import type { Session, SessionOptions } from './session.js'
import { maxPageSize, noId, type Statements } from './statements.js'

export interface EntryStreamDeps {
  /** Makes the session of this stream. */
  readonly newSession: (options: Partial<SessionOptions>) => Session
  /** Whether a notification came from the server process that appends for this broker. */
  readonly isOwnAppend: (processId: number) => boolean
  readonly statements: Statements
  /** Checks that the database still has the log that this broker has read. */
  readonly identity: LogIdentity
  readonly clock: Clock
  /** The stream delivers the entries after this position. */
  readonly position: number
  readonly listener: LogListener
  /** The time between two reads if no notification arrives, in ms. */
  readonly pollMs: number
  /** Called when the log can never be followed again. */
  readonly onLogEnd: (error: PostgresError) => void
}

/** The position and the ids of an entry, without its text. */
export interface EntryHead {
  readonly position: number
  readonly id: string
  readonly previousId: string
}

export class EntryStream {
  readonly #deps: EntryStreamDeps
  readonly #session: Session
  /** The position of the last delivered entry. */
  #position: number
  /** The id of the last delivered entry; undefined if the id is not known. */
  #lastId: string | undefined
  /** The server process of the session; undefined from each connect until the next read. */
  #serverPid: number | undefined
  /**
   * How many entries the next read asks for. A slow server gets smaller reads: a failure halves the
   * number, and a success doubles the number.
   */
  #pageSize = maxPageSize
  #isReading = false
  /**
   * Whether the stream must read again, because `hint` was called or the last page was full.
   */
  #mustRead = false
  #isOver = false
  #timer: Timer

  constructor(deps: EntryStreamDeps) {
    const { position, statements } = deps
    this.#deps = deps
    this.#position = position
    this.#lastId = position === 0 ? noId : undefined
    this.#session = deps.newSession({
      prepare: statements.prepareRead(),
      onConnect: () => {
        this.#serverPid = undefined
      },
      onNotification: (processId) => {
        // Ignore the notification of an append of this broker, because the engine calls `offer`
        // with the entry when PostgreSQL has answered the append.
        if (!deps.isOwnAppend(processId)) this.hint()
      },
      // `hint` reads, and a read makes the session connect again.
      onBroken: () => this.hint(),
    })
    this.hint()
  }

  /** Reads soon, because new entries may exist. */
  hint(): void {
    this.#mustRead = true
    if (!this.#isReading && !this.#isOver) void this.#readAll()
  }

  /**
   * Takes an entry that this broker has just appended. If this entry is the next entry, delivers it
   * without a read from the database. Otherwise reads all entries up to this entry.
   */
  offer(head: EntryHead, text: string): void {
    if (head.position <= this.#position || this.#isOver) return
    const isNext = head.position === this.#position + 1 && head.previousId === this.#lastId
    if (isNext) this.#deliver(head, text)
    else this.hint()
  }

  /** Stops for good. Resolves when the session is closed. */
  async stop(): Promise<void> {
    this.#isOver = true
    this.#deps.clock.clearTimer(this.#timer)
    await this.#session.close()
  }

  /** Stops for good, and passes the error to the listener. */
  fail(error: PostgresError): void {
    if (this.#isOver) return
    void this.stop()
    // A restart does not help behind a pooler (a proxy that shares connections). Nor does a restart
    // help if this broker marks the log as broken (`mustMark`), because the mark lasts. If the
    // tables are gone, no mark is possible, and a restarted broker begins a new log.
    const isLasting = error.kind === 'pooler' || (error instanceof LostLogError && error.mustMark)
    const { message } = error
    this.#deps.listener.failed(
      isLasting
        ? damagedLog(message, error)
        : new HoldfastError('UNAVAILABLE', message, { cause: error }),
    )
  }

  /** Reads pages until no entry is left, and sets the timer for the next read. */
  async #readAll(): Promise<void> {
    const { clock, pollMs } = this.#deps
    this.#isReading = true
    clock.clearTimer(this.#timer)
    try {
      while (this.#mustRead && !this.#isOver) {
        this.#mustRead = false
        const pageSize = this.#pageSize
        const isPageFull = (await this.#readPage(pageSize)) === pageSize
        if (isPageFull) this.#mustRead = true
        this.#pageSize = Math.min(2 * pageSize, maxPageSize)
      }
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error
      if (error.endsLog) this.#deps.onLogEnd(error)
      else this.#pageSize = Math.ceil(this.#pageSize / 2)
    }
    this.#isReading = false
    if (!this.#isOver) this.#timer = clock.setTimer(() => this.hint(), pollMs)
  }

  /** Reads the next entries. Returns their number, or 0 if the stream has ended. */
  async #readPage(pageSize: number): Promise<number> {
    const { statements, identity } = this.#deps
    const positionBefore = this.#position
    const { rows } = await this.#session.call(statements.read(positionBefore, pageSize))
    if (this.#isOver) return 0
    // Each row has the state of the log. If no entry follows, there is one row without an entry.
    const [stateRow] = rows
    if (stateRow === undefined) throw identity.lost('its settings are gone', /* mustMark */ false)
    this.#checkSession(stateRow)
    // Skip the comparison if `offer` has delivered an entry during the read, because `#lastId` is
    // then newer than the id in the row.
    if (this.#position === positionBefore) {
      const idInLog = identity.compare(stateRow, { position: positionBefore, id: this.#lastId })
      this.#lastId ??= idInLog
    }
    const entries = rows.filter((row) => row['position'] !== null)
    for (const row of entries) {
      if (Number(row['position']) > this.#position && !this.#onRow(row)) return 0
    }
    if (Number(stateRow['newest']) > this.#position && entries.length === 0) this.#onGap(stateRow)
    return entries.length
  }

  /** Delivers the entry of a row. Returns whether the stream continues. */
  #onRow(row: Row): boolean {
    const head = {
      position: Number(row['position']),
      id: row['id'] as string,
      previousId: row['previous_id'] as string,
    }
    if (head.position !== this.#position + 1) {
      this.#onGap(row)
      return false
    }
    if (this.#lastId !== undefined && head.previousId !== this.#lastId)
      throw this.#deps.identity.lost(`entry ${this.#position} is another entry now`)
    this.#deliver(head, decodeValue(row['entry'] as Buffer))
    return !this.#isOver
  }

  #deliver({ position, id }: EntryHead, text: string): void {
    this.#position = position
    this.#lastId = id
    this.#deps.identity.onSeen(position, id)
    this.#deps.listener.entry(position, text)
  }

  /**
   * Handles a missing next entry. If a broker compacted the entry (deleted it, because a snapshot
   * replaces it), stops and tells the listener. Otherwise throws, because the entry was lost.
   */
  #onGap(row: Row): void {
    if (Number(row['compacted']) <= this.#position)
      throw this.#deps.identity.lost(`entry ${this.#position + 1} is missing`)
    void this.stop()
    this.#deps.listener.compacted()
  }

  /**
   * Checks that no pooler has moved the session to another server process. If the session does not
   * listen any more, executes LISTEN again.
   */
  #checkSession(row: Row): void {
    const pid = row['pid'] as number
    this.#serverPid ??= pid
    if (pid !== this.#serverPid) throw this.#session.pooledError()
    if (row['is_listening'] !== true) void this.#listen()
  }

  /** Executes LISTEN again. If LISTEN fails, the stream continues to read by its timer. */
  async #listen(): Promise<void> {
    try {
      await this.#session.call(this.#deps.statements.listen())
      // Entries may have arrived between the read and this call.
      this.hint()
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error
    }
  }
}
