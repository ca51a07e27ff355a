/**
 * A session of the broker with PostgreSQL (not a session of a Holdfast client). The session
 * connects to the primary, the only server that accepts writes; the other servers are standbys,
 * which may replace the primary. The session connects when it is used, checks the server, and
 * prepares its statements. After a failure the next call connects again, if necessary to another
 * host.
 */
import type { Clock } from '@holdfast/shared'
import type { PostgresHost } from './address.js'
import { type Answer, Connection, type Credentials } from './connection.js'
import { nameOf, PostgresError } from './errors.js'
import type { Hosts } from './hosts.js'

/**
 * The options of one session. A log has sessions for appends, for a stream of entries, and for
 * chores (all other calls).
 */
export interface SessionOptions {
  /**
   * The time after which the server gives up a statement, in ms. The deadline of a call is 1.5
   * times as long. The deadline is doubled after one timeout, and again after the next in a row.
   */
  readonly callMs: number
  /** Statements that prepare the session; undefined if the session needs no such statements. */
  readonly prepare?: string | undefined
  /** Checks the log on each new connection. Throws if the broker must not use the log. */
  readonly check?: ((connection: Connection, deadlineMs: number) => Promise<void>) | undefined
  /** Called for each new connection after its checks, before the session uses the connection. */
  readonly onConnect?: (() => void) | undefined
  /** Called for each notification, with the number of the server process that notified. */
  readonly onNotification?: ((processId: number) => void) | undefined
  /** Called when the connection has broken. */
  readonly onBroken?: (() => void) | undefined
}

/** How many times the deadline may double. It doubles because the server may be slow. */
const maxDeadlineDoublings = 2
/** The deadline of a call, as a multiple of the time after which the server gives up by itself. */
const deadlineFactor = 1.5
/** The oldest version that is supported, PostgreSQL 13, in the form of `server_version_num`. */
const minVersion = 130_000

export class Session {
  readonly #hosts: Hosts
  readonly #credentials: Credentials
  readonly #clock: Clock
  readonly #options: SessionOptions
  #connection: Connection | undefined
  /** The end of the last call. The calls of a session are made one after the other. */
  #lastCall: Promise<unknown> = Promise.resolve()
  /** Calls in a row that timed out. */
  #timeouts = 0
  #isClosed = false

  constructor(hosts: Hosts, credentials: Credentials, clock: Clock, options: SessionOptions) {
    this.#hosts = hosts
    this.#credentials = credentials
    this.#clock = clock
    this.#options = options
  }

  /**
   * Executes a text of statements after the earlier calls of this session.
   *
   * @throws {PostgresError} if the call fails. PostgreSQL may have executed the call nevertheless.
   */
  call(text: string): Promise<Answer> {
    const answer = this.#lastCall.then(() => this.#call(text))
    this.#lastCall = answer.catch(() => {})
    return answer
  }

  /** The host in use. */
  get host(): PostgresHost {
    return this.#connection?.host ?? this.#hosts.current
  }

  /** The number of the server process; undefined without a connection. */
  get processId(): number | undefined {
    return this.#connection?.processId
  }

  /**
   * The error that the caller throws when the server process of this session has changed. A pooler
   * (a proxy such as PgBouncer) can cause such a change.
   */
  pooledError(): PostgresError {
    return poolerError(this.host)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#connection?.close()
  }

  get #deadlineMs(): number {
    const doublings = Math.min(this.#timeouts, maxDeadlineDoublings)
    return Math.round(this.#options.callMs * deadlineFactor * 2 ** doublings)
  }

  async #call(text: string): Promise<Answer> {
    try {
      if (this.#connection === undefined || this.#connection.isBroken) await this.#connect()
      const answer = await this.#connection!.call(text, this.#deadlineMs)
      this.#timeouts = 0
      return answer
    } catch (error) {
      if (!(error instanceof PostgresError)) throw error
      if (error.kind === 'timeout') this.#timeouts++
      if (error.endsSession) await this.#drop()
      throw error
    }
  }

  /** Closes the connection. The next call tries another host first. */
  async #drop(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    if (connection === undefined) return
    this.#hosts.moveFrom(connection.host)
    await connection.close()
  }

  /** Tries all hosts, beginning with the host in use. */
  async #connect(): Promise<void> {
    const errors: PostgresError[] = []
    const hosts = this.#hosts.inOrder
    for (const host of hosts) {
      if (this.#isClosed) throw closedError(host)
      try {
        this.#connection = await this.#open(host)
        this.#hosts.use(host)
        return
      } catch (error) {
        if (!(error instanceof PostgresError)) throw error
        errors.push(error)
        if (error.endsLog) break
      }
    }
    throw summaryOf(errors, hosts.length)
  }

