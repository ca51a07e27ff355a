/**
 * Creates, starts and stops the broker's own HTTP servers, and checks servers that the embedding
 * program passes to `attach`. A plain request that the broker cannot answer gets status 426, which
 * tells the client to use a WebSocket.
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
import type { BrokerLimits } from '../config/limits.js'
import { invalidOption, type TlsFiles } from '../config/settings.js'
import type { Log } from '../log/log.js'
import { limitRequestSockets } from './requestSockets.js'
import type { RefusedUpgrade } from './upgradePolicy.js'
import { refuse } from './upgradeRouting.js'

/** The options of `broker.listen`. */
export interface ListenOptions {
  /** The port; 0 for any free port. Default 7420. */
  readonly port?: number | undefined
  /** An address of this machine, or a name of such an address. Default 127.0.0.1. */
  readonly host?: string | undefined
}

/** The address at which a broker listens. */
export interface Listening {
  readonly port: number
  readonly host: string
  /** The URL for the client's `connect`. */
  readonly url: string
}

/**
 * How long a request or a TLS handshake may take, in ms. After the upgrade to a WebSocket,
 * the limit `helloMs` applies instead.
 */
const requestMs = 5_000
/**
 * The highest number of bytes in the headers of a request: the default of Node. A lower limit would
 * refuse browsers that send many cookies of other servers on the same host.
 */
const maxHeaderBytes = 16 * 1024

/**
 * All sockets of each TLS server. The map is necessary, because Node's `closeAllConnections` omits
 * a socket until its TLS handshake is over.
 */
const tlsSocketsOf = new WeakMap<Server, Set<Duplex>>()

/**
 * Creates a server that does not listen yet.
 *
 * @param limits Bounds the sockets that have not become a WebSocket.
 * @param answer Answers a plain HTTP request, or returns false. Then the server answers with 426.
 * @throws {HoldfastError} `INVALID_OPTION` for an unusable certificate or key.
 */
export function createHttpServer(
  tls: TlsFiles | undefined,
  limits: BrokerLimits,
  answer: (request: IncomingMessage, response: ServerResponse) => boolean,
): Server {
  const options = {
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    // How often Node checks these two timeouts. The default of Node, 30 s, would be too long.
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: maxHeaderBytes,
  }
  const onRequest: RequestListener = (request, response) => {
    if (answer(request, response)) return
    const body = 'This is a Holdfast broker: connect with a WebSocket.\n'
    response.writeHead(426, {
      'content-type': 'text/plain; charset=utf-8',
      connection: 'close',
      upgrade: 'websocket',
    })
    response.end(body)
  }
  if (tls === undefined) {
    const server = createServer(options, onRequest)
    limitRequestSockets(server, limits)
    return explainClientErrors(server)
  }
  try {
    const tlsOptions = { ...tls, minVersion: 'TLSv1.2', handshakeTimeout: requestMs } as const
    const server = createTlsServer({ ...options, ...tlsOptions }, onRequest)
    const sockets = new Set<Duplex>()
    tlsSocketsOf.set(server, sockets)
    limitRequestSockets(server, limits)
    server.on('connection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    return explainClientErrors(server)
  } catch (cause) {
    throw new HoldfastError(
      'INVALID_OPTION',
      'The certificate and key of `tls` cannot be used: check that both are PEM and belong together',
      { cause },
    )
  }
}

/** The answers to requests that Node cannot parse. The keys are the codes of Node's errors. */
const answersByErrorCode: Readonly<Record<string, RefusedUpgrade>> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    reason: `The headers have more than ${maxHeaderBytes} bytes: send fewer cookies, or a shorter token`,
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: '408 Request Timeout',
    reason: `The request did not arrive within ${requestMs} ms`,
  },
}
const notHttpAnswer: RefusedUpgrade = {
  status: '400 Bad Request',
  reason: 'The request is not proper HTTP',
}

/** Adds a reason to the answer to a request that cannot be parsed; Node sends only a status. */
function explainClientErrors(server: Server): Server {
  return server.on('clientError', (error: NodeJS.ErrnoException, raw: Duplex) => {
    if (error.code === 'ECONNRESET' || !raw.writable) raw.destroy()
    else refuse(raw, answersByErrorCode[error.code ?? ''] ?? notHttpAnswer)
  })
}

