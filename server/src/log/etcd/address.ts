/**
 * Parses and validates the address of a log on etcd. The operator writes the address as one text,
 * such as `etcd://10.0.0.1:2379,10.0.0.2:2379/holdfast`, or as two options.
 */
import { redactUrl } from '@holdfast/shared'
import { invalidOption } from '../../config/settings.js'

export interface EtcdAddress {
  /** The URLs of etcd's members, such as `http://10.0.0.1:2379`. */
  readonly endpoints: readonly string[]
  /** All keys of the log begin with this prefix and a slash. */
  readonly prefix: string
}

const etcdForm = 'etcd://host:port,host:port/prefix, or etcds:// for TLS'
const postgresForm = 'postgres://user@host/database'
const defaultPort = 2379
const maxEndpoints = 16
const maxPrefixLength = 200

/**
 * Parses an address such as `etcd://10.0.0.1:2379,10.0.0.2:2379/holdfast`.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid address
 */
export function parseAddress(text: string): EtcdAddress {
  const [, scheme, authority = '', path] = /^(\w+):\/\/([^/]*)(?:\/(.*))?$/.exec(text) ?? []
  if (scheme !== 'etcd' && scheme !== 'etcds')
    throw invalidOption(
      `The address of a log must be ${etcdForm}, or ${postgresForm} for PostgreSQL, ` +
        `not "${redactUrl(text)}"`,
    )
  if (authority.includes('@')) {
    throw invalidOption(
      'The address of a log is public, so it must not contain a user and password: set `auth` instead',
    )
  }
  if (/[?#]/.test(text))
    throw invalidOption(`The address of a log must not have a query or fragment: use ${etcdForm}`)
  // Allow extra commas, such as a comma after the last host.
  const hosts = authority.split(',').filter((host) => host !== '')
  if (hosts.length === 0)
    throw invalidOption(`The address of a log must name a host: use ${etcdForm}`)
  if (path === undefined || path === '')
    throw invalidOption(`The address of a log must have a prefix: use ${etcdForm}`)
  const protocol = scheme === 'etcd' ? 'http' : 'https'
  return checkAddress({ endpoints: hosts.map((host) => `${protocol}://${host}`), prefix: path })
}

/**
 * Validates an address. Adds default ports and removes slashes around the prefix.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid address
 */
export function checkAddress({ endpoints, prefix }: EtcdAddress): EtcdAddress {
  if (!Array.isArray(endpoints) || endpoints.length === 0 || endpoints.length > maxEndpoints) {
    throw invalidOption(
      `endpoints must be 1 to ${maxEndpoints} addresses of etcd, such as http://host:2379`,
    )
  }
  const normalizedEndpoints = endpoints.map(normalizeEndpoint)
  const [first] = normalizedEndpoints
  if (normalizedEndpoints.some((endpoint) => schemeOf(endpoint) !== schemeOf(first!))) {
    throw invalidOption('endpoints must be all http:// or all https://')
  }
  const duplicate = normalizedEndpoints.find(
    (endpoint, i) => normalizedEndpoints.indexOf(endpoint) !== i,
  )
  if (duplicate !== undefined) throw invalidOption(`The endpoint ${duplicate} occurs twice`)
  return { endpoints: normalizedEndpoints, prefix: normalizePrefix(prefix) }
}

/** Adds the default port. @throws {HoldfastError} `INVALID_OPTION` if the text is no endpoint. */
function normalizeEndpoint(text: string): string {
  let url: URL | undefined
  try {
    url = new URL(text)
  } catch {
    // `url` stays undefined, which the condition below refuses.
  }
  const hasOnlyOrigin =
    url !== undefined && /^\/?$/.test(url.pathname) && url.search + url.hash === ''
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    !hasOnlyOrigin ||
    url.port === '0' ||
    url.username + url.password !== ''
  ) {
    const redacted = redactUrl(text)
    throw invalidOption(
      `"${redacted}" is not an endpoint of etcd, such as http://10.0.0.1:${defaultPort}`,
    )
  }
  // `url.port` is empty for the default port of the scheme, even if the operator wrote that port.
  const hasExplicitPort = /:\d+\/?$/.test(text)
  const schemePort = url.protocol === 'http:' ? 80 : 443
  const port = url.port || (hasExplicitPort ? schemePort : defaultPort)
  return `${url.protocol}//${url.hostname}:${port}`
}

function normalizePrefix(text: string): string {
  const prefix = text.replace(/^\/+|\/+$/g, '')
  if (!/^[\w.~-]+(?:\/[\w.~-]+)*$/.test(prefix) || prefix.length > maxPrefixLength) {
    throw invalidOption(
      `The prefix of a log must be 1 to ${maxPrefixLength} letters, digits and . _ ~ - in parts ` +
        'separated by /',
    )
  }
  return prefix
}

function schemeOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.indexOf(':'))
}
