/**
 * Decides which upgrades the broker accepts. An upgrade is the HTTP request with which a WebSocket
 * begins. These are the rules and the reasons for them:
 *
 * - An `Origin`, if sent, must be in `origins`. The origin of the broker's own pages is allowed
 *   too, and with the setting `dev` every loopback origin. Browsers apply no same-origin policy
 *   to WebSockets. So without this rule, any web page that a person visits could reach a broker on
 *   that person's machine.
 * - The `Host` must be a name of this broker, as `isAllowedHost` explains. Otherwise a web page
 *   could reach the broker under a host name of its own that resolves to this machine (DNS
 *   rebinding).
 * - With neither `authenticate` nor `allowUnauthenticated`, the client must be a program on this
 *   machine.
 * - The rate of upgrades is limited.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type Clock, HoldfastError, maxTokenLength, subprotocol } from '@holdfast/shared'
import { isFromThisMachine } from '../access/localRequests.js'
import { UpgradeRates } from '../access/upgradeRates.js'
import {
  type ClientAddress,
  clientAddressOf,
  forwardedProtocol,
  isLoopback,
} from '../config/addresses.js'
import { limitMessage } from '../config/limits.js'
import type { BrokerSettings } from '../config/settings.js'
import { type RefusalCause, refusalCauseOf } from '../observability/observer.js'

/** The HTTP answer to an upgrade that is refused. */
export interface RefusedUpgrade {
  /** The status code with its phrase. */
  readonly status: string
  readonly reason: string
  /** True if a limit is the only reason of the refusal, so that the client may try again later. */
  readonly mayRetry?: true | undefined
}

/** A refusal with its cause, by which metrics count refusals. */
interface RefusalWithCause extends RefusedUpgrade {
  readonly cause: RefusalCause
}

/** A refusal with its cause, and with the address of the refused client. */
export interface ClientRefusal extends RefusalWithCause, ClientAddress {}

export interface AcceptedUpgrade extends ClientAddress {
  /** The token in the upgrade request; undefined if the request has no token. */
  readonly token: string | undefined
}

/**
 * The prefix of a subprotocol that holds a token. A client offers this subprotocol if a proxy must
 * see the token. The broker never selects this subprotocol.
 */
