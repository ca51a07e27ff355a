/**
 * Where a log on etcd is: `etcd://10.0.0.1:2379,10.0.0.2:2379/holdfast`, or the same in pieces; and
 * what about it cannot be, in one sentence.
 */
import { redactUrl } from '@holdfast/shared'
import { invalid } from '../../config/settings.js'

export interface EtcdAddress {
  /** Of etcd's members, as etcd itself writes them: `http://10.0.0.1:2379`. */
  readonly endpoints: readonly string[]
  /** All keys of the log begin with this and a slash. */
  readonly prefix: string
}

const form = 'etcd://host:port,host:port/prefix, or etcds:// for TLS'
const defaultPort = 2379
const maxEndpoints = 16
const maxPrefixLength = 200

/**
 * Reads an address from one line.
 *
 * @throws {HoldfastError} `INVALID_OPTION`
 */
export function parseAddress(text: string): EtcdAddress {
  const [, scheme, authority = '', path] = /^(\w+):\/\/([^/]*)(?:\/(.*))?$/.exec(text) ?? []
  if (scheme !== 'etcd' && scheme !== 'etcds') throw invalid(`The address of a log is ${form}`)
  if (authority.includes('@')) {
    throw invalid('User and password have no place in the address of a log, which everybody sees')
  }
  if (/[?#]/.test(text)) throw invalid(`The address of a log has no more to it than ${form}`)
  const hosts = authority.split(',').filter((host) => host !== '')
  if (hosts.length === 0) throw invalid(`The address of a log names at least one host: ${form}`)
  if (path === undefined || path === '') throw invalid(`The address of a log has a prefix: ${form}`)
  const protocol = scheme === 'etcd' ? 'http' : 'https'
  return checkAddress({ endpoints: hosts.map((host) => `${protocol}://${host}`), prefix: path })
}

/**
 * The same address with every port spelt out and no slash too many.
 *
 * @throws {HoldfastError} `INVALID_OPTION`
 */
export function checkAddress({ endpoints, prefix }: EtcdAddress): EtcdAddress {
  if (!Array.isArray(endpoints) || endpoints.length === 0 || endpoints.length > maxEndpoints) {
    throw invalid(`endpoints are 1 to ${maxEndpoints} addresses of etcd, such as http://host:2379`)
  }
  const whole = endpoints.map(endpointFrom)
  const [first] = whole
  if (whole.some((one) => schemeOf(one) !== schemeOf(first!))) {
    throw invalid('endpoints are all http:// or all https://')
  }
  const double = whole.find((one, i) => whole.indexOf(one) !== i)
  if (double !== undefined) throw invalid(`The endpoint ${double} is named twice`)
  return { endpoints: whole, prefix: prefixFrom(prefix) }
}

function endpointFrom(text: string): string {
  let url: URL | undefined
  try {
    url = new URL(text)
  } catch {
    // Told below, as for whatever else is wrong with it.
  }
  const isBare = url !== undefined && /^\/?$/.test(url.pathname) && url.search + url.hash === ''
  if (url === undefined || !/^https?:$/.test(url.protocol) || !isBare || url.username !== '') {
    const shown = redactUrl(text)
    throw invalid(`"${shown}" is not an endpoint of etcd, such as http://10.0.0.1:${defaultPort}`)
  }
  // A port that is the scheme's own is not in `port`, although it was meant.
  const isSpeltOut = /:\d+\/?$/.test(text)
  const port = url.port || (isSpeltOut ? (url.protocol === 'http:' ? 80 : 443) : defaultPort)
  return `${url.protocol}//${url.hostname}:${port}`
}

function prefixFrom(text: string): string {
  const prefix = text.replace(/^\/+|\/+$/g, '')
  if (!/^[\w.~-]+(?:\/[\w.~-]+)*$/.test(prefix) || prefix.length > maxPrefixLength) {
    throw invalid(
      `The prefix of a log is 1 to ${maxPrefixLength} letters, digits and . _ ~ - in parts divided by /`,
    )
  }
  return prefix
}

function schemeOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.indexOf(':'))
}
