/**
 * A program that uses the features of client and broker that need sockets or timers. The program
 * then closes all sessions and the broker. The process must then end by itself. A test starts this
 * program.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
// During a quiet start a broker grants nothing. This quiet start lasts 1 ms.
const broker = createBroker({ quietStart: 1 })
broker.attach(server, { path: '/locks' })
const { url } = await broker.listen({ port: 0 })
const { port } = server.address() as AddressInfo

// The broker listens on a server of its own, and is attached to the server of this program.
const own = await connect(url, { name: 'own', grace: 'lease' })
const attached = await connect(`ws://127.0.0.1:${port}/locks`, { lease: 300_000 })
const lock = await own.lock('k', { ttl: 60_000 })
const refreshing = lock.autoRefresh({ interval: 10_000, timeout: 5_000 })
const waiting = attached.lock('k', { timeout: 60_000 })
attached.watch('k', () => {})
await attached.stats()
await lock.unlock()
await refreshing
await (await waiting).unlock()
await own.lock('left held', { ttl: 60_000 })

// The session `own` closes while the broker runs, and `attached` after the broker has closed.
await own.close()
await broker.close({ drain: 100 })
await attached.close()
server.close()
server.closeAllConnections()
process.stdout.write('closed\n')
