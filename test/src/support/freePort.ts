/**
 * Finds free ports for programs that cannot choose a port themselves, or that must use the same
 * port again. If a socket names no port, the operating system chooses one from 32,768 or higher.
 * The ports of this file are lower, so no such socket takes one before its program listens. Test
 * processes that run at the same time have different ports, because each process reserves blocks.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

const firstPort = 20_000
/** A process reserves a block by listening on its first port. The others are for programs. */
const blockSize = 100
const blockCount = 120

/** The next port to try. If it equals `blockEnd`, this process has no block with unused ports. */
let nextPort = 0
/** The port after the last port of the block. */
let blockEnd = 0
/**
 * Settles when the newest call of `reserveBlock` has ended. Of concurrent calls, only the first
 * reserves a block; the others use ports of that block.
 */
let reserving: Promise<void> = Promise.resolve()

/** Resolves with a port on which no server listens. No later call returns the same port. */
export async function freePort(): Promise<number> {
  for (;;) {
    if (nextPort === blockEnd) {
      reserving = reserving.then(reserveBlock)
      await reserving
      continue
    }
    const port = nextPort++
    const server = await listenOn(port)
    if (server === undefined) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Reserves a block until this process ends, unless a concurrent call has just reserved one. */
async function reserveBlock(): Promise<void> {
  if (nextPort < blockEnd) return
  for (let i = 0; i < blockCount; i++) {
    // Processes begin at different blocks, so that they try few blocks of other processes.
    const start = firstPort + ((process.pid + i) % blockCount) * blockSize
    const mark = await listenOn(start)
    if (mark === undefined) continue
    mark.unref()
    nextPort = start + 1
    blockEnd = start + blockSize
    return
  }
  throw new Error(`All ports from ${firstPort} are reserved by other processes`)
}

/** Resolves with a server on this port; undefined if the port is in use. */
async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return server
  } catch {
    return undefined
  }
}
