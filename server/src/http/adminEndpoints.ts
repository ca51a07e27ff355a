/**
 * What the broker says over plain HTTP: whether it lives, whether it wants more clients, how it is
 * doing, and its metrics. Nothing here changes anything, and only the last two give numbers away.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isFromThisMachine } from '../access/localRequests.js'
import { isLoopback } from '../config/addresses.js'
import type { Metrics } from '../observability/observer.js'
import type { BrokerStatus } from './status.js'

/** What is for operators alone. */
const withNumbers = ['/metrics', '/status']

export interface AdminEndpointsDeps {
  readonly metrics: Metrics | undefined
  readonly status: () => BrokerStatus
  /** Whether a request calls the broker by a name that is its own. */
  readonly knowsHost: (request: IncomingMessage) => boolean
}

export class AdminEndpoints {
  readonly #deps: AdminEndpointsDeps
  /** Once there is a listener for operators, numbers are there alone. */
  hasAdmin = false

  constructor(deps: AdminEndpointsDeps) {
    this.#deps = deps
  }

  /** On the port that everybody reaches. False if the request is for something else. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const path = pathOf(request)
    const isOpen = !withNumbers.includes(path) || this.#maySeeNumbers(request)
    return isOpen && this.#answer(path, request, response)
  }

  /** On the port for operators. */
  answerAdmin(request: IncomingMessage, response: ServerResponse): boolean {
    // A page has no business here, wherever it is from.
    if (request.headers.origin !== undefined) return false
    const path = pathOf(request)
    if (withNumbers.includes(path) && this.#isMisled(request)) return false
    return this.#answer(path, request, response)
  }

  /** Called by a name that leads to this machine and is not its own, as that of a page may. */
  #isMisled(request: IncomingMessage): boolean {
    return isLoopback(request.socket.localAddress ?? '') && !this.#deps.knowsHost(request)
  }

  #maySeeNumbers(request: IncomingMessage): boolean {
    return !this.hasAdmin && isFromHere(request) && this.#deps.knowsHost(request)
  }

  #answer(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const { metrics, status } = this.#deps
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    switch (path) {
      case '/healthz':
        say(response, 200, 'ok\n')
        return true
      case '/readyz':
        sayReady(response, status())
        return true
      case '/status':
        say(response, 200, `${JSON.stringify(status())}\n`, 'application/json; charset=utf-8')
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

/** Asked by a program on this machine, not by a page. */
function isFromHere(request: IncomingMessage): boolean {
  return request.headers.origin === undefined && isFromThisMachine(request)
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?', 1)[0] as string
}

function sayReady(response: ServerResponse, { ready }: BrokerStatus): void {
  say(response, ready ? 200 : 503, ready ? 'ready\n' : 'not ready\n')
}

async function scrape(metrics: Metrics, response: ServerResponse): Promise<void> {
  try {
    say(response, 200, await metrics.text(), metrics.contentType)
  } catch {
    say(response, 500, 'the metrics cannot be had\n')
  }
}

function say(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  const headers = { 'content-type': type, 'cache-control': 'no-store', connection: 'close' }
  response.writeHead(status, headers)
  response.end(body)
}
