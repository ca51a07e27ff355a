/**
 * Decides whether a request comes from a program on this machine. Both ends of the connection must
 * be loopback addresses. Loopback alone is not enough, because a proxy on this machine forwards the
 * requests of remote clients over loopback. Most proxies, tunnels and CDNs (networks that serve
 * copies of pages) leave traces in a request. A single trace makes the request count as remote.
 *
 * A proxy that leaves no trace, such as `ssh -R` or a TCP proxy, cannot be recognised.
 */
import type { IncomingMessage } from 'node:http'
import { isLoopback } from '../config/addresses.js'

/** Headers that only proxies add or read. */
const proxyHeaders: ReadonlySet<string> = new Set([
  'via',
  'forwarded',
  'cdn-loop',
  'early-data',
  'max-forwards',
  'proxy-connection',
  'proxy-authorization',
  'surrogate-capability',
  'front-end-https',
  'x-host',
  'x-https',
  'x-scheme',
  'x-url-scheme',
  'x-rewrite-url',
  'x-varnish',
  'x-cloud-trace-context',
])

/**
 * The usual headers of clients, which show no proxy. Most requests have only such headers. This set
 * saves time: without it, each of these headers would be compared with every pattern below.
 */
export const ordinaryHeaders: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'upgrade',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
  'origin',
  'user-agent',
  'authorization',
  'cookie',
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'pragma',
])

/** Patterns of further headers that show a proxy. */
const proxyHeaderPatterns: readonly RegExp[] = [
  // Words that proxies use in names, as in `X-Forwarded-…`, `X-Original-…`, `X-LB` and `X-CDN`.
  /(^|[-_])(forward(ed)?|via|proxy(user)?|proxied|original|rewritten)([-_]|$)/,
  /(^|[-_])(loadbalancer|lb|cdn|(dev)?tunnel)([-_]|$)/,
  // Names that end in a word for an address or a port, such as `X-Real-IP` and `X-Remote-Addr`.
  /(^|[-_]|client|real|remote|source|connecting|socket|peer|user)(ip(v?[46])?|addr(ess)?|port)$/,
  // Headers in which a proxy reports the TLS connection, the user, and when it got the request.
  /^(x-)?((ssl|tls|remote|webauth|auth-request)[-_]|(request|queue)-start$)/,
  // Headers in which a proxy reports the certificate or the host of the client.
  /^(x-)?client-(cert|verify|tls|ssl|host)/,
  // The names of CDNs, cloud providers, tunnels and proxies, and the headers of API gateways.
  /^(x-)?(cf|cloudfront|cloudflare|fly|fastly|akamai|edgeconnect|edge|incap)([-_]|$)/,
  /^(x-)?(sucuri|sigsci|bunny|nf|vercel|gfe|amzn?|goog|azure|appengine|arr|ms)([-_]|$)/,
  /^(x-)?(render|railway|heroku|replit|github-codespaces|codespaces|waws)([-_]|$)/,
  /^(x-)?(tailscale|ngrok|zrok|teleport|served-by|gateway|consumer|authenticated)([-_]|$)/,
  /^(x-)?(envoy|istio|linkerd|l5d|traefik|haproxy|nginx|openresty|caddy|accel)([-_]|$)/,
  /^(x-)?(squid|varnish|kong|pomerium)([-_]|$)/,
]

/**
 * Whether a request comes from a program on this machine: from loopback, to loopback, without a
 * trace of a proxy.
 */
export function isFromThisMachine(request: IncomingMessage): boolean {
  const { localAddress, remoteAddress } = request.socket
  // A closed socket has no addresses, so its request counts as remote.
  if (!isLoopback(localAddress ?? '') || !isLoopback(remoteAddress ?? '')) return false
  return !hasProxyTrace(request)
}

/** Whether a request has a trace of a proxy. */
export function hasProxyTrace({ headers, httpVersion }: IncomingMessage): boolean {
  // nginx forwards requests as HTTP/1.0 by default. No WebSocket client uses HTTP/1.0.
  if (httpVersion === '1.0') return true
  // Node gives the names of headers in lower case.
  return Object.keys(headers).some((name) => !ordinaryHeaders.has(name) && isProxyHeader(name))
}

/** Whether a header shows a proxy. `name` must be in lower case. */
export function isProxyHeader(name: string): boolean {
  return proxyHeaders.has(name) || proxyHeaderPatterns.some((pattern) => pattern.test(name))
}
