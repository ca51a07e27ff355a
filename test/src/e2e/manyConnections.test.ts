/**
 * Tests many clients that connect at the same time, as after a restart of the broker. The
 * operating system completes a TCP connection before the broker accepts it, and keeps such
 * connections in a queue. If the queue has no room, the system drops the connection. The client
 * then tries again only a second later.
 */
import { existsSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { createBroker } from '@holdfast/server'
import { expect } from 'chai'

/** Linux lists here all TCP sockets. Other systems have no such file. */
const socketList = '/proc/net/tcp'
/** The state of a listening socket in the list. */
const listenState = '0A'

/** How many connections to a listening port wait to be accepted. */
function waitingConnections(port: number): number {
  // The list has 127.0.0.1 in hexadecimal, with the bytes in reverse order.
  const localAddress = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const line of readFileSync(socketList, 'utf8').split('\n')) {
    const [, local, , state, queues = ''] = line.trim().split(/\s+/)
    // `queues` has the form `transmit:receive`. The `receive` of a listening socket is the number
    // of its waiting connections.
    if (local === localAddress && state === listenState) {
      return Number.parseInt(queues.split(':')[1]!, 16)
    }
  }
  throw new Error(`No socket listens on port ${port}`)
}

describe('many clients at the same time', () => {
  it('wait in the queue of the system until the broker accepts them', async function () {
    if (!existsSync(socketList)) return this.skip()
    // More than 511, Node's default for the length of the queue.
    const clientCount = 700
    const broker = createBroker()
    const { port } = await broker.listen({ port: 0, host: '127.0.0.1' })
    const sockets: Socket[] = Array.from({ length: clientCount }, () => connect(port, '127.0.0.1'))
    for (const socket of sockets) socket.on('error', () => {})
    // Node starts to connect in the next tick, and the system then completes these connections
    // immediately. After that tick, all connections are in the queue, and the broker has accepted
    // none.
    await new Promise<void>((resolve) => process.nextTick(resolve))
    const waiting = waitingConnections(port)
    for (const socket of sockets) socket.destroy()
    await broker.close()
    expect(waiting).to.equal(clientCount)
  })
})