const bearerPrefix = 'bearer.'
const malformedToken = Symbol('malformed')

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
   * Checks the settings of a broker whose host is not loopback. Such a broker must authenticate its
   * clients, unless `allowUnauthenticated` is set. A broker that authenticates its clients must
   * receive tokens over TLS or from a trusted proxy, unless `allowInsecure` is set.
   *
   * @throws {HoldfastError} `INVALID_OPTION` if the host is not loopback and a setting is missing.
   */
  checkHost(host: string, hasTls: boolean): void {
    if (isLoopback(host)) return
    const { authenticate, allowUnauthenticated, allowInsecure, trustedProxies } = this.#settings
    if (authenticate === undefined && !allowUnauthenticated) {
      throw new HoldfastError(
        'INVALID_OPTION',
        `Cannot listen on ${host} without \`authenticate\`, because every client on the network could ` +
          'acquire locks: set `authenticate` or allowUnauthenticated',
      )
    }
    if (authenticate !== undefined && !hasTls && trustedProxies === undefined && !allowInsecure) {
      throw new HoldfastError(
        'INVALID_OPTION',
        `Cannot listen on ${host} without TLS, because others on the network could read tokens: ` +
          'set `tls`, trustedProxies (if a proxy terminates TLS) or allowInsecure',
      )
    }
  }

  /**
   * Accepts or refuses an upgrade.
   *
   * @param isOwnPage Whether the request comes from a page that the broker itself serves.
   */
  admit(request: IncomingMessage, isOwnPage = false): AcceptedUpgrade | ClientRefusal {
    const client = clientAddressOf(request, this.#settings.trustedProxies)
    const refusal = this.#refusal(request, client, isOwnPage)
    if (refusal !== undefined) return { ...client, ...refusal }
    const token = tokenOf(request)
    if (token === malformedToken) {
      const reason =
        `A token must have 1 to ${maxTokenLength} characters, and a token in a subprotocol must ` +
        'be base64url: send a valid token'
      return { ...client, status: '400 Bad Request', reason, cause: 'token' }
    }
    return { ...client, token }
  }

  /** The refusal of an upgrade because of the limit of waiting upgrades, `pendingConnections`. */
  tooManyWaiting({ address, secure }: ClientAddress): ClientRefusal {
    const limitName = 'pendingConnections'
    const limit = limitMessage(limitName, this.#settings.limits[limitName])
    const reason = `Too many connections are waiting for their upgrade: ${limit}`
    const cause = refusalCauseOf(limitName)
    return { address, secure, status: '503 Service Unavailable', reason, cause, mayRetry: true }
  }

  /**
   * Whether the `Host` header is a name of the broker. These names are accepted:
   * - The items of `hosts`.
   * - For a request over loopback, also every loopback name.
   * - For any other request, every name if `hosts` is empty.
   */
  isAllowedHost({ headers, socket }: IncomingMessage): boolean {
    const { hosts } = this.#settings
    const name = hostName(headers.host)
    if (name === undefined) return false
    if (hosts.has(name)) return true
    const isOverLoopback = isLoopback(socket.localAddress ?? '')
    return isOverLoopback ? isLoopback(name) : hosts.size === 0
  }

  /**
   * Whether the `Host` header is an allowed name that no attacker can own: an IP address, a
   * loopback name, or an item of `hosts`. An attacker may serve web pages under any other name.
   */
  isUnspoofableHost(request: IncomingMessage): boolean {
    if (!this.isAllowedHost(request)) return false
    const name = hostName(request.headers.host) ?? ''
    return this.#settings.hosts.has(name) || isLoopback(name) || isIP(name) !== 0
  }

  /**
   * The scheme that a trusted proxy reports for a request; undefined if no trusted proxy forwarded
   * the request.
   */
  forwardedScheme(request: IncomingMessage): string | undefined {
    return forwardedProtocol(request, this.#settings.trustedProxies)
  }

  /** Returns why the upgrade is refused; undefined if only its token remains to be checked. */
  #refusal(
    request: IncomingMessage,
    client: ClientAddress,
    isOwnPage: boolean,
  ): RefusalWithCause | undefined {
    const { origin } = request.headers
    if (!this.isAllowedHost(request)) {
      const reason =
        'Host header not allowed: connect to a name of the broker, or add this name to its `hosts`'
      return { status: '403 Forbidden', reason, cause: 'host' }
    }
    if (origin !== undefined && !isOwnPage && !this.#isAllowedOrigin(origin)) {
      const reason =
        'Origin not allowed: add the origin of the page to `origins` of the broker, or set `dev` ' +
        'for pages on the machine of the broker'
      return { status: '403 Forbidden', reason, cause: 'origin' }
    }
    const { authenticate, allowUnauthenticated } = this.#settings
    if (authenticate === undefined && !allowUnauthenticated && !isFromThisMachine(request)) {
      const reason =
        'This broker does not authenticate clients, so it accepts only programs on its own machine ' +
        'that connect without a proxy: set `authenticate` or `allowUnauthenticated`'
      return { status: '403 Forbidden', reason, cause: 'not_local' }
    }
    return this.#rateRefusal(client)
  }

  #rateRefusal({ address }: ClientAddress): RefusalWithCause | undefined {
    const limitName = this.#rates.tryConsume(address, this.#clock.monotonic())
    if (limitName === undefined) return undefined
    const isAddressLimit = limitName === 'connectionsPerSecondPerAddress'
    const status = isAddressLimit ? '429 Too Many Requests' : '503 Service Unavailable'
    const limit = limitMessage(limitName, this.#settings.limits[limitName])
    const source = isAddressLimit ? ' from this address' : ''
    const reason = `Too many connections${source} in a second: ${limit}`
    return { status, reason, cause: refusalCauseOf(limitName), mayRetry: true }
  }

  #isAllowedOrigin(origin: string): boolean {
    if (this.#settings.origins.has(origin)) return true
    if (!this.#settings.dev || !URL.canParse(origin)) return false
    const { hostname } = new URL(origin)
    return isLoopback(hostname.replace(/^\[|\]$/g, ''))
  }
}

/** The host name in a `Host` header, without brackets and port. */
function hostName(host: string | undefined): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d+)?$/.exec(host ?? '') ?? []
  return (bracketed ?? plain)?.toLowerCase()
}

/**
 * The token in an `Authorization` header or a subprotocol; undefined without a token. The URL is
 * ignored, because URLs appear in the logs of proxies.
 */
function tokenOf({ headers }: IncomingMessage): string | undefined | typeof malformedToken {
  const [, headerToken] = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? []
  if (headerToken !== undefined) {
    return headerToken.length <= maxTokenLength ? headerToken : malformedToken
  }
  const offeredProtocols = (headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
  // The broker's own subprotocol is no token, whatever its prefix.
  const tokenProtocol = offeredProtocols.find(
    (name) => name !== subprotocol && name.startsWith(bearerPrefix),
  )
  if (tokenProtocol === undefined) return undefined
  const encodedToken = tokenProtocol.slice(bearerPrefix.length)
  const tokenBytes = Buffer.from(encodedToken, 'base64url')
  // `Buffer.from` skips invalid characters. Only if there are none, encoding the bytes again gives
  // the same text.
  const isValid = encodedToken !== '' && tokenBytes.toString('base64url') === encodedToken
  if (!isValid) return malformedToken
  const decodedToken = tokenBytes.toString('utf8')
  return decodedToken.length <= maxTokenLength ? decodedToken : malformedToken
}
