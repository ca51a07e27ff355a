/** Ports for programs that cannot choose one themselves, or have to come back on the same one. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** One of this machine that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
