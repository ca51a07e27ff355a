/**
 * Which broker an upgrade is for. An HTTP server may belong to somebody else and may carry several
 * brokers, so that all of them share one listener, and an upgrade that is for nobody is answered
 * instead of left open for ever.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { invalid } from '../config/settings.js'
import type { RefusedUpgrade } from './upgradePolicy.js'

export type UpgradeHandler = (request: IncomingMessage, raw: Duplex, head: Buffer) => void

/** The brokers on one server. */
interface Routes {
  /** By path; undefined for every path that has no handler of its own. */
  readonly handlers: Map<string | undefined, UpgradeHandler>
  readonly onUpgrade: UpgradeHandler
}

const routesOf = new WeakMap<Server, Routes>()

/**
 * Hands upgrades on a server to `handler`; returns how to stop that.
 *
 * @param path Only this path; undefined for all that nobody else has.
 * @throws {HoldfastError} `INVALID_OPTION` for a path that is none or is taken.
 */
export function routeUpgrades(
  server: Server,
  path: string | undefined,
  handler: UpgradeHandler,
): () => void {
  if (path !== undefined && !/^\/[^?#\s]*$/.test(path)) {
    throw invalid('path begins with a slash and has no query')
  }
  const { handlers, onUpgrade } = routesOf.get(server) ?? listenOn(server)
  if (handlers.has(path)) {
    throw invalid(`a broker is attached already to ${path ?? 'all paths'} of this server`)
  }
  handlers.set(path, handler)
  return () => {
    handlers.delete(path)
    if (handlers.size > 0) return
    server.off('upgrade', onUpgrade)
    routesOf.delete(server)
  }
}

function listenOn(server: Server): Routes {
  const handlers: Routes['handlers'] = new Map()
  const onUpgrade: UpgradeHandler = (request, raw, head) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const handler = handlers.get(path) ?? handlers.get(undefined)
    if (handler !== undefined) handler(request, raw, head)
    // Whoever else listens may want it; if nobody does, it would stay open for ever.
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
 * Answers an upgrade with a plain HTTP refusal, and then it is gone, even if its peer stays. The
 * body says why in a sentence, which clients in Node show; browsers keep it from their pages.
 */
export function refuse(raw: Duplex, { status, reason, isForNow }: RefusedUpgrade): void {
  const retry = isForNow ? 'Retry-After: 1\r\n' : ''
  const body = `${reason}\n`
  raw.on('error', () => raw.destroy())
  raw.once('finish', () => raw.destroy())
  raw.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `${retry}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
