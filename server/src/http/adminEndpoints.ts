/**
 * The endpoints for operators over plain HTTP: `/healthz`, `/readyz`, `/status`, `/metrics` and
 * `POST /rebalance`.
 *
 * Besides its public port, a broker may have an admin port, which is for operators only.
 *
 * - `/status` and `/metrics` show details of the broker. So only programs on this machine, or
 *   clients of the admin port, may read these two paths.
 * - `/rebalance` closes connections. So only programs on this machine may request this path.
 * - `/healthz` and `/readyz` show no details, so all clients may read these two paths.
 * - If the broker has an admin port, its public port serves only the last two of these paths.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isFromThisMachine } from '../access/localRequests.js'
import { isLoopback } from '../config/addresses.js'
import type { Metrics } from '../observability/observer.js'
import type { BrokerStatus } from './status.js'

/** The paths that only operators may read. */
const operatorPaths = ['/metrics', '/status']

/** The path that moves clients of this broker to other brokers. */
const rebalancePath = '/rebalance'

/** The result of `/rebalance`: the number of clients that left, or why no client can leave. */
export type RebalanceReport = { readonly clients: number } | { readonly refusal: string }

export interface AdminEndpointsDeps {
  readonly metrics: Metrics | undefined
  readonly status: () => BrokerStatus
  readonly rebalance: () => Promise<RebalanceReport>
  /** Whether the request's Host header is a name of this broker (option `hosts`). */
  readonly isAllowedHost: (request: IncomingMessage) => boolean
}

export class AdminEndpoints {
  readonly #deps: AdminEndpointsDeps
  /**
   * Whether the broker has an admin port. If so, the public port refuses `/status`, `/metrics` and
   * `/rebalance`.
   */
  hasAdminPort = false

  constructor(deps: AdminEndpointsDeps) {
    this.#deps = deps
  }

  /**
   * Answers a request to the broker's public port.
   *
   * @returns Whether the request was answered. False if the request is for another handler, or if
   *   its sender may not use the path.
   */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const path = pathOf(request)
    if (path === rebalancePath) {
      return this.#mayUseOperatorPaths(request) && this.#answerRebalance(request, response)
    }
    const isAllowed = !operatorPaths.includes(path) || this.#mayUseOperatorPaths(request)
    return isAllowed && this.#answerRead(path, request, response)
  }

  /** Answers a request to the admin port. Returns the same as {@link answer}. */
  answerAdmin(request: IncomingMessage, response: ServerResponse): boolean {
    // Only web pages send an origin, and no web page needs the admin port.
    if (request.headers.origin !== undefined) return false
    const path = pathOf(request)
    if (path === rebalancePath) {
      const isAllowed = isFromThisMachine(request) && this.#deps.isAllowedHost(request)
      return isAllowed && this.#answerRebalance(request, response)
    }
    if (operatorPaths.includes(path) && this.#usesForeignName(request)) return false
    return this.#answerRead(path, request, response)
  }

  /**
   * Whether the request reached loopback by a host name that is not allowed. The sender may be a
   * web page whose own host name resolves to this machine (DNS rebinding). A browser sends no
   * origin when such a page reads from its own host.
   */
  #usesForeignName(request: IncomingMessage): boolean {
    return isLoopback(request.socket.localAddress ?? '') && !this.#deps.isAllowedHost(request)
  }

  /** Whether a request to the public port may use the paths for operators. */
  #mayUseOperatorPaths(request: IncomingMessage): boolean {
    return !this.hasAdminPort && isLocalProgram(request) && this.#deps.isAllowedHost(request)
  }

  #answerRebalance(request: IncomingMessage, response: ServerResponse): boolean {
    if (request.method !== 'POST') return false
    void this.#deps.rebalance().then((report) => {
      if ('refusal' in report) sendText(response, 409, `${report.refusal}\n`)
      else sendText(response, 200, `${JSON.stringify(report)}\n`, 'application/json; charset=utf-8')
    })
    return true
  }

  /** Answers a GET or HEAD request, without a check of the sender. */
  #answerRead(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const { metrics, status } = this.#deps
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    switch (path) {
      case '/healthz':
        sendText(response, 200, 'ok\n')
        return true
      case '/readyz':
        sendReadiness(response, status())
        return true
      case '/status':
        sendText(response, 200, `${JSON.stringify(status())}\n`, 'application/json; charset=utf-8')
        return true
      case '/metrics':
        if (metrics === undefined) return false
        void sendMetrics(metrics, response)
        return true
      default:
        return false
    }
  }
}

/** Whether a program on this machine sent the request, and not a web page. */
function isLocalProgram(request: IncomingMessage): boolean {
  return request.headers.origin === undefined && isFromThisMachine(request)
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?', 1)[0] as string
}

function sendReadiness(response: ServerResponse, { ready }: BrokerStatus): void {
  sendText(response, ready ? 200 : 503, ready ? 'ready\n' : 'not ready\n')
}

async function sendMetrics(metrics: Metrics, response: ServerResponse): Promise<void> {
  try {
    sendText(response, 200, await metrics.text(), metrics.contentType)
  } catch {
    sendText(response, 500, 'The metrics could not be read\n')
  }
}

function sendText(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  const headers = { 'content-type': type, 'cache-control': 'no-store', connection: 'close' }
  response.writeHead(status, headers)
  response.end(body)
}
