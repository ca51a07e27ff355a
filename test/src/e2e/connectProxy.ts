/** An HTTP proxy for tests, which opens tunnels by the method CONNECT and records the requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Stage } from './stage.js'

export interface ConnectProxy {
  readonly url: string
  /** "host:port" of each requested tunnel, in order. */
  readonly requested: readonly string[]
  /** The header `proxy-authorization` of each request. */
  readonly credentials: readonly (string | undefined)[]
}

/**
 * Starts a proxy.
 *
 * @param options.answer The HTTP response with which the proxy refuses all tunnels. Default: the
 * proxy opens the tunnels.
 * @param options.silent Whether the proxy accepts connections but never answers. Default false.
 */
export async function connectProxy(
  stage: Stage,
  { answer, silent = false }: { answer?: string; silent?: boolean } = {},
): Promise<ConnectProxy> {
  const requested: string[] = []
  const credentials: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const track = (socket: Socket) => {
    sockets.add(socket.on('error', () => socket.destroy()))
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer().on('connection', track)
  server.on('connect', (request, socket: Socket) => {
    requested.push(request.url!)
    credentials.push(request.headers['proxy-authorization'])
    if (silent) return
    if (answer !== undefined) {
      socket.end(answer)
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
  stage.onClear(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, requested, credentials }
}
