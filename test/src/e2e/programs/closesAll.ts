/**
 * A program that a test starts. The program uses each feature that opens a socket or starts a
 * timer, and then closes all sessions and the broker. Then the process must end by itself.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from '@holdfast/client'
import { createBroker } from '@holdfast/server'

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
// Starts the timer of a quiet start, in which the broker grants nothing for 1 ms.
const broker = createBroker({ quietStart: 1 })
broker.attach(server, { path: '/locks' })
const { url } = await broker.listen({ port: 0 })
const { port } = server.address() as AddressInfo

// The broker has a server of its own, and is also attached to the server of this program.
// The times are long, so that a timer that is not cleared keeps the process alive.
const ownServerSession = await connect(url, { name: 'own', grace: 'lease' })
const attachedSession = await connect(`ws://127.0.0.1:${port}/locks`, { lease: 300_000 })
const lock = await ownServerSession.lock('k', { ttl: 60_000 })
const refreshing = lock.autoRefresh({ interval: 10_000, timeout: 5_000 })
const waiting = attachedSession.lock('k', { timeout: 60_000 })
attachedSession.watch('k', () => {})
await attachedSession.stats()
await lock.unlock()
// The unlock ends the refreshing.
await refreshing
await (await waiting).unlock()
await ownServerSession.lock('left held', { ttl: 60_000 })

// One session closes before the broker, the other after the broker.
await ownServerSession.close()
await broker.close({ drain: 100 })
await attachedSession.close()
server.close()
server.closeAllConnections()
process.stdout.write('closed\n')
