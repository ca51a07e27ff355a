/** An HTTP proxy that opens tunnels by CONNECT and records the requests. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Stage } from './stage.js'

export interface ConnectProxy {
  readonly url: string
  /** "host:port" of each requested tunnel, in order. */
  readonly requested: readonly string[]
  /** The user name and password of each request. */
  readonly credentials: readonly (string | undefined)[]
}

/** @param answer Refuses all tunnels with this answer; `silent` never answers. */
export async function connectProxy(
  stage: Stage,
  { answer, silent = false }: { answer?: string; silent?: boolean } = {},
): Promise<ConnectProxy> {
  const requested: string[] = []
  const credentials: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket.on('error', () => socket.destroy()))
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer().on('connection', keep)
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
    keep(target)
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
