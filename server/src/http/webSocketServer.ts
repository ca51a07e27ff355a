/**
 * The one file of the broker that knows `ws`: accepts upgrades on an HTTP server and makes each
 * WebSocket a {@link Socket}.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { closeCodes, subprotocol } from '@holdfast/shared'
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { ByteCounters } from './byteCounters.js'
import { FrameReader } from './fastPath/frameReader.js'
import { plainTextFrame } from './fastPath/textFrame.js'
import type { Tarpit } from './tarpit.js'
import type { AcceptedUpgrade, CountedRefusal, UpgradePolicy } from './upgradePolicy.js'
import { refuse, routeUpgrades } from './upgradeRouting.js'

/** Bytes in a socket above which its emptying is worth a call. */
const drainBytes = 32 * 1024
/** How long a closing handshake may take, in ms: longer than the broker gives its connections. */
const closeTimeout = 1_500

export interface UpgradeOptions {
  /** Only upgrades of this path are ours; undefined for all that are nobody else's. */
  readonly path: string | undefined
  readonly upgradePolicy: UpgradePolicy
  readonly tarpit: Tarpit
  /** Whether a request is from a page that the broker serves itself. */
  readonly isOwnPage: (request: IncomingMessage) => boolean
  readonly connect: (socket: Socket) => SocketListener
  /** Longest frame of a client, in bytes. */
  readonly frameBytes: number
  readonly byteCounters: ByteCounters
  readonly refused: (refusal: CountedRefusal, request: IncomingMessage) => void
}

/** Serves WebSockets on an HTTP server; returns how to stop that. */
export function acceptUpgrades(server: Server, options: UpgradeOptions): () => void {
  const { path, upgradePolicy, tarpit, isOwnPage, connect, frameBytes, byteCounters, refused } =
    options
  const given: ServerOptions<typeof CountedSocket> & { readonly closeTimeout: number } = {
    WebSocket: CountedSocket,
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: frameBytes,
    // Nobody has a reason to send 64 KiB in more pieces than these.
    maxFragments: 16,
    maxBufferedChunks: 4096,
    // Of who offers no subprotocol nobody else knows.
    closeTimeout,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  }
  const sockets = new WebSocketServer(given)
  return routeUpgrades(server, path, (request, raw, head) => {
    const admitted = upgradePolicy.admit(request, isOwnPage(request))
    if ('status' in admitted) {
      refused(admitted, request)
      if (admitted.isForNow) tarpit.keep(raw, admitted)
      else refuse(raw, admitted)
      return
    }
    sockets.handleUpgrade(request, raw, head, (websocket) => {
      const socket = new WsSocket(websocket, request, admitted, byteCounters)
      serve(websocket, socket, connect)
      FrameReader.attach(request.socket, socket, frameBytes)
    })
  })
}

function serve(
  websocket: CountedSocket,
  socket: WsSocket,
  connect: (socket: Socket) => SocketListener,
): void {
  websocket.attendant = socket
  // First of all: an error without a listener would take the whole process down.
  websocket.on('error', onError)
  websocket.on('close', onClose)
  if (websocket.protocol !== subprotocol) {
    websocket.close(closeCodes.subprotocol.code, closeCodes.subprotocol.reason)
    return
  }
  socket.listener = connect(socket)
  websocket.on('message', onMessage)
}

/** A WebSocket that knows whom to tell, so that all of them share the functions that tell. */
class CountedSocket extends WebSocket {
  attendant: WsSocket | undefined
}

/** `ws` is closing the socket by now, with a code of its own. */
function onError(this: WebSocket): void {
  ;(this as CountedSocket).attendant?.listener?.onFault()
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const { attendant } = this as CountedSocket
  if (isBinary) attendant?.listener?.onBinary()
  else attendant?.onFrame((data as Buffer).toString())
}

function onClose(this: WebSocket): void {
  ;(this as CountedSocket).attendant?.onClose()
}

class WsSocket implements Socket {
  readonly #websocket: WebSocket
  /** What `websocket` writes to. */
  readonly #raw: TcpSocket
  readonly #byteCounters: ByteCounters
  readonly remoteAddress: string | undefined
  readonly origin: string | undefined
  readonly token: string | undefined
  readonly isSecure: boolean
  listener: SocketListener | undefined

  constructor(
    websocket: WebSocket,
    { headers, socket }: IncomingMessage,
    admitted: AcceptedUpgrade,
    traffic: ByteCounters,
  ) {
    this.#websocket = websocket
    this.#raw = socket
    this.remoteAddress = admitted.address
    this.origin = headers.origin
    this.token = admitted.token
    this.isSecure = admitted.secure
    this.#byteCounters = traffic
    traffic.follow(socket)
  }

  get bufferedBytes(): number {
    return this.#websocket.bufferedAmount
  }

  send(frame: string): void {
    const bytes = plainTextFrame(frame)
    const length = bytes?.length ?? frame.length * 3
    const isFull = this.#websocket.bufferedAmount + length > drainBytes
    const onSent = isFull ? () => this.#onSent() : undefined
    if (bytes === undefined) this.#websocket.send(frame, onSent)
    else if (this.#websocket.readyState === this.#websocket.OPEN) {
      this.#raw.write(bytes, 'latin1', onSent)
    }
  }

  pause(): void {
    this.#websocket.pause()
  }

  resume(): void {
    this.#websocket.resume()
  }

  close(code: number, reason: string): void {
    this.#websocket.close(code, reason)
  }

  terminate(): void {
    this.#websocket.terminate()
  }

  onFrame(text: string): void {
    this.listener?.onFrame(text)
  }

  onClose(): void {
    this.#byteCounters.leave(this.#raw)
    this.listener?.onClose()
  }

  #onSent(): void {
    if (this.#websocket.bufferedAmount <= drainBytes) this.listener?.onDrain()
  }
}
