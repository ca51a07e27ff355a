/**
 * The references, in a process of their own: a WebSocket server on `ws` in the simplest code, with
 * one `send` for each message. The path selects its behaviour:
 *
 * - `/echo`: sends every message back. Two messages count as a pair.
 * - `/chain`: a hand-off without locks. A connection that sends `lock` joins the queue; when a
 *   connection sends `unlock` or closes, the server pushes a ready-made grant to the next one.
 * - `/ring`: for every message, pushes a ready-made grant to the next connection in the ring.
 * - `/yes`: grants every request at once. The exclusion check must detect this server.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { subprotocol } from '@holdfast/shared'
import { type WebSocket, WebSocketServer } from 'ws'

const terms = '"resumed":false,"lease":15000,"grace":0,"at":0'
const welcome = `{"type":"welcome","session":"${'x'.repeat(21)}",${terms}}`
const grantOfFirst = `{"type":"granted","id":1,"fence":${Date.now() * 1024}}`
const unlockOfSecond = '{"type":"unlocked","id":2}'

function echo(socket: WebSocket): void {
  socket.on('message', (data) => socket.send(data, { binary: false }))
}

const line: WebSocket[] = []
let served = 0

function serveNext(): void {
  line[served++]?.send(grantOfFirst)
}

function chain(socket: WebSocket): void {
  socket.on('message', (data: Buffer) => {
    // {"type":"hello" or {"type":"lock" or {"type":"unlock"
    switch (data[9]) {
      case 0x68:
        socket.send(welcome)
        break
      case 0x6c:
        line.push(socket)
        if (line.length === 1) serveNext()
        break
      case 0x75:
        serveNext()
        socket.send(unlockOfSecond)
        break
    }
  })
  socket.on('close', () => {
    if (line[served - 1] === socket) serveNext()
    if (served >= line.length) served = line.length = 0
  })
}

const ring: WebSocket[] = []

function passOn(socket: WebSocket): void {
  const next = ring.push(socket)
  socket.on('message', () => {
    ;(ring[next] ?? ring[0])?.send(grantOfFirst)
    socket.send(unlockOfSecond)
  })
}

function sayYes(socket: WebSocket): void {
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
  '/ring': passOn,
  '/yes': sayYes,
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
