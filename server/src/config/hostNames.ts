/**
 * Checks the origins and host names that an operator lists in the options. The broker compares each
 * item exactly with the headers that browsers send. An item that browsers write differently would
 * never match, and the operator would not learn why.
 */
import { isIP } from 'node:net'

/** The schemes of web pages. For these, `URL.origin` is the origin as browsers send it. */
const webSchemes: readonly string[] = ['http:', 'https:']
/** An origin of an extension or app, such as `chrome-extension://…`, without path and blanks. */
const appOrigin = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*\\]*$/

/**
 * Returns an error message that says why an origin can never match, and that suggests the origin
 * that the operator probably means. Returns undefined for a valid origin.
 */
export function originFault(origin: unknown): string | undefined {
  if (typeof origin !== 'string')
    return `each of the origins must be a string, not ${String(origin)}`
  // Sandboxed pages and files send this origin.
  if (origin === 'null') return undefined
  const quoted = quoteSafely(origin)
  if (origin.includes('*')) {
    return `the origin ${quoted} can never match: wildcards are not supported; list every origin`
  }
  const meantOrigin = probableOrigin(origin.replace(userInfoPattern, '$1'))
  // The origin already has the form that browsers send.
  if (meantOrigin === origin) return undefined
  const example = meantOrigin ?? 'https://app.example'
  const form = 'browsers send an origin as scheme, host and non-default port'
  return `the origin ${quoted} can never match: ${form}, such as ${JSON.stringify(example)}`
}

/** The origin that the operator probably means, as browsers send it; undefined if unknown. */
function probableOrigin(origin: string): string | undefined {
  const text = origin.trim()
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text) ?? []
  if (scheme === undefined) return text === '' ? undefined : guessOrigin(text)
  const url = parseUrl(text)
  if (url === undefined) return undefined
  // No page is served over WebSocket or FTP, so such a URL probably means an HTTP server.
  const protocol = url.protocol.replace(/^ws(s?):$/, 'http$1:').replace(/^ftp:$/, 'https:')
  if (webSchemes.includes(protocol)) {
    return url.hostname === '' ? undefined : originOf(`${protocol}//${url.host}`)
  }
  // The origin of an extension or app stays as written, if it has a lower-case scheme and no path.
  const originWithoutPath = `${url.protocol}//${url.host}`
  return appOrigin.test(text) && text.startsWith(url.protocol) ? text : originWithoutPath
}

/** Guesses the origin of a text without a scheme: `http` for this machine, `https` for others. */
function guessOrigin(text: string): string | undefined {
  const url = parseUrl(`http://${text.replace(/^\/+/, '')}`)
  if (url === undefined || url.hostname === '') return undefined
  const isLocal = /^(localhost|127\.|\[::1\])/.test(url.hostname)
  return originOf(`${isLocal ? 'http' : 'https'}://${url.host}`)
}

function originOf(text: string): string | undefined {
  return parseUrl(text)?.origin
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

/**
 * Matches a scheme, if any, and the user and password up to the last `@`: a password may contain
 * any character. Group 1 is the scheme, which the calls of `replace` keep.
 */
const userInfoPattern = /^([a-z][a-z\d+.-]*:\/\/)?.*@/is

/**
 * Quotes a name for an error message: without a password, and at most 300 characters. Removes the
 * password before the cut, because the cut could remove the `@` by which the pattern finds
 * the password.
 */
function quoteSafely(name: string): string {
  return JSON.stringify(name.replace(userInfoPattern, '$1***@').slice(0, 300))
}

/**
 * Returns an error message that says why a host name can never match, and that suggests the host
 * name that the operator probably means. Returns undefined for a valid host name.
 */
export function hostFault(host: unknown): string | undefined {
  if (typeof host !== 'string') return `each of the hosts must be a string, not ${String(host)}`
  const quoted = quoteSafely(host)
  if (host.includes('*')) {
    return `the host ${quoted} can never match: wildcards are not supported; list every name`
  }
  const meantHost = probableHost(host.replace(userInfoPattern, '$1'))
  if (meantHost === host.toLowerCase()) return undefined
  const example = meantHost ?? 'locks.example'
  const form = 'a host is a name without scheme, port, path or brackets'
  return `the host ${quoted} can never match: ${form}; use a form such as ${JSON.stringify(example)}`
}

/** The host name that the operator probably means; undefined if unknown. */
function probableHost(host: string): string | undefined {
  const text = host.trim()
  // Parses an IPv6 address in brackets, because a URL needs them, and removes the brackets again.
  if (isIP(text) === 6) return parseUrl(`http://[${text}]`)?.hostname.slice(1, -1)
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const hostAndPath = hasScheme ? text.slice(text.indexOf('//') + 2) : text.replace(/^\/+/, '')
  const name = parseUrl(`http://${hostAndPath}`)?.hostname.replace(/^\[|\]$/g, '')
  return name === '' ? undefined : name
}
