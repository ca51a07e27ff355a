/** An HTTP proxy for tests. It records each CONNECT request, and opens a tunnel for the request. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Stage } from './stage.js'

export interface ConnectProxy {
  readonly url: string
  /** "host:port" of each tunnel that a client requested, in order. */
  readonly requestedTunnels: readonly string[]
  /** The header `proxy-authorization` of each request. */
  readonly credentials: readonly (string | undefined)[]
}

/**
 * Starts a proxy.
 *
 * @param options.refusal The HTTP response with which the proxy refuses all tunnels. Default: the
 * proxy opens the tunnels.
 * @param options.silent Whether the proxy accepts connections but never answers. Default false.
 */
export async function connectProxy(
  stage: Stage,
  { refusal, silent = false }: { refusal?: string; silent?: boolean } = {},
): Promise<ConnectProxy> {
  const requestedTunnels: string[] = []
  const credentials: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const track = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer().on('connection', track)
  server.on('connect', (request, socket: Socket) => {
    requestedTunnels.push(request.url!)
    credentials.push(request.headers['proxy-authorization'])
    if (silent) return
    if (refusal !== undefined) {
      socket.end(refusal)
      return
    }
    const { hostname, port } = new URL(`http://${request.url}`)
    const target = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      target.pipe(socket).pipe(target)
    })
    track(target)
    socket.on('close', () => target.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stage.onCleanUp(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, requestedTunnels, credentials }
}