  /** Opens a connection, checks its server, and prepares the connection for the calls. */
  async #open(host: PostgresHost): Promise<Connection> {
    const deadlineMs = this.#deadlineMs
    const connection = await Connection.open(host, this.#credentials, this.#clock, deadlineMs)
    try {
      await checkServer(connection, this.#credentials, this.#clock, deadlineMs)
      await connection.call(settingsFor(this.#options.callMs), deadlineMs)
      await this.#options.check?.(connection, deadlineMs)
      const { prepare, onConnect, onNotification, onBroken } = this.#options
      if (prepare !== undefined) await connection.call(prepare, deadlineMs)
      if (this.#isClosed) throw closedError(host)
      onConnect?.()
      connection.listener = { onNotification, onBroken }
      return connection
    } catch (error) {
      await connection.close()
      throw error
    }
  }
}

/** Checks that this server is a primary of a suitable version, and not behind a pooler. */
async function checkServer(
  connection: Connection,
  credentials: Credentials,
  clock: Clock,
  deadlineMs: number,
): Promise<void> {
  const { rows } = await connection.call(
    `select current_setting('server_version_num')::int as version,
      current_setting('server_version') as version_name,
      pg_is_in_recovery() as is_standby,
      current_setting('transaction_read_only') = 'on' as is_read_only,
      pg_backend_pid() as pid`,
    deadlineMs,
  )
  const [server] = rows
  const serverName = nameOf(connection.host)
  const version = server?.['version']
  if (typeof version !== 'number' || version < minVersion) {
    const versionName = String(server?.['version_name'])
    const message = `${serverName} has version ${versionName}: Holdfast needs PostgreSQL 13 or newer`
    throw new PostgresError('notPostgres', message)
  }
  if (server!['is_standby'] === true) {
    const message = `${serverName} is a standby: give the address of the primary`
    throw new PostgresError('readOnly', message)
  }
  if (server!['is_read_only'] === true) {
    const message = `${serverName} allows reading only: set default_transaction_read_only=off for the user`
    throw new PostgresError('readOnly', message)
  }
  const serverPid = server!['pid'] as number
  // A pooler invents the `processId` that it sends when a connection opens. So there is no pooler
  // if `processId` is the true number of the server process.
  if (serverPid === connection.processId) return
  const isPooled = await sharesServer(connection, serverPid, credentials, clock, deadlineMs)
  if (isPooled) throw poolerError(connection.host)
}

/**
 * Whether a pooler shares server processes between sessions. In its modes "transaction" and
 * "statement", a second session can get the server process of the first session while the first
 * session is open. In the mode "session" this cannot happen.
 */
async function sharesServer(
  first: Connection,
  firstPid: number,
  credentials: Credentials,
  clock: Clock,
  deadlineMs: number,
): Promise<boolean> {
  const { host } = first
  const pidAnsweredBy = async (asked: Connection, text: string): Promise<unknown> => {
    const { rows } = await asked.call(text, deadlineMs)
    return rows[0]?.['pid']
  }
  const readPid = 'select pg_backend_pid() as pid'
  const second = await Connection.open(host, credentials, clock, deadlineMs)
  try {
    if ((await pidAnsweredBy(second, readPid)) === firstPid) return true
    // The open transaction reserves a process for the second session. If this is the process of the
    // first session, or if the first session now gets another process, the pooler shares processes.
    const secondPid = await pidAnsweredBy(second, `begin; ${readPid}`)
    return secondPid === firstPid || (await pidAnsweredBy(first, readPid)) !== firstPid
  } finally {
    await second.close()
  }
}

/** The error for a pooler that loses the LISTEN of a session. */
function poolerError(host: PostgresHost): PostgresError {
  return new PostgresError(
    'pooler',
    `${nameOf(host)} is reached through a pooler in transaction mode, which loses LISTEN: give the ` +
      'address of the server, or set the pooler to session mode',
  )
}

/**
 * The settings of every session. With `statement_timeout`, the server gives up a statement that
 * waits for a lock of PostgreSQL, so that abandoned statements do not pile up. This timeout does
 * not apply to a commit that waits for a standby. A value of `synchronous_commit` that would not
 * wait for a standby's disk becomes `on`. With the keepalive settings, the server drops a dead
 * broker's connection after 10 + 3 * 5 s.
 */
function settingsFor(callMs: number): string {
  return `
    set search_path = pg_catalog;
    set standard_conforming_strings = on;
    set client_min_messages = warning;
    set bytea_output = hex;
    set default_transaction_isolation = 'read committed';
    set statement_timeout = ${Math.round(callMs)};
    set lock_timeout = 0;
    set tcp_keepalives_idle = 10;
    set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3;
    select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')`
}

/** The error for a call of a closed session. */
function closedError(host: PostgresHost): PostgresError {
  const message = `${nameOf(host)} was not called, because the log is closed`
  return new PostgresError('unreachable', message)
}

/**
 * Selects the most useful of the errors of several hosts: a permanent error if there is one, or
 * else an error other than `readOnly`. Every standby gives `readOnly`, which says nothing about the
 * primary.
 */
function summaryOf(errors: readonly PostgresError[], hostCount: number): PostgresError {
  const permanent = errors.find(({ isPermanent }) => isPermanent)
  const mostUseful = permanent ?? errors.find(({ kind }) => kind !== 'readOnly') ?? errors[0]!
  if (hostCount === 1 || mostUseful === permanent) return mostUseful
  const message = `${mostUseful.message}, and no other of the ${hostCount} hosts is a primary`
  return new PostgresError(mostUseful.kind, message, mostUseful)
}