/** The end of two error messages: how to run brokers in several workers of `node:cluster`. */
const fixForWorkers =
  'run the broker in one process, or give the brokers of all workers a shared log (etcdLog)'
const portUsedByWorker = `another program is using the port, perhaps another worker: ${fixForWorkers}`

/** Why a server cannot listen. The keys are the codes of the system's errors. */
const listenErrors: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'another program is using the port, perhaps another Holdfast broker: stop that program, or set ' +
    '`port` to another port',
  EACCES: 'this user may not use the port: set `port` to a port above 1023',
  EADDRNOTAVAIL: 'this machine has no such address: set `host` to an address of this machine',
  ENOTFOUND: 'there is no such host: set `host` to an address of this machine',
}

/**
 * How many TCP connections may wait until the broker accepts them; the system may allow fewer. With
 * Node's default of 511, the system drops most connections of ten thousand clients that come back
 * after a restart, and these clients try again only after 1 s, 3 s and 7 s.
 */
const listenBacklog = 16_384

/**
 * Makes the server listen. Rejects with `UNAVAILABLE` if the server cannot listen.
 *
 * @param canSharePort Whether the workers of a `node:cluster` may share the port. Brokers without a
 *   shared command log (the record of all changes of locks) must not share a port, because each
 *   would grant the same locks.
 * @param scheme The scheme of the URL that is returned.
 */
export async function listen(
  server: Server,
  { port, host, canSharePort }: Required<ListenOptions> & { readonly canSharePort: boolean },
  scheme: string,
): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const isUsedInCluster = cluster.isWorker && cause.code === 'EADDRINUSE'
      const reason = isUsedInCluster
        ? portUsedByWorker
        : (listenErrors[cause.code ?? ''] ?? cause.message)
      const message = `Cannot listen on ${host}:${port}: ${reason}`
      reject(new HoldfastError('UNAVAILABLE', message, { cause }))
    }
    server.once('error', fail)
    server.listen({ port, host, exclusive: !canSharePort, backlog: listenBacklog }, () => {
      server.off('error', fail)
      resolve()
    })
  })
  const { address, family, port: boundPort } = server.address() as AddressInfo
  const urlHost = family === 'IPv6' ? `[${address}]` : address
  return { port: boundPort, host: address, url: `${scheme}://${urlHost}:${boundPort}` }
}

/** Makes the server stop listening. Resolves when all its connections have ended. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}

/** Terminates all connections of the server, including connections in a TLS handshake. */
export function terminateAll(server: Server): void {
  server.closeAllConnections()
  for (const socket of tlsSocketsOf.get(server) ?? []) socket.destroy()
}

/** @throws {HoldfastError} `INVALID_OPTION` for an invalid port or host. */
export function checkListenOptions(port: unknown, host: unknown): void {
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535) {
    throw invalidOption('port must be an integer from 0 to 65535')
  }
  if (typeof host !== 'string' || host === '') {
    throw invalidOption('host must be an address or a host name')
  }
}

/**
 * Checks the server and the log for `attach`. The workers of a `node:cluster`, such as those of
 * PM2, share the ports of their servers, so a client may connect to any worker. If each worker had
 * a log in memory, each worker would grant the same locks.
 *
 * @throws {HoldfastError} `INVALID_OPTION` if `server` is not an HTTP server, or if a worker has a
 *   log in memory.
 */
export function checkServer(server: unknown, log: Log): void {
  const isServer = typeof server === 'object' && server !== null && 'listen' in server
  if (!isServer) throw invalidOption('attach takes a server of node:http or node:https')
  // Only a shared log has a membership. A journal itself refuses a second broker.
  if (!cluster.isWorker || log.membership !== undefined || log.journal !== undefined) return
  throw invalidOption(
    'attach in a worker of node:cluster does not work with a log in memory, because every worker ' +
      `would grant the same locks: ${fixForWorkers}`,
  )
}
