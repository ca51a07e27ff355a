/**
 * The one file of the broker that knows `ws`: accepts upgrades on an HTTP server and makes each
 * WebSocket a {@link Socket}.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeCodes, maxFrameBytes, subprotocol } from '@holdfast/shared'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { Doorkeeper } from './doorkeeper.js'

/** Bytes in a socket above which its emptying is worth a call. */
const drainBytes = 32 * 1024

export interface UpgradeOptions {
  /** Only upgrades of this path are ours; undefined for all. */
  readonly path: string | undefined
  readonly doorkeeper: Doorkeeper
  readonly connect: (socket: Socket) => SocketListener
}

/** Serves WebSockets on an HTTP server; returns how to stop that. */
export function acceptUpgrades(server: Server, options: UpgradeOptions): () => void {
  const { path, doorkeeper, connect } = options
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxFrameBytes,
    // Nobody has a reason to send 64 KiB in more pieces than these.
    maxFragments: 16,
    maxBufferedChunks: 4096,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  })
  const onUpgrade = (request: IncomingMessage, raw: Duplex, head: Buffer): void => {
    if (path !== undefined && new URL(request.url ?? '/', 'ws://any').pathname !== path) return
    const refusal = doorkeeper.refusal(request)
    if (refusal !== undefined) {
      refuse(raw, refusal)
      return
    }
    sockets.handleUpgrade(request, raw, head, (websocket) => serve(websocket, request, connect))
  }
  server.on('upgrade', onUpgrade)
  return () => server.off('upgrade', onUpgrade)
}

function serve(
  websocket: WebSocket,
  request: IncomingMessage,
  connect: (socket: Socket) => SocketListener,
): void {
  // First of all: an error without a listener would take the whole process down. `ws` closes the
  // socket after it, which is all there is to do.
  websocket.on('error', () => {})
  if (websocket.protocol !== subprotocol) {
    websocket.close(closeCodes.subprotocol.code, closeCodes.subprotocol.reason)
    return
  }
  const socket = new WsSocket(websocket, request)
  const listener = connect(socket)
  socket.listener = listener
  websocket.on('message', (data: RawData, isBinary: boolean) => {
    if (isBinary) listener.onBinary()
    else listener.onFrame((data as Buffer).toString())
  })
  websocket.on('close', () => listener.onClose())
}

class WsSocket implements Socket {
  readonly #websocket: WebSocket
  readonly remoteAddress: string | undefined
  readonly origin: string | undefined
  listener: SocketListener | undefined

  constructor(websocket: WebSocket, request: IncomingMessage) {
    this.#websocket = websocket
    this.remoteAddress = request.socket.remoteAddress
    this.origin = request.headers.origin
  }

  get bufferedBytes(): number {
    return this.#websocket.bufferedAmount
  }

  send(frame: string): void {
    if (this.#websocket.bufferedAmount > drainBytes) this.#websocket.send(frame, this.#onSent)
    else this.#websocket.send(frame)
  }

  close(code: number, reason: string): void {
    this.#websocket.close(code, reason)
  }

  terminate(): void {
    this.#websocket.terminate()
  }

  readonly #onSent = (): void => {
    if (this.#websocket.bufferedAmount <= drainBytes) this.listener?.onDrain()
  }
}

/** Answers an upgrade with a plain HTTP refusal. */
function refuse(raw: Duplex, { status, reason }: { status: string; reason: string }): void {
  const body = `${reason}\n`
  raw.on('error', () => raw.destroy())
  raw.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
