/**
 * Routes the upgrades of an HTTP server to its brokers by path. An upgrade is the HTTP request with
 * which a WebSocket begins. The server may belong to the embedding program and may carry several
 * brokers. They share one listener, which can tell whether any of them has the path. This file also
 * refuses upgrades, for instance the upgrades of a path without a handler.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { invalidOption } from '../config/settings.js'
import { stopCountingSocket } from './requestSockets.js'
import type { RefusedUpgrade } from './upgradePolicy.js'

/** Handles an upgrade. `raw` is the TCP or TLS socket; `head` has the bytes after the request. */
export type UpgradeHandler = (request: IncomingMessage, raw: Duplex, head: Buffer) => void

/** The brokers on one HTTP server. */
interface Routes {
  /**
   * The handlers by path. The key `undefined` has the handler for all paths that are not keys of
   * this map.
   */
  readonly handlers: Map<string | undefined, UpgradeHandler>
  readonly onUpgrade: UpgradeHandler
}

const routesOf = new WeakMap<Server, Routes>()

/**
 * Calls `handler` for the upgrades of a path.
 *
 * @param path Undefined for all paths that have no handler of their own.
 * @returns A function that removes the handler.
 * @throws {HoldfastError} `INVALID_OPTION` for an invalid path, or a path that has a handler
 *   already.
 */
export function routeUpgrades(
  server: Server,
  path: string | undefined,
  handler: UpgradeHandler,
): () => void {
  if (path !== undefined && !/^\/[^?#\s]*$/.test(path)) {
    throw invalidOption('path must begin with a slash and must not have a query')
  }
  const { handlers, onUpgrade } = routesOf.get(server) ?? addRoutes(server)
  if (handlers.has(path)) {
    const takenPath = path ?? 'all paths'
    throw invalidOption(
      `path: a broker is already attached to ${takenPath} of this server: use another path`,
    )
  }
  handlers.set(path, handler)
  return () => {
    handlers.delete(path)
    if (handlers.size > 0) return
    server.off('upgrade', onUpgrade)
    routesOf.delete(server)
  }
}

/** Adds the listener for upgrades, with no handlers yet, to a server. */
function addRoutes(server: Server): Routes {
  const handlers: Routes['handlers'] = new Map()
  const onUpgrade: UpgradeHandler = (request, raw, head) => {
    // The limit of incomplete HTTP requests must not count this socket any more.
    stopCountingSocket(server, raw)
    const [path = ''] = (request.url ?? '').split('?', 1)
    const handler = handlers.get(path) ?? handlers.get(undefined)
    if (handler !== undefined) handler(request, raw, head)
    // Another listener of the program may answer the upgrade. Without another listener,
    // the socket would stay open for ever, so refuse the upgrade.
    else if (server.listenerCount('upgrade') === 1) {
      refuse(raw, { status: '404 Not Found', reason: 'No broker is attached to this path' })
    }
  }
  const routes = { handlers, onUpgrade }
  routesOf.set(server, routes)
  server.on('upgrade', onUpgrade)
  return routes
}

/**
 * Answers an upgrade with an HTTP error. Destroys the socket as soon as the answer is written, even
 * if the client keeps its end open. The body gives the reason, which clients in Node can show.
 * Browsers do not show the body to their pages.
 */
export function refuse(raw: Duplex, { status, reason, mayRetry }: RefusedUpgrade): void {
  // `Retry-After` is in seconds.
  const retryAfter = mayRetry ? 'Retry-After: 1\r\n' : ''
  const body = `${reason}\n`
  raw.on('error', () => raw.destroy())
  raw.once('finish', () => raw.destroy())
  raw.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `${retryAfter}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
