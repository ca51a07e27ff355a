/**
 * The engine of the replicated log in PostgreSQL. One table has the entries (batches of commands)
 * of all brokers. A counter in one row gives each entry its position. The statement that inserts an
 * entry also increments the counter, and so locks the row until the commit. So the positions have
 * no gaps, and have the order of the commits. A sequence of PostgreSQL gives no such order, because
 * a later number can be committed first.
 *
 * The id of an entry is a hash of its sender and its text. The broker repeats an append of unknown
 * outcome. If the entry is in the log already, PostgreSQL refuses the copy, because ids are unique.
 */
import type { Clock } from '@holdfast/shared'
import type { Environment } from '../../platform/environment.js'
import { type PasswordOptions, TlsSource } from '../credentials.js'
import { configMismatch } from '../replicated/clusterConfig.js'
import type { ClusterConfig, Engine, LogListener, StoredSnapshot } from '../replicated/engine.js'
import { encodeValue } from '../replicated/packing.js'
import type { PostgresAddress } from './address.js'
import type { Answer, Connection, Credentials, PostgresTls } from './connection.js'
import { type EntryHead, EntryStream } from './entryStream.js'
import { nameOf, PostgresError, toHoldfastError } from './errors.js'
import { Hosts } from './hosts.js'
import { LogIdentity, LostLogError } from './logIdentity.js'
import { preflight, refused, type StoredState } from './preflight.js'
import { Session, type SessionOptions } from './session.js'
import { SnapshotStore } from './snapshotStore.js'
import { deleteSize, Statements } from './statements.js'

export interface PostgresEngineOptions extends PostgresAddress, PasswordOptions {
  readonly tls?: PostgresTls | undefined
  /** How long `open` waits until the primary is reachable, in ms. Default 10,000. */
  readonly openTimeoutMs?: number | undefined
  /**
   * Whether `open` marks a new log as founding (waiting until enough brokers have joined).
   * `endFounding` removes the mark. Default false.
   */
  readonly marksFounding?: boolean | undefined
  /**
   * How long one chore may take, in ms (`SessionOptions.callMs`). A chore is any call other than
   * the calls that append entries or follow the log. Default 10,000.
   */
  readonly choreMs?: number | undefined
}

/** The pause between two attempts to open the log, in ms. */
const openRetryMs = 250
/** Long, because a chore such as a compaction may read or write much. */
const defaultChoreMs = 10_000
/**
 * How many times a chore is repeated after temporary errors, and the pause before the first
 * repetition, in ms. The pause doubles each time.
 */
const choreRetries = { count: 5, pauseMs: 50 }

export class PostgresEngine implements Engine {
  readonly #options: PostgresEngineOptions
  readonly #credentials: Credentials
  readonly #clock: Clock
  readonly #hash: Environment['hash']
  readonly #hosts: Hosts
  readonly #statements: Statements
  readonly #identity: LogIdentity
  readonly #snapshots: SnapshotStore
  /** The session for the chores. */
  readonly #choreSession: Session
  /** The session for appends, which nothing else may delay. */
  #appendSession: Session | undefined
  readonly #streams = new Set<EntryStream>()
  #isFounding = false
  /**
   * How long one call for an append or a stream may take, in ms (`SessionOptions.callMs`). `open`
   * derives the value from `deadMs`.
   */
  #callMs = 1_000
  /**
   * The pause after which a stream reads even if no notification announces an entry, in ms. `open`
   * derives the value from `deadMs`.
   */
  #pollMs = 250
  /** Why the log can never be followed again; undefined while the log can be followed. */
  #logEnd: PostgresError | undefined
  #isClosed = false
  /** The ends of the stopped streams, for which `close` waits. */
  readonly #closing: Promise<void>[] = []

