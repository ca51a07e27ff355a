/**
 * Who may come as far as a hello.
 *
 * Browsers apply no same-origin policy to WebSockets, so any page a person visits could reach a
 * broker on that person's machine; they do send an `Origin`, so an `Origin` must be on the list. A
 * page can also have its own name lead to this machine (DNS rebinding), so the broker answers only
 * to names that are its own. What is not a browser sends no origin, and is judged by
 * `authenticate`; without one, only by being local.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type Clock, HoldfastError, maxTokenLength, subprotocol } from '@holdfast/shared'
import { isFromThisMachine } from '../access/localRequests.js'
import { UpgradeRates } from '../access/upgradeRates.js'
import { type Caller, callerOf, forwardedProto, isLoopback } from '../config/addresses.js'
import { limitMessage } from '../config/limits.js'
import type { BrokerSettings } from '../config/settings.js'
import { type RefusalCause, refusalCauseOf } from '../observability/observer.js'

/** Why an upgrade is refused, as HTTP says it. */
export interface RefusedUpgrade {
  readonly status: string
  readonly reason: string
  /** It is for coming too often, not for good. */
  readonly isForNow?: true | undefined
}

/** The same, as the broker counts it too. */
interface Verdict extends RefusedUpgrade {
  readonly cause: RefusalCause
}

/** The same, and of whom. */
export interface CountedRefusal extends Verdict, Caller {}

/** An upgrade that may go on. */
export interface AcceptedUpgrade extends Caller {
  /** A token that came with the upgrade. */
  readonly token: string | undefined
}

/** How proxies that decide at the upgrade are shown a token: as a subprotocol, never answered. */
const bearer = 'bearer.'
const malformed = Symbol('malformed')

export class UpgradePolicy {
  readonly #settings: BrokerSettings
  readonly #clock: Clock
  readonly #rates: UpgradeRates

  constructor(settings: BrokerSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
    this.#rates = new UpgradeRates(settings.limits, clock.monotonic())
  }

  /**
   * Refuses to serve strangers, or to have tokens sent in the open, by mistake.
   *
   * @throws {HoldfastError} `INVALID_OPTION` if the host is not loopback and nothing says who may
   *   come, or nothing keeps their tokens secret.
   */
  checkHost(host: string, hasTls: boolean): void {
    if (isLoopback(host)) return
    const { authenticate, allowUnauthenticated, allowInsecure, trustedProxies } = this.#settings
    if (authenticate === undefined && !allowUnauthenticated) {
      throw new HoldfastError(
        'INVALID_OPTION',
        `Listening on ${host} would let anyone on the network take locks: set authenticate, ` +
          'or allow it by name with allowUnauthenticated.',
      )
    }
    if (authenticate !== undefined && !hasTls && trustedProxies === undefined && !allowInsecure) {
      throw new HoldfastError(
        'INVALID_OPTION',
        `Listening on ${host} without TLS would have tokens read on the network: set tls, ` +
          'trustedProxies if a proxy in front has it, or allow it by name with allowInsecure.',
      )
    }
  }

  /**
   * Whether this upgrade may go on, and what is known of it.
   *
   * @param isOwnPage It comes from a page that the broker itself serves. Default false.
   */
  admit(request: IncomingMessage, isOwnPage = false): AcceptedUpgrade | CountedRefusal {
    const caller = callerOf(request, this.#settings.trustedProxies)
    const refusal = this.#refusal(request, caller, isOwnPage)
    if (refusal !== undefined) return { ...caller, ...refusal }
    const token = tokenOf(request)
    if (token === malformed) {
      const reason = `A token has 1 to ${maxTokenLength} characters, base64url in a subprotocol`
      return { ...caller, status: '400 Bad Request', reason, cause: 'token' }
    }
    return { ...caller, token }
  }

  /** Whether the broker may be called by the name in this request. */
  knowsHost({ headers, socket }: IncomingMessage): boolean {
    const { hosts } = this.#settings
    const name = hostName(headers.host)
    if (name === undefined) return false
    if (hosts.has(name)) return true
    const local = isLoopback(socket.localAddress ?? '')
    return local ? isLoopback(name) : hosts.size === 0
  }

  /**
   * The same, by a name that nobody else can have lead here: an address, a loopback name, or one
   * that the operator gave it. Any other name may be that of a page whose own it is.
   */
  isCalledByName(request: IncomingMessage): boolean {
    if (!this.knowsHost(request)) return false
    const name = hostName(request.headers.host) ?? ''
    return this.#settings.hosts.has(name) || isLoopback(name) || isIP(name) !== 0
  }

  /** `https` or whatever a trusted proxy says a request came to it by; undefined without one. */
  forwardedScheme(request: IncomingMessage): string | undefined {
    return forwardedProto(request, this.#settings.trustedProxies)
  }

  #refusal(request: IncomingMessage, caller: Caller, isOwnPage: boolean): Verdict | undefined {
    const { origin } = request.headers
    if (!this.knowsHost(request)) {
      const reason =
        'Host header not allowed: connect to a name of the broker, or add this one to its `hosts`'
      return { status: '403 Forbidden', reason, cause: 'host' }
    }
    if (origin !== undefined && !isOwnPage && !this.#isAllowed(origin)) {
      const reason = 'Origin not allowed: add the origin of the page to `origins` of the broker'
      return { status: '403 Forbidden', reason, cause: 'origin' }
    }
    const { authenticate, allowUnauthenticated } = this.#settings
    if (authenticate === undefined && !allowUnauthenticated && !isFromThisMachine(request)) {
      const reason =
        'This broker does not authenticate clients, so it serves programs on its own machine ' +
        'only, and nothing that comes through a proxy: set `authenticate` or `allowUnauthenticated`'
      return { status: '403 Forbidden', reason, cause: 'not_local' }
    }
    return this.#tooOften(caller)
  }

  #tooOften({ address }: Caller): Verdict | undefined {
    const name = this.#rates.tryConsume(address, this.#clock.monotonic())
    if (name === undefined) return undefined
    const ofOne = name === 'connectionsPerSecondPerAddress'
    const status = ofOne ? '429 Too Many Requests' : '503 Service Unavailable'
    const limit = limitMessage(name, this.#settings.limits[name])
    const from = ofOne ? ' from this address' : ''
    const reason = `Too many connections${from} in a second: ${limit}`
    return { status, reason, cause: refusalCauseOf(name), isForNow: true }
  }

  #isAllowed(origin: string): boolean {
    if (this.#settings.origins.has(origin)) return true
    if (!this.#settings.dev || !URL.canParse(origin)) return false
    const { hostname } = new URL(origin)
    return isLoopback(hostname.replace(/^\[|\]$/g, ''))
  }
}

/** The name in a `Host` header, without brackets and port. */
function hostName(host: string | undefined): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d+)?$/.exec(host ?? '') ?? []
  return (bracketed ?? plain)?.toLowerCase()
}

/**
 * The token of an `Authorization` header or a subprotocol; what is in the URL is never looked at.
 */
function tokenOf({ headers }: IncomingMessage): string | undefined | typeof malformed {
  const [, header] = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  if (header !== undefined) return header.length <= maxTokenLength ? header : malformed
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
  const encoded = offered.find((one) => one !== subprotocol && one.startsWith(bearer))
  if (encoded === undefined) return undefined
  const text = encoded.slice(bearer.length)
  const token = Buffer.from(text, 'base64url')
  // Buffer skips what is not base64url; only what comes back the same was it.
  if (text === '' || token.toString('base64url') !== text) return malformed
  const plain = token.toString('utf8')
  return plain.length <= maxTokenLength ? plain : malformed
}
