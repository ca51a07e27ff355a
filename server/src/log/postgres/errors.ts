/** The errors of calls from a broker to PostgreSQL, with their kinds and messages. */
import { HoldfastError } from '@holdfast/shared'
import type { PostgresHost } from './address.js'

export type PostgresErrorKind =
  /** No connection, or the connection broke. */
  | 'unreachable'
  /** No answer before the deadline: the server is paused, or the network is cut. */
  | 'timeout'
  /** A temporary failure: the server starts, stops, has no free connection or no space. */
  | 'busy'
  /** The server is a standby, or allows reading only. */
  | 'readOnly'
  /** The server is not PostgreSQL 13 or newer. */
  | 'notPostgres'
  /** One side refuses the certificate of the other side, or only one side uses TLS. */
  | 'tls'
  /** The server does not accept the user, the password or the database. */
  | 'forbidden'
  /** The user lacks a right. */
  | 'noRight'
  /** A pooler (a proxy) gives the transactions of one connection to different server processes. */
  | 'pooler'
  /** A table or column of the log does not exist. */
  | 'missing'
  /** The entry is in the log already. */
  | 'duplicate'
  /** Another entry already has the position at which the entry was to be appended. */
  | 'positionTaken'
  /** Another log has taken the place of the log that the broker has read. */
  | 'replaced'
  /** PostgreSQL refused the statement for another reason. */
  | 'refused'

const permanentKinds: readonly PostgresErrorKind[] = [
  'notPostgres',
  'tls',
  'forbidden',
  'noRight',
  'pooler',
  'missing',
  'replaced',
]

/** A failed call. PostgreSQL may have executed the call nevertheless. */
export class PostgresError extends Error {
  readonly kind: PostgresErrorKind

  constructor(kind: PostgresErrorKind, message: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
  }

  /** Whether the PostgreSQL session is over, so that the next call needs a new session. */
  get endsSession(): boolean {
    return ['unreachable', 'timeout', 'readOnly', 'pooler', 'replaced'].includes(this.kind)
  }

  /** Whether trying again cannot help, because an operator must act first. */
  get isPermanent(): boolean {
    return permanentKinds.includes(this.kind)
  }

  /** Whether a broker that follows the log must leave the log for good after this error. */
  get endsLog(): boolean {
    return ['pooler', 'missing', 'replaced'].includes(this.kind)
  }
}

/** Converts an error for callers outside of this folder. */
export function toHoldfastError(error: PostgresError): HoldfastError {
  const code = error.isPermanent ? 'INVALID_OPTION' : 'UNAVAILABLE'
  return new HoldfastError(code, error.message, { cause: error })
}

