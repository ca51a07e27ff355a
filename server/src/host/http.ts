/**
 * The broker's own HTTP server: there for the upgrade, and to say so to whoever asks otherwise.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { HoldfastError } from '@holdfast/shared'
import type { TlsFiles } from '../options.js'

/** Limits before the upgrade, where `ws` and the hello timeout do not reach yet. */
const headMs = 5_000
const headBytes = 8 * 1024

/** @throws {HoldfastError} `INVALID_OPTION` for a certificate or key that is none. */
export function createHttpServer(tls: TlsFiles | undefined): Server {
  const options = {
    headersTimeout: headMs,
    requestTimeout: headMs,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: headBytes,
  }
  const answer: RequestListener = (_request, response) => {
    const body = 'This is a Holdfast broker: connect with a WebSocket.\n'
    response.writeHead(426, {
      'content-type': 'text/plain; charset=utf-8',
      connection: 'close',
      upgrade: 'websocket',
    })
    response.end(body)
  }
  if (tls === undefined) return createServer(options, answer)
  try {
    return createTlsServer({ ...options, ...tls, minVersion: 'TLSv1.2' }, answer)
  } catch (cause) {
    throw new HoldfastError(
      'INVALID_OPTION',
      'The certificate and key of tls cannot be used: are they PEM, and of each other?',
      { cause },
    )
  }
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
