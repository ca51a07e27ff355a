/**
 * Origins and host names as an operator lists them, checked against the form in which browsers send
 * them. They are compared exactly, so an entry in another form would never match, and the operator
 * would not learn why.
 */
import { isIP } from 'node:net'

/** Schemes whose origins browsers write in one form only. */
const webSchemes: readonly string[] = ['http:', 'https:']
/** A scheme of an extension or app, such as `chrome-extension://…`: no path, no blanks. */
const appOrigin = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*\\]*$/

/**
 * Why an origin can never match, with the right form if one can be guessed; undefined if it can.
 */
export function originFault(origin: unknown): string | undefined {
  if (typeof origin !== 'string') return `origins are texts, and ${String(origin)} is none`
  // What sandboxed pages and files send.
  if (origin === 'null') return undefined
  const shown = show(origin)
  if (origin.includes('*')) {
    return `the origin ${shown} can never match: list every origin, since there are no wildcards`
  }
  const right = rightOrigin(origin)
  if (right === origin) return undefined
  const advice = right ?? 'https://app.example'
  const form = 'browsers send a scheme, a host and a port that is not the default'
  return `the origin ${shown} can never match: ${form}, such as ${JSON.stringify(advice)}`
}

/** How browsers write the origin that this text means; undefined if that is not known. */
function rightOrigin(origin: string): string | undefined {
  const text = origin.trim()
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text) ?? []
  if (scheme === undefined) return text === '' ? undefined : guessFrom(text)
  const url = parse(text)
  if (url === undefined) return undefined
  // A page is never served over WebSocket; a ws:// URL means the page's server.
  const protocol = url.protocol.replace(/^ws(s?):$/, 'http$1:').replace(/^ftp:$/, 'https:')
  if (webSchemes.includes(protocol)) {
    return url.hostname === '' ? undefined : originOf(`${protocol}//${url.host}`)
  }
  const bare = `${url.protocol}//${url.host}`
  return appOrigin.test(text) && text.startsWith(url.protocol) ? text : bare
}

/** Without a scheme: of this machine probably without TLS, of others with it. */
function guessFrom(text: string): string | undefined {
  const url = parse(`http://${text.replace(/^\/+/, '')}`)
  if (url === undefined || url.hostname === '') return undefined
  const isLocal = /^(localhost|127\.|\[::1\])/.test(url.hostname)
  return originOf(`${isLocal ? 'http' : 'https'}://${url.host}`)
}

function originOf(text: string): string | undefined {
  return parse(text)?.origin
}

function parse(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined
}

/** As a message may have it: not too long, and without a password. */
function show(name: string): string {
  return JSON.stringify(name.slice(0, 300).replace(/^([^/]*\/\/)?[^/]*@/, '$1***@'))
}

/** Why a host name can never match, with the right form if one can be guessed. */
export function hostFault(host: unknown): string | undefined {
  if (typeof host !== 'string') return `hosts are texts, and ${String(host)} is none`
  const shown = show(host)
  if (host.includes('*')) {
    return `the host ${shown} can never match: list every name, since there are no wildcards`
  }
  const right = rightHost(host)
  if (right === host.toLowerCase()) return undefined
  const advice = right ?? 'locks.example'
  const form = 'hosts are names without scheme, port, path or brackets'
  return `the host ${shown} can never match: ${form}, such as ${JSON.stringify(advice)}`
}

function rightHost(host: string): string | undefined {
  const text = host.trim()
  if (isIP(text) === 6) return parse(`http://[${text}]`)?.hostname.slice(1, -1)
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  const rest = hasScheme ? text.slice(text.indexOf('//') + 2) : text.replace(/^\/+/, '')
  const name = parse(`http://${rest}`)?.hostname.replace(/^\[|\]$/g, '')
  return name === '' ? undefined : name
}