/** The name of a server in error messages. */
export function nameOf({ host, port }: PostgresHost): string {
  if (host.startsWith('/')) return `PostgreSQL at ${host}/.s.PGSQL.${port}`
  return `PostgreSQL at ${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The error for a server that is not PostgreSQL. */
export function notPostgres(host: PostgresHost, cause: unknown): PostgresError {
  const message = `${nameOf(host)} does not answer like PostgreSQL: correct the address of the log`
  return new PostgresError('notPostgres', message, cause)
}

/** Kinds by the error code of PostgreSQL (SQLSTATE), or by its first two characters. */
const kindByState: Readonly<Record<string, PostgresErrorKind>> = {
  /** Connection exception */
  '08': 'unreachable',
  /** Unique violation */
  '23505': 'duplicate',
  /** Read-only transaction */
  '25006': 'readOnly',
  /** Invalid authorization */
  '28': 'forbidden',
  /** The database does not exist */
  '3D000': 'forbidden',
  /** The schema does not exist */
  '3F000': 'missing',
  /** Transaction rollback */
  '40': 'busy',
  /** Insufficient privilege */
  '42501': 'noRight',
  /** Undefined column */
  '42703': 'missing',
  /** Undefined table */
  '42P01': 'missing',
  /** Insufficient resources */
  '53': 'busy',
  /** The object is not in the required state */
  '55': 'busy',
  /** Operator intervention */
  '57': 'busy',
  /** Shutdown by the administrator */
  '57P01': 'unreachable',
  /** Shutdown after a crash */
  '57P02': 'unreachable',
  /** Idle session timeout */
  '57P05': 'unreachable',
  /** System error */
  '58': 'busy',
}

/** What the operator must do about a problem that PostgreSQL reports, by its SQLSTATE. */
const adviceByState: Readonly<Record<string, string>> = {
  '28000': '; correct the user or sslmode, or allow the broker in pg_hba.conf',
  '28P01': '; correct the user, or its password (`password`)',
  '3D000': '; create the database, or correct the address of the log',
  '42501': '; grant the right to the user',
  '53100': '; free space on the disk',
  '53300': '; raise max_connections, or the connection limit of the user or database',
}

/** An error that the driver `pg` throws. The error comes from the driver, PostgreSQL or Node. */
interface DriverError extends Error {
  readonly code?: string
  readonly severity?: string
  readonly constraint?: string
}

/** The kind of an error that PostgreSQL has reported. */
function kindOf(state: string, constraint: string | undefined): PostgresErrorKind {
  if (state === '23505' && constraint === 'log_entries_pkey') return 'positionTaken'
  return kindByState[state] ?? kindByState[state.slice(0, 2)] ?? 'refused'
}

/** The messages of PgBouncer about a database, a user or a setting that it does not know. */
const unknownToPooler = /no such (?:database|user)|bouncer config error|unsupported startup param/

/** What is wrong with the certificate of the server or of the broker, by the code of Node. */
function certificateProblem(code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const advice = 'name the host as the certificate does, or use sslmode=verify-ca'
    return `has the certificate of another host (${code}): ${advice}`
  }
  if (code === 'CERT_HAS_EXPIRED') return `has an expired certificate (${code}): renew it`
  // The server has refused the certificate of this broker by sending a TLS alert.
  if (/ALERT_(?:UNKNOWN_CA|\w*CERTIFICATE)/.test(code)) {
    const advice = 'set `tls.cert` and `tls.key`, or let the server trust the certificate'
    return `does not accept the certificate of this broker (${code}): ${advice}`
  }
  return `has an untrusted certificate (${code}): set \`tls.ca\`, or sslmode=require`
}

/** Converts an error of the driver. */
export function fromDriver(host: PostgresHost, error: unknown): PostgresError {
  if (error instanceof PostgresError) return error
  const { code = '', message, constraint } = error as DriverError
  const serverName = nameOf(host)
  // Only an error that the server has sent has a severity and a SQLSTATE.
  if (/^[0-9A-Z]{5}$/.test(code) && 'severity' in (error as object)) {
    // PgBouncer reports its own errors as protocol violations (08P01).
    if (code === '08P01' && unknownToPooler.test(message)) {
      const advice = 'correct the address of the log, or the settings of the pooler'
      const text = `${serverName} answered: ${message} (${code}); ${advice}`
      return new PostgresError('forbidden', text, error)
    }
    const kind = kindOf(code, constraint)
    const advice = adviceByState[code] ?? ''
    return new PostgresError(kind, `${serverName} answered: ${message} (${code})${advice}`, error)
  }
  // The driver throws this error if PostgreSQL asks for a password and the broker has none.
  if (/password must be/i.test(message)) {
    const problem = 'requires a password: set `password`'
    return new PostgresError('forbidden', `${serverName} ${problem}`, error)
  }
  if (/does not support SSL/.test(message)) {
    const problem = 'does not use TLS: turn it on there, or set sslmode=disable'
    return new PostgresError('tls', `${serverName} ${problem}`, error)
  }
  if (/CERT|SIGNATURE|ERR_TLS|ERR_SSL|ERR_OSSL/.test(code)) {
    return new PostgresError('tls', `${serverName} ${certificateProblem(code)}`, error)
  }
  if (/invalid response|unexpected message|establishing an SSL|SASL:/i.test(message)) {
    return notPostgres(host, error)
  }
  if (/timeout expired/.test(message)) {
    return new PostgresError(
      'timeout',
      `${serverName} did not accept the connection in time`,
      error,
    )
  }
  const reason = code === '' ? message : code
  return new PostgresError('unreachable', `${serverName} cannot be reached (${reason})`, error)
}
