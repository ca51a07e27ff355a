/**
 * The broker's own HTTP server: there for the upgrade, and to say so to whoever asks otherwise.
 */
import cluster from 'node:cluster'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { HoldfastError } from '@holdfast/shared'
import { invalid, type TlsFiles } from '../config/settings.js'
import type { Log } from '../log/log.js'
import type { RefusedUpgrade } from './upgradePolicy.js'
import { refuse } from './upgradeRouting.js'

/** Where to listen. */
export interface ListenOptions {
  /** 0 for any that is free. Default 7420. */
  readonly port?: number | undefined
  /** An address of this machine, or a name of one. Default 127.0.0.1. */
  readonly host?: string | undefined
}

/** Where a broker listens. */
export interface Listening {
  readonly port: number
  readonly host: string
  /** For `connect`. */
  readonly url: string
}

/** Limits before the upgrade, where `ws` and the hello timeout do not reach yet. */
const headMs = 5_000
/** As Node's own: a browser sends the cookies of everything that is served on the same host. */
const headBytes = 16 * 1024

/** What is connected by TLS: until its handshake is done it is in no list of Node's. */
const socketsOf = new WeakMap<Server, Set<Duplex>>()

/**
 * @param answers Answers a request, or leaves it to be told that this is a broker.
 * @throws {HoldfastError} `INVALID_OPTION` for a certificate or key that is none.
 */
export function createHttpServer(
  tls: TlsFiles | undefined,
  answers: (request: IncomingMessage, response: ServerResponse) => boolean,
): Server {
  const options = {
    headersTimeout: headMs,
    requestTimeout: headMs,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: headBytes,
  }
  const answer: RequestListener = (request, response) => {
    if (answers(request, response)) return
    const body = 'This is a Holdfast broker: connect with a WebSocket.\n'
    response.writeHead(426, {
      'content-type': 'text/plain; charset=utf-8',
      connection: 'close',
      upgrade: 'websocket',
    })
    response.end(body)
  }
  if (tls === undefined) return refusing(createServer(options, answer))
  try {
    const secure = { ...tls, minVersion: 'TLSv1.2', handshakeTimeout: headMs } as const
    const server = createTlsServer({ ...options, ...secure }, answer)
    const sockets = new Set<Duplex>()
    socketsOf.set(server, sockets)
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    return refusing(server)
  } catch (cause) {
    throw new HoldfastError(
      'INVALID_OPTION',
      'The certificate and key of tls cannot be used: are they PEM, and of each other?',
      { cause },
    )
  }
}

/** What a request is told that cannot be read, by the code of Node's parser. */
const unreadable: Readonly<Record<string, RefusedUpgrade>> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    reason: `The headers have more than ${headBytes} bytes: send fewer cookies, or a shorter token`,
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: '408 Request Timeout',
    reason: `The request did not arrive within ${headMs} ms`,
  },
}
const notHttp: RefusedUpgrade = {
  status: '400 Bad Request',
  reason: 'The request is not proper HTTP',
}

/** Has a server say why it refuses what it cannot read; Node sends a status and no word. */
function refusing(server: Server): Server {
  return server.on('clientError', (error: NodeJS.ErrnoException, raw: Duplex) => {
    if (error.code === 'ECONNRESET' || !raw.writable) raw.destroy()
    else refuse(raw, unreadable[error.code ?? ''] ?? notHttp)
  })
}

/** How brokers in several workers can go together; the end of two sentences. */
const forWorkers =
  'run the broker in one process, or give the brokers of all workers a shared log (etcdLog)'
const workerHasIt = `something else is using the port, perhaps another worker: ${forWorkers}`

/** What keeps a server from listening, by the code of the system. */
const whyNot: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else is using the port',
  EACCES: 'this user may not use the port',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
}

/**
 * Resolves once the server listens; rejects with `UNAVAILABLE` if it cannot.
 *
 * @param isShared Whether the workers of a `node:cluster` may share the port. Brokers that know
 *   nothing of each other must not: each would grant the same locks.
 */
export async function listen(
  server: Server,
  { port, host, isShared }: Required<ListenOptions> & { readonly isShared: boolean },
  scheme: string,
): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const inCluster = cluster.isWorker && cause.code === 'EADDRINUSE'
      const why = inCluster ? workerHasIt : (whyNot[cause.code ?? ''] ?? cause.message)
      reject(
        new HoldfastError('UNAVAILABLE', `Cannot listen on ${host}:${port}: ${why}.`, { cause }),
      )
    }
    server.once('error', fail)
    server.listen({ port, host, exclusive: !isShared }, () => {
      server.off('error', fail)
      resolve()
    })
  })
  const { address, family, port: listening } = server.address() as AddressInfo
  const name = family === 'IPv6' ? `[${address}]` : address
  return { port: listening, host: address, url: `${scheme}://${name}:${listening}` }
}

/** Resolves once the server has let go of its port. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}

/** Cuts whatever is connected still. */
export function cutAll(server: Server): void {
  server.closeAllConnections()
  for (const socket of socketsOf.get(server) ?? []) socket.destroy()
}

/** @throws {HoldfastError} `INVALID_OPTION` for a port or host that cannot be. */
export function checkListenOptions(port: unknown, host: unknown): void {
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535) {
    throw invalid('port is an integer from 0 to 65535')
  }
  if (typeof host !== 'string' || host === '') throw invalid('host is an address or a host name')
}

/**
 * The workers of a `node:cluster`, such as those of PM2, share the ports of their servers, so a
 * client may come to any of them. With a log in memory each would grant the same locks.
 *
 * @throws {HoldfastError} `INVALID_OPTION` for what has no upgrades, and in a worker with such a
 *   log.
 */
export function checkServer(server: unknown, log: Log): void {
  const isServer = typeof server === 'object' && server !== null && 'listen' in server
  if (!isServer) throw invalid('attach takes a server of node:http or node:https')
  // A journal lets one of them begin, and no other.
  if (!cluster.isWorker || log.membership !== undefined || log.journal !== undefined) return
  throw invalid(
    'attach in a worker of node:cluster needs a log that outlives it, because every worker with ' +
      `a log in memory would grant the same locks: ${forWorkers}`,
  )
}