  constructor(
    options: PostgresEngineOptions,
    { clock, newId, hash }: Pick<Environment, 'clock' | 'newId' | 'hash'>,
  ) {
    this.#options = options
    this.#credentials = { ...options, tls: new TlsSource(clock, options.tls) }
    this.#clock = clock
    this.#hash = hash
    this.#hosts = new Hosts(options.hosts)
    this.#statements = new Statements(options.schema)
    this.#identity = new LogIdentity(this.#statements, options.schema)
    this.#choreSession = this.#newSession({}, options.choreMs ?? defaultChoreMs)
    this.#snapshots = new SnapshotStore(
      (text) => this.#chore(text),
      this.#statements,
      () => uuidFrom(hash(newId())),
    )
  }

  async open(config: ClusterConfig): Promise<void> {
    // A fifth of `deadMs` leaves an append time for several calls before the other brokers declare
    // this broker dead. A slow server needs at least 200 ms.
    this.#callMs = Math.min(1_000, Math.max(200, config.deadMs / 5))
    // Each broker writes at least one entry in a sixth of `deadMs`. A stream reads four times in
    // this time.
    this.#pollMs = Math.min(250, config.deadMs / 24)
    const state = await this.#convertErrors(() => this.#openLog(config))
    const mismatch = configMismatch(config, state.config, 'schema')
    if (mismatch !== undefined) throw toHoldfastError(refused(this.#options, mismatch))
    this.#identity.logId = state.logId
    this.#isFounding = state.isFounding
    if (state.broken !== undefined) throw toHoldfastError(this.#identity.lost(state.broken))
    this.#appendSession = this.#newSession({ prepare: this.#statements.prepare() })
  }

  get isFounding(): boolean {
    return this.#isFounding
  }

  async endFounding(): Promise<void> {
    await this.#convertErrors(() => this.#chore(this.#statements.endFounding()))
    this.#isFounding = false
  }

  findOtherLogs(): Promise<readonly string[]> {
    return this.#convertErrors(async () => {
      const { rows } = await this.#chore(this.#statements.otherLogs())
      return rows.map(({ schema }) => schema as string)
    })
  }

  async append(slot: string, entry: string): Promise<void> {
    if (this.#logEnd !== undefined) throw toHoldfastError(this.#logEnd)
    // The slot is the id of the appending incarnation (one life of a broker in the log). A
    // repeated append has the same slot and text, and therefore the same id.
    const id = uuidFrom(this.#hash(`${slot}\0${entry}`))
    try {
      const head = await this.#append(id, encodeValue(entry))
      if (this.#logEnd !== undefined) throw this.#logEnd
      // The entry was in the log already, and was compacted meanwhile, so it has no position.
      if (head === undefined) return
      this.#identity.onSeen(head.position, id)
      for (const stream of [...this.#streams]) stream.offer(head, entry)
    } catch (error) {
      // The entry may be in the log although the append failed. The streams ignore the
      // notifications of this broker's own appends, so tell the streams to read.
      for (const stream of this.#streams) stream.hint()
      throw error instanceof PostgresError ? toHoldfastError(error) : error
    }
  }

  follow(position: number, listener: LogListener): { stop(): void } {
    const stream = new EntryStream({
      newSession: (options) => this.#newSession(options),
      isOwnAppend: (processId) => processId === this.#appendSession?.processId,
      statements: this.#statements,
      identity: this.#identity,
      clock: this.#clock,
      position,
      listener,
      pollMs: this.#pollMs,
      onLogEnd: (error) => {
        void this.#endLog(error)
      },
    })
    this.#streams.add(stream)
    return {
      stop: () => {
        this.#streams.delete(stream)
        this.#closing.push(stream.stop())
      },
    }
  }

  snapshot(): Promise<StoredSnapshot | undefined> {
    return this.#convertErrors(() => this.#snapshots.newest())
  }

  saveSnapshot(position: number, parts: Iterable<string>): Promise<boolean> {
    return this.#convertErrors(() => this.#snapshots.save(position, parts))
  }

  async compact(position: number): Promise<void> {
    await this.#convertErrors(async () => {
      await this.#snapshots.removeBefore(position)
      // Write the position before the deletion, so that a reader knows why entries are missing.
      await this.#chore(this.#statements.setCompacted(position))
      let deletedCount: number
      do {
        const { rowCount } = await this.#chore(this.#statements.deleteEntries(position))
        deletedCount = rowCount
      } while (deletedCount === deleteSize)
    })
  }

  canReplayFrom(position: number): Promise<boolean> {
    return this.#convertErrors(async () => {
      const { rows } = await this.#chore(this.#statements.canReplayFrom(position))
      return rows[0]?.['can_replay'] === true
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const streams = [...this.#streams].map((stream) => stream.stop())
    this.#streams.clear()
    await Promise.all([
      ...streams,
      ...this.#closing,
      this.#choreSession.close(),
      this.#appendSession?.close(),
    ])
  }

  /** Prepares the log. Tries again after a temporary error, until `openTimeoutMs` is over. */
  async #openLog(config: ClusterConfig): Promise<StoredState> {
    const { openTimeoutMs = 10_000, hosts } = this.#options
    const until = this.#clock.monotonic() + openTimeoutMs
    for (;;) {
      try {
        return await preflight(this.#choreSession, this.#statements, this.#options, config)
      } catch (error) {
        if (!(error instanceof PostgresError) || error.isPermanent) throw error
        // A standby as the only host is a permanent error (`forbidden`), because the address is
        // wrong. With several hosts, one of them can soon become the primary.
        if (error.kind === 'readOnly' && hosts.length === 1)
          throw new PostgresError('forbidden', error.message, error)
        const isLate = this.#clock.monotonic() + openRetryMs > until
        // After `refused`, PostgreSQL would refuse the same statement again.
        if (this.#isClosed || isLate || error.kind === 'refused') throw error
      }
      await this.#sleep(openRetryMs)
    }
  }

  /** Appends an entry, or confirms an entry that is in the log already. */
  async #append(id: string, value: string | Buffer): Promise<EntryHead | undefined> {
    const session = this.#appendSession!
    try {
      const answer = await session.call(this.#statements.append(id, value))
      return this.#headFrom(id, answer, session)
    } catch (error) {
      if (error instanceof PostgresError && error.kind === 'positionTaken') {
        const lost = this.#identity.lost('its position is behind its entries')
        await this.#endLog(lost)
        throw lost
      }
      if (!(error instanceof PostgresError && error.kind === 'duplicate')) throw error
      return this.#headFrom(id, await session.call(this.#statements.confirm(id)), session)
    }
  }

  /**
   * The position and the ids of an entry, from the answer to `append` or `confirm`. A warning means
   * that the commit did not wait for the synchronous standbys, so that a failover can still lose
   * the entry.
   */
  #headFrom(id: string, { rows, hasWarning }: Answer, session: Session) {
    const [row] = rows
    // Another broker has marked the log as broken, so the log accepts no entry. The next read of a
    // stream finds the mark and its reason.
    if (row === undefined)
      throw new PostgresError('busy', `The log in PostgreSQL does not accept entries any more`)
    if (hasWarning) {
      const problem =
        'committed an entry without its synchronous standby, so the entry is not safe yet'
      throw new PostgresError('busy', `${nameOf(session.host)} ${problem}`)
    }
    if (row['position'] === null) return undefined
    const position = Number(row['position'])
    return { position, id, previousId: row['previous_id'] as string }
  }

  #newSession(options: Partial<SessionOptions>, callMs = this.#callMs): Session {
    const check = (connection: Connection, deadlineMs: number) =>
      this.#check(connection, deadlineMs)
    return new Session(this.#hosts, this.#credentials, this.#clock, { ...options, callMs, check })
  }

  /**
   * Checks the log on a new connection. If the log has lost entries, marks the log, so that the
   * other brokers stop too.
   */
  async #check(connection: Connection, deadlineMs: number): Promise<void> {
    try {
      await this.#identity.check(connection, deadlineMs)
    } catch (error) {
      if (!(error instanceof PostgresError && error.endsLog)) throw error
      await this.#mark(error, (text) => connection.call(text, deadlineMs))
      throw this.#endStreams(error)
    }
  }

  /** Ends all work with the log, because the log can never be followed again. */
  async #endLog(error: PostgresError): Promise<void> {
    if (this.#logEnd !== undefined) return
    // From now on, `append` throws this error.
    this.#logEnd = error
    // Write the mark first, because the process may end as soon as its streams have failed.
    await this.#mark(error, (text) => this.#appendSession!.call(text))
    this.#endStreams(error)
  }

  /** Marks a log that has lost entries, so that the other brokers stop too. */
  async #mark(error: PostgresError, call: (text: string) => Promise<unknown>): Promise<void> {
    if (!(error instanceof LostLogError && error.mustMark)) return
    try {
      await call(this.#statements.markBroken(error.reason))
    } catch {
      // Ignore the error. Without the mark, each other broker finds the loss when it reads the log.
    }
  }

  /** Makes all streams and every later append fail. Returns the error with which they fail. */
  #endStreams(cause: PostgresError): PostgresError {
    const isMissing = cause.kind === 'missing'
    const error = isMissing
      ? this.#identity.lost('its tables are gone', /* mustMark */ false)
      : cause
    this.#logEnd = error
    for (const stream of [...this.#streams]) stream.fail(error)
    return error
  }

  /** Makes a call that may be repeated, and repeats the call after a temporary error. */
  async #chore(text: string): Promise<Answer> {
    for (let retries = choreRetries.count, pauseMs = choreRetries.pauseMs; ; pauseMs *= 2) {
      try {
        return await this.#choreSession.call(text)
      } catch (error) {
        const isOver = this.#isClosed || retries-- === 0
        if (!(error instanceof PostgresError) || error.isPermanent || isOver) throw error
      }
      await this.#sleep(pauseMs)
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimer(resolve, ms)
    })
  }

  async #convertErrors<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error
      throw toHoldfastError(error)
    }
  }
}

/** Makes a UUID from the first 16 bytes of a hash. @param hash In base64url */
function uuidFrom(hash: string): string {
  // A UUID has groups of 8, 4, 4, 4 and 12 hexadecimal digits.
  const hex = Buffer.from(hash, 'base64url').toString('hex')
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)]
  return [...parts, hex.slice(20, 32)].join('-')
}
