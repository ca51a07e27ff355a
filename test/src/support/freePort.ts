/**
 * Finds free ports for programs that cannot choose a port themselves, or that must use the same
 * port again.
 */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** Resolves with a port of this machine on which no server listens now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
