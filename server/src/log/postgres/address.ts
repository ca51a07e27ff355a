/**
 * Parses and validates the address of a log in PostgreSQL, such as
 * `postgres://holdfast@db.example/app?schema=holdfast`. An address with several hosts names a
 * primary and the standbys that may replace it: `postgres://holdfast@db1,db2/app`.
 */
import { redactUrl } from '@holdfast/shared'
import { isLoopback } from '../../config/addresses.js'
import { invalidOption } from '../../config/settings.js'

export interface PostgresHost {
  /** A host name or address, or the absolute path of the folder of a Unix socket. */
  readonly host: string
  readonly port: number
}

/** The modes of TLS: values of the parameter `sslmode` of libpq. */
export type SslMode = 'disable' | 'require' | 'verify-ca' | 'verify-full'

export interface PostgresAddress {
  /** The primary and the standbys that may replace it, 1 to 16. */
  readonly hosts: readonly PostgresHost[]
  readonly user: string
  readonly database: string
  /** The schema that has the tables of the log. */
  readonly schema: string
  readonly sslMode: SslMode
}

const addressForm = 'postgres://user@host:port/database?schema=holdfast'
const defaultPort = 5432
const maxHosts = 16
/** The longest name that PostgreSQL does not truncate, in bytes. */
const maxNameBytes = 63
const sslModes = ['disable', 'require', 'verify-ca', 'verify-full'] as const
const parameterNames = ['schema', 'sslmode', 'host']

/**
 * Parses an address.
 *
 * @param user The option `user`. If the address has a user too, the two must be equal.
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid address.
 */
export function parsePostgresAddress(text: unknown, user?: string | undefined): PostgresAddress {
  const [, userInfo, hostsText = '', databaseText = '', query = ''] = matchAddress(text)
  const parameters = parseParameters(query)
  const hosts = parseHosts(hostsText, parameters.get('host'))
  const database = decodePercent(databaseText)
  if (database === '' || !isName(database))
    throw invalidOption(
      `The address of a log must name a database of at most 63 bytes: use ${addressForm}`,
    )
  return {
    hosts,
    user: parseUser(userInfo, user),
    database,
    schema: checkSchema(parameters.get('schema') ?? 'holdfast'),
    sslMode: sslModeFor(hosts, parameters.get('sslmode')),
  }
}

/** Returns an array: the whole address, its user, its hosts, its database and its parameters. */
function matchAddress(text: unknown): readonly (string | undefined)[] {
  const pattern = /^postgres(?:ql)?:\/\/(?:([^/?#@]*)@)?([^/?#@]*)(?:\/([^?#/]*))?(?:\?([^#]*))?$/
  const addressMatch = typeof text === 'string' ? pattern.exec(text) : null
  if (addressMatch === null) {
    const redacted = typeof text === 'string' ? `"${redactUrl(text)}"` : typeof text
    throw invalidOption(
      `The address of a log in PostgreSQL must be ${addressForm}, not ${redacted}`,
    )
  }
  return addressMatch
}

function parseUser(userInfo: string | undefined, userOption: string | undefined): string {
  if (userInfo?.includes(':') === true) {
    throw invalidOption(
      'The address of a log is public, so it must not contain a password: set `password` instead',
    )
  }
  const userInUrl = userInfo === undefined || userInfo === '' ? undefined : decodePercent(userInfo)
  if (userInUrl !== undefined && userOption !== undefined && userInUrl !== userOption) {
    throw invalidOption(
      `The address of the log has the user ${userInUrl}, but \`user\` is ${userOption}: remove one of them`,
    )
  }
  const user = userInUrl ?? userOption ?? ''
  if (user === '' || !isName(user))
    throw invalidOption(
      `The address of a log must name a user of at most 63 bytes: use ${addressForm}`,
    )
  return user
}

function parseParameters(query: string): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const part of query.split('&').filter((text) => text !== '')) {
    const [name = '', ...values] = part.split('=')
    if (!parameterNames.includes(name) || parameters.has(name)) {
      throw invalidOption(
        `The address of a log in PostgreSQL may have the parameters ${parameterNames.join(', ')}, ` +
          `each once: remove "${parameterNames.includes(name) ? name : redactUrl(name)}"`,
      )
    }
    parameters.set(name, decodePercent(values.join('=')))
  }
  return parameters
}

function parseHosts(hostsText: string, socketFolder: string | undefined): readonly PostgresHost[] {
  if (socketFolder !== undefined) {
    const portMatch = /^(?::(\d{1,5}))?$/.exec(hostsText)
    if (!socketFolder.startsWith('/') || portMatch === null) {
      throw invalidOption(
        'The parameter host of the address of a log must be the folder of a Unix socket, and the ' +
          'address must name no other host: use postgres://user@/database?host=/run/postgresql',
      )
    }
    return [{ host: socketFolder, port: portFrom(portMatch[1]) }]
  }
  // Extra commas are allowed, such as a comma after the last host.
  const texts = hostsText.split(',').filter((host) => host !== '')
  if (texts.length === 0 || texts.length > maxHosts)
    throw invalidOption(`The address of a log must name 1 to ${maxHosts} hosts: use ${addressForm}`)
  const hosts = texts.map(parseHost)
  const hostTexts = hosts.map(({ host, port }) => `${host}:${port}`)
  const duplicate = hostTexts.find((hostText, i) => hostTexts.indexOf(hostText) !== i)
  if (duplicate !== undefined)
    throw invalidOption(`The host ${duplicate} occurs twice in the address`)
  return hosts
}

function parseHost(text: string): PostgresHost {
  const [, ipv6, name, port] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined)
    throw invalidOption(`"${redactUrl(text)}" is not a host of PostgreSQL, such as 10.0.0.1:5432`)
  return { host, port: portFrom(port) }
}

function portFrom(text: string | undefined): number {
  const port = text === undefined ? defaultPort : Number(text)
  if (port < 1 || port > 65_535)
    throw invalidOption(`The port of PostgreSQL must be from 1 to 65535, not ${text}`)
  return port
}

function checkSchema(schema: string): string {
  if (!/^[a-z_][a-z\d_]*$/.test(schema) || schema.length > maxNameBytes || /^pg_/.test(schema)) {
    throw invalidOption(
      `The schema of a log must be 1 to ${maxNameBytes} small letters, digits and _, and must ` +
        `begin with neither a digit nor pg_, not "${redactUrl(schema)}"`,
    )
  }
  return schema
}

/**
 * The mode of TLS. The default is no TLS if all hosts are on this machine, and TLS with a verified
 * certificate if any host is on another machine.
 */
function sslModeFor(hosts: readonly PostgresHost[], text: string | undefined): SslMode {
  const isLocal = hosts.every(({ host }) => host.startsWith('/') || isLoopback(host))
  const mode = text ?? (isLocal ? 'disable' : 'verify-full')
  if (!sslModes.includes(mode as SslMode))
    throw invalidOption(`sslmode must be ${sslModes.join(', ')}, not "${redactUrl(mode)}"`)
  return mode as SslMode
}

/** Whether this text can be the name of a user or database. Callers refuse an empty text. */
function isName(text: string): boolean {
  return Buffer.byteLength(text) <= maxNameBytes && !text.includes('\0')
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalidOption(`The address of a log has an invalid escape: write "%25" for "%"`)
  }
}
