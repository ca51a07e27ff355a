/**
 * One connection to one server of PostgreSQL, with the driver `pg`. Every call has a deadline. A
 * connection that misses a deadline is closed, because its server may be paused or cut off.
 */
import type { Clock } from '@holdfast/shared'
import type { Client, QueryResult } from 'pg'
import { type PasswordOptions, passwordOf, type TlsSource } from '../credentials.js'
import type { PostgresHost, SslMode } from './address.js'
import { fromDriver, nameOf, notPostgres, PostgresError } from './errors.js'

export type { LogTls as PostgresTls } from '../credentials.js'

/**
 * The user of a broker, with the password and the certificates. If a file holds the password or a
 * certificate, new connections use changed content within seconds.
 */
export interface Credentials extends PasswordOptions {
  readonly user: string
  readonly database: string
  readonly sslMode: SslMode
  readonly tls: TlsSource
}

/** A row of a result, by the names of its columns. */
export type Row = Readonly<Record<string, unknown>>

/** The answer to the last statement of a call. */
export interface Answer {
  readonly rows: readonly Row[]
  /** How many rows the statement returned or changed. */
  readonly rowCount: number
  /** Whether the server sent a warning during the call. */
  readonly hasWarning: boolean
}

export interface ConnectionListener {
  /** Called with the id of the server process that sent the notification. */
  readonly onNotification: ((processId: number) => void) | undefined
  /** Called when the connection has broken, as the last call of the listener. */
  readonly onBroken: (() => void) | undefined
}

/** How long `close` waits until the server has closed the connection, in ms. */
const closeMs = 200
/** How long a connection may be idle before the kernel checks that the server is alive, in ms. */
const keepAliveMs = 10_000

/**
 * The bytes with which the first answer of a PostgreSQL server may begin. If the first request is
 * for TLS, the answer is S (yes), N (no) or E (error). Otherwise the byte is the type of a message:
 * R, E, N or v.
 */
const firstBytes = 'RENSv'

/** A connection, from its opening until it is closed or breaks. */
export class Connection {
  readonly host: PostgresHost
  readonly #client: Client
  readonly #clock: Clock
  #listener: ConnectionListener | undefined
  #warningCount = 0
  /** Why the connection is broken or closed; undefined while the connection is usable. */
  #error: PostgresError | undefined

  private constructor(host: PostgresHost, client: Client, clock: Clock) {
    this.host = host
    this.#client = client
    this.#clock = clock
    client.on('error', (error) => this.#break(fromDriver(host, error)))
    client.on('end', () => this.#break(fromDriver(host, new Error('connection ended'))))
    client.on('notification', ({ processId }) => this.#listener?.onNotification?.(processId))
    // Every notice counts as a warning, because sessions set `client_min_messages` to `warning`.
    // The server then sends no messages of a lower level.
    client.on('notice', () => this.#warningCount++)
  }

  /** Opens a connection. @throws {PostgresError} if no connection is possible. */
  static async open(
    host: PostgresHost,
    credentials: Credentials,
    clock: Clock,
    deadlineMs: number,
  ): Promise<Connection> {
    // Load the driver here, because other brokers do not need the driver.
    const { default: pg } = await import('pg')
    const { user, database } = credentials
    const password = passwordFor(host, credentials)
    const client = new pg.Client({
      ...host,
      user,
      database,
      // Give a function even if there is no password, because the driver would otherwise look for a
      // file with passwords.
      password: () => password,
      ssl: tlsFor(host, credentials),
      application_name: 'holdfast',
      keepAlive: true,
      keepAliveInitialDelayMillis: keepAliveMs,
      connectionTimeoutMillis: deadlineMs,
    })
    const connection = new Connection(host, client, clock)
    let isOtherProgram = false
    try {
      const connecting = client.connect()
      client.connection.stream.once('data', (bytes: Buffer) => {
        isOtherProgram = !firstBytes.includes(String.fromCharCode(bytes[0]!))
      })
      await connecting
    } catch (error) {
      connection.#destroy()
      throw isOtherProgram ? notPostgres(host, error) : fromDriver(host, error)
    }
    return connection
  }

  /**
   * The id of the server process, as the server sent it when the connection was opened. Behind
   * a pooler (a proxy that shares server processes), calls may go to other processes.
   */
  get processId(): number | undefined {
    // The type declarations of the driver do not have this property.
    return (this.#client as unknown as { readonly processID: number | null }).processID ?? undefined
  }

  get isBroken(): boolean {
    return this.#error !== undefined
  }

  set listener(listener: ConnectionListener | undefined) {
    this.#listener = listener
  }

  /**
   * Sends a text of one or several statements as one message, and resolves with the answer to the
   * last statement. The caller must not begin a call before the former call has ended.
   *
   * @throws {PostgresError} if the server refuses a statement, or does not answer in time.
   */
  async call(text: string, deadlineMs: number): Promise<Answer> {
    if (this.#error !== undefined) throw this.#error
    const warningsBefore = this.#warningCount
    const timer = this.#clock.setTimer(() => {
      const message = `${nameOf(this.host)} did not answer within ${deadlineMs} ms`
      this.#break(new PostgresError('timeout', message))
    }, deadlineMs)
    try {
      const result: unknown = await this.#client.query(text)
      const { rows, rowCount } = (Array.isArray(result) ? result.at(-1) : result) as QueryResult
      return { rows, rowCount: rowCount ?? 0, hasWarning: this.#warningCount > warningsBefore }
    } catch (error) {
      throw this.#error ?? fromDriver(this.host, error)
    } finally {
      this.#clock.clearTimer(timer)
    }
  }

  /** Closes the connection. Waits at most {@link closeMs} for the server. */
  async close(): Promise<void> {
    this.#listener = undefined
    if (this.#error !== undefined) return
    this.#error = fromDriver(this.host, new Error('the connection was closed'))
    const ended = this.#client.end().catch(() => {})
    await new Promise<void>((resolve) => {
      const timer = this.#clock.setTimer(resolve, closeMs)
      void ended.then(() => {
        this.#clock.clearTimer(timer)
        resolve()
      })
    })
    this.#destroy()
  }

  /** Records that the connection is broken, and informs the listener. */
  #break(error: PostgresError): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#destroy()
    const listener = this.#listener
    this.#listener = undefined
    listener?.onBroken?.()
  }

  #destroy(): void {
    this.#client.connection.stream.destroy()
  }
}

function passwordFor(host: PostgresHost, credentials: Credentials): string {
  try {
    return passwordOf(credentials)
  } catch (cause) {
    const problem = `was not called, because the password cannot be read (${String(cause)})`
    // `busy` means a temporary problem. Another program may just be replacing the password file.
    throw new PostgresError('busy', `${nameOf(host)} ${problem}`, cause)
  }
}

function tlsFor({ host }: PostgresHost, { sslMode, tls }: Credentials) {
  // A host that begins with `/` is the folder of a Unix socket.
  if (sslMode === 'disable' || host.startsWith('/')) return false
  const { ca, cert, key } = tls.texts
  // As in libpq, `require` verifies the certificate only if an authority is given.
  const rejectUnauthorized = sslMode !== 'require' || ca !== undefined
  const checksName = sslMode === 'verify-full'
  // A `checkServerIdentity` that returns undefined accepts every host name.
  return {
    ca,
    cert,
    key,
    rejectUnauthorized,
    ...(checksName ? {} : { checkServerIdentity: () => undefined }),
  }
}
