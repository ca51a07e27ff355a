/**
 * The endpoints for operators over plain HTTP: `/healthz`, `/readyz`, `/status` and `/metrics`. No
 * endpoint changes the broker. Only `/status` and `/metrics` show numbers, so only programs on this
 * machine, or clients of the admin port (a second port, for operators only), may read these two
 * paths.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isFromThisMachine } from '../access/localRequests.js'
import { isLoopback } from '../config/addresses.js'
import type { Metrics } from '../observability/observer.js'
import type { BrokerStatus } from './status.js'

/** The paths that only operators may read. */
const operatorPaths = ['/metrics', '/status']

export interface AdminEndpointsDeps {
  readonly metrics: Metrics | undefined
  readonly status: () => BrokerStatus
  /** Whether the request's Host header is a name of this broker (`hosts`). */
  readonly isAllowedHost: (request: IncomingMessage) => boolean
}

export class AdminEndpoints {
  readonly #deps: AdminEndpointsDeps
  /**
   * Whether the broker has an admin port. If so, the public port refuses `/status` and `/metrics`.
   */
  hasAdminPort = false

  constructor(deps: AdminEndpointsDeps) {
    this.#deps = deps
  }

  /**
   * Answers a request to the broker's public port.
   *
   * @returns Whether the request was answered. False if the request is for another handler, or if
   *   its sender may not read the path.
   */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const path = pathOf(request)
    const isAllowed = !operatorPaths.includes(path) || this.#mayReadNumbers(request)
    return isAllowed && this.#answer(path, request, response)
  }

  /** Answers a request to the admin port; returns false as {@link answer} does. */
  answerAdmin(request: IncomingMessage, response: ServerResponse): boolean {
    // Only browsers send an origin, and no web page needs the admin port.
    if (request.headers.origin !== undefined) return false
    const path = pathOf(request)
    if (operatorPaths.includes(path) && this.#usesForeignName(request)) return false
    return this.#answer(path, request, response)
  }

  /**
   * Whether the request reached loopback by a host name that is not allowed. The sender may be a
   * web page, because a page can make its own host name resolve to this machine (DNS rebinding).
   */
  #usesForeignName(request: IncomingMessage): boolean {
    return isLoopback(request.socket.localAddress ?? '') && !this.#deps.isAllowedHost(request)
  }

  #mayReadNumbers(request: IncomingMessage): boolean {
    return !this.hasAdminPort && isLocalProgram(request) && this.#deps.isAllowedHost(request)
  }

  #answer(path: string, request: IncomingMessage, response: ServerResponse): boolean {
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
        void scrape(metrics, response)
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

async function scrape(metrics: Metrics, response: ServerResponse): Promise<void> {
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
