/**
 * The broker's own HTTP server: there for the upgrade, and to say so to whoever asks otherwise.
 */
import { createServer, type Server } from 'node:http'

/** Limits before the upgrade, where `ws` and the hello timeout do not reach yet. */
const headMs = 5_000
const headBytes = 8 * 1024

export function createHttpServer(): Server {
  const options = {
    headersTimeout: headMs,
    requestTimeout: headMs,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: headBytes,
  }
  return createServer(options, (_request, response) => {
    const body = 'This is a Holdfast broker: connect with a WebSocket.\n'
    response.writeHead(426, {
      'content-type': 'text/plain; charset=utf-8',
      connection: 'close',
      upgrade: 'websocket',
    })
    response.end(body)
  })
}

/** Resolves once the server listens; rejects if it cannot. */
export function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Resolves once the server has let go of its port. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}
