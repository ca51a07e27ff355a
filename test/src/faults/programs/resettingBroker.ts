/**
 * A program that runs a broker for a test, and sends the port of the broker to the test. The
 * program answers the messages `count` and `reset` with counts of locks and requests. On `reset`,
 * the program first resets every connection of the broker.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createBroker } from '@holdfast/server'

const server = createServer()
const sockets = new Set<Socket>()
server.on('connection', (socket) => {
  sockets.add(socket)
  socket.once('close', () => sockets.delete(socket))
})
// After a reset, all clients of the test connect at the same time. The backlog is how many of these
// connections may wait until this process accepts them.
server.listen({ port: 0, host: '127.0.0.1', backlog: 10_000 })
await once(server, 'listening')
const broker = createBroker()
broker.attach(server)

process.on('message', (command: 'reset' | 'count') => {
  if (command === 'reset') for (const socket of sockets) socket.resetAndDestroy()
  const { heldCount, waitingCount } = broker.query({ limit: 1 })
  const { totalLocks, failedLocks } = broker.stats()
  process.send!({ heldCount, waitingCount, totalLocks, failedLocks })
})
process.on('disconnect', () => process.exit(0))
process.send!((server.address() as AddressInfo).port)
