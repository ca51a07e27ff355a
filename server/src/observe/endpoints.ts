/**
 * What the broker says over plain HTTP: whether it lives, whether it wants more clients, and its
 * metrics. Nothing here changes anything, and nothing but the metrics gives a number away.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isLoopback } from '../access/addresses.js'
import type { Metrics } from './observer.js'

export interface EndpointsParts {
  readonly metrics: Metrics | undefined
  /** Whether new clients are served: not before the log is taken up, nor while draining. */
  readonly isReady: () => boolean
  /** Whether a request calls the broker by a name that is its own. */
  readonly knowsHost: (request: IncomingMessage) => boolean
}

export class Endpoints {
  readonly #parts: EndpointsParts
  /** Once there is a listener for operators, metrics are there alone. */
  hasAdmin = false

  constructor(parts: EndpointsParts) {
    this.#parts = parts
  }

  /** On the port that everybody reaches. False if the request is for something else. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const path = pathOf(request)
    const isOpen = path !== '/metrics' || this.#mayScrape(request)
    return isOpen && this.#answer(path, request, response)
  }

  /** On the port for operators. */
  answerAdmin(request: IncomingMessage, response: ServerResponse): boolean {
    // A page has no business here, wherever it is from.
    if (request.headers.origin !== undefined) return false
    return this.#answer(pathOf(request), request, response)
  }

  #mayScrape(request: IncomingMessage): boolean {
    return !this.hasAdmin && isFromHere(request) && this.#parts.knowsHost(request)
  }

  #answer(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    const { metrics, isReady } = this.#parts
    if (request.method !== 'GET' && request.method !== 'HEAD') return false
    switch (path) {
      case '/healthz':
        say(response, 200, 'ok\n')
        return true
      case '/readyz':
        say(response, isReady() ? 200 : 503, isReady() ? 'ready\n' : 'not ready\n')
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

/** Asked by this machine itself, not by a page and not through a proxy. */
function isFromHere({ headers, socket }: IncomingMessage): boolean {
  const { origin, forwarded, 'x-forwarded-for': forwardedFor } = headers
  if (origin !== undefined || forwarded !== undefined || forwardedFor !== undefined) return false
  return isLoopback(socket.remoteAddress ?? '') && isLoopback(socket.localAddress ?? '')
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?', 1)[0] as string
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
