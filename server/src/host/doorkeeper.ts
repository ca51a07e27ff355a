/**
 * Who may come as far as a hello.
 *
 * Browsers apply no same-origin policy to WebSockets, so any page a person visits could reach a
 * broker on that person's machine; they do send an `Origin`, so an `Origin` must be on the list.
 * What is not a browser sends none, and is judged by `authenticate`; without one, only by being
 * local.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { HoldfastError } from '@holdfast/shared'
import type { BrokerSettings } from '../options.js'

/** Why an upgrade is refused, as HTTP says it. */
export interface Refusal {
  readonly status: string
  readonly reason: string
}

export class Doorkeeper {
  readonly #settings: BrokerSettings

  constructor(settings: BrokerSettings) {
    this.#settings = settings
  }

  /**
   * Refuses to serve strangers by mistake.
   *
   * @throws {HoldfastError} `INVALID_OPTION` if the host is not loopback and nothing says who may
   *   come.
   */
  checkHost(host: string): void {
    const { authenticate, allowUnauthenticated } = this.#settings
    if (isLoopback(host) || authenticate !== undefined || allowUnauthenticated) return
    throw new HoldfastError(
      'INVALID_OPTION',
      `Listening on ${host} would let anyone on the network take locks: set authenticate, ` +
        'or allow it by name with allowUnauthenticated.',
    )
  }

  /** Why this upgrade is refused; undefined if it may go on. */
  refusal(request: IncomingMessage): Refusal | undefined {
    const { origin } = request.headers
    if (origin !== undefined && !this.#isAllowed(origin)) {
      const reason = 'This origin may not connect; the option `origins` of the broker allows it.'
      return { status: '403 Forbidden', reason }
    }
    const { authenticate, allowUnauthenticated } = this.#settings
    const local = request.socket.localAddress
    if (authenticate === undefined && !allowUnauthenticated && !isLoopback(local ?? '')) {
      const reason = 'This broker does not authenticate, so it serves its own machine only.'
      return { status: '403 Forbidden', reason }
    }
    return undefined
  }

  #isAllowed(origin: string): boolean {
    if (this.#settings.origins.has(origin)) return true
    if (!this.#settings.dev || !URL.canParse(origin)) return false
    const { hostname } = new URL(origin)
    return isLoopback(hostname.replace(/^\[|\]$/g, ''))
  }
}

/** Whether an address or host name can only be this machine. */
export function isLoopback(host: string): boolean {
  const address = host.startsWith('::ffff:') ? host.slice('::ffff:'.length) : host
  if (isIP(address) === 4) return address.startsWith('127.')
  return address === '::1' || address === 'localhost'
}
