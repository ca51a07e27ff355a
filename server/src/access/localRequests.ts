/**
 * Whether a request comes from a program on this machine. Both ends of its connection are loopback
 * then, but that alone says little: a proxy on this machine brings the requests of strangers over
 * loopback too. Proxies, tunnels and CDNs leave traces in a request; one trace is enough.
 *
 * What leaves none, such as `ssh -R` or a proxy of TCP, cannot be told from a program here.
 */
import type { IncomingMessage } from 'node:http'
import { isLoopback } from '../config/addresses.js'

/** Headers that only a proxy adds, or that are meant for one. */
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
 * The same by their families: words such as `X-Forwarded-…` and `X-Original-…` have; an address at
 * the end, as in `X-Real-IP`, `True-Client-IP`, `X-Azure-ClientIP` and `X-Remote-Addr`; what proxies
 * say of TLS and of who logged in at them; and the names of proxies.
 */
const proxyFamilies: readonly RegExp[] = [
  /(^|[-_])(forward(ed)?|via|proxy(user)?|original|rewritten|loadbalancer|lb)([-_]|$)/,
  /(^|[-_]|client|real|remote|source|connecting|socket|peer|user)(ip(v?[46])?|addr(ess)?|port)$/,
  /^(x-)?((ssl|tls|remote|webauth|auth-request)[-_]|(request|queue)-start$)/,
  /^(x-)?client-(cert|verify|tls|ssl|host)/,
  /^(x-)?(cf|cloudfront|cloudflare|fly|fastly|akamai|incap|sucuri|sigsci|bunny|nf|vercel)[-_]/,
  /^(x-)?(amzn?|goog|azure|appengine|arr|render|railway|heroku|tailscale|ngrok|teleport)[-_]/,
  /^(x-)?(envoy|istio|linkerd|l5d|traefik|haproxy|nginx|squid|varnish|kong|pomerium)[-_]/,
]

/**
 * Whether a request is from this machine itself: from loopback, to loopback, without a trace of a
 * proxy.
 */
export function isFromThisMachine(request: IncomingMessage): boolean {
  const { localAddress, remoteAddress } = request.socket
  if (!isLoopback(localAddress ?? '') || !isLoopback(remoteAddress ?? '')) return false
  return !cameThroughProxy(request)
}

/** Whether a request has a trace of a proxy, wherever it is from. */
export function cameThroughProxy({ headers, httpVersion }: IncomingMessage): boolean {
  // What nginx speaks to those behind it unless it is told otherwise; clients have HTTP/1.1.
  if (httpVersion === '1.0') return true
  return Object.keys(headers).some(
    (name) => proxyHeaders.has(name) || proxyFamilies.some((family) => family.test(name)),
  )
}
