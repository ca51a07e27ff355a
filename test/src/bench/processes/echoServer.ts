/**
 * The server with which the bench compares the broker: a simple WebSocket server on the package
 * `ws`, in a process of its own. Unlike the broker, the server never joins messages into one frame.
 * The path of the URL selects the behaviour.
 *
 * - `/echo`: sends every message back. The bench counts two round trips as one pair,
 *   like a lock and its unlock.
 * - `/chain`: the frames of a hand-off, without locks. A connection that sends `lock` joins the
 *   queue, and the first gets a grant at once. When a connection sends `unlock`, or the connection
 *   with the newest grant closes, the next one gets a grant. Every grant is the same constant text.
 * - `/ring`: for every message, sends the constant grant to the next connection in the ring.
 * - `/yes`: grants every request immediately. The bench's check that no key has two holders must
 *   find violations here.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { subprotocol } from '@holdfast/shared'
import { type WebSocket, WebSocketServer } from 'ws'

/** The welcome of every session. Its session id has as many characters as an id of the broker. */
const welcomeFields = '"resumed":false,"lease":15000,"grace":0,"at":0'
const welcome = `{"type":"welcome","session":"${'x'.repeat(21)}",${welcomeFields}}`
/**
 * Constant answers: the grant for the request id 1, and the confirmation of an unlock with the
 * request id 2. The fence (the number of a grant) has as many digits as a fence of the broker.
 */
const grantOfId1 = `{"type":"granted","id":1,"fence":${Date.now() * 1024}}`
const unlockOfId2 = '{"type":"unlocked","id":2}'

function echo(socket: WebSocket): void {
  socket.on('message', (data) => socket.send(data, { binary: false }))
}

/** The connections of `/chain` in the order of their requests. */
const queue: WebSocket[] = []
/** The index in the queue of the connection that gets the next grant. */
let nextToGrant = 0

/** Sends the grant to the next connection in the queue of `/chain`. */
function grantNext(): void {
  queue[nextToGrant++]?.send(grantOfId1)
}

/** Serves a connection at the path `/chain`. */
function chain(socket: WebSocket): void {
  socket.on('message', (data: Buffer) => {
    // The byte at index 9 is the first letter of the type: h of hello, l of lock or u of unlock.
    switch (data[9]) {
      case 0x68:
        socket.send(welcome)
        break
      case 0x6c:
        queue.push(socket)
        if (queue.length === 1) grantNext()
        break
      case 0x75:
        grantNext()
        socket.send(unlockOfId2)
        break
    }
  })
  socket.on('close', () => {
    // The connection with the newest grant closes without an unlock.
    if (queue[nextToGrant - 1] === socket) grantNext()
    // At the first close after all connections got a grant, empties the queue for the next load.
    if (nextToGrant >= queue.length) nextToGrant = queue.length = 0
  })
}

/** The connections of `/ring`. */
const ring: WebSocket[] = []

/** Serves a connection at the path `/ring`. */
function joinRing(socket: WebSocket): void {
  // `push` returns the new length, which is the index of the connection that joins next.
  const nextIndex = ring.push(socket)
  socket.on('message', () => {
    ;(ring[nextIndex] ?? ring[0])?.send(grantOfId1)
    socket.send(unlockOfId2)
  })
}

/** Serves a connection at the path `/yes`. */
function grantAll(socket: WebSocket): void {
  let fence = 0
  socket.on('message', (data: Buffer) => {
    const parsed = JSON.parse(data.toString()) as unknown
    for (const { type, id } of (Array.isArray(parsed) ? parsed : [parsed]) as {
      type: string
      id: number
    }[]) {
      if (type === 'hello') socket.send(welcome)
      if (type === 'lock') socket.send(`{"type":"granted","id":${id},"fence":${++fence}}`)
      if (type === 'unlock') socket.send(`{"type":"unlocked","id":${id}}`)
      if (type === 'bye') socket.close(1000)
    }
  })
}

const behaviours: Readonly<Record<string, (socket: WebSocket) => void>> = {
  '/echo': echo,
  '/chain': chain,
  '/ring': joinRing,
  '/yes': grantAll,
}

const server = createServer()
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: false,
  clientTracking: false,
  handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
})
sockets.on('connection', (socket, request) => {
  socket.on('error', () => {})
  behaviours[request.url ?? '']?.(socket)
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(`echo is listening on ws://127.0.0.1:${port}\n`)
})
