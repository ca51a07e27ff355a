/**
 * The one file of the broker that knows `ws`: accepts upgrades on an HTTP server and makes each
 * WebSocket a {@link Socket}.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { closeCodes, subprotocol } from '@holdfast/shared'
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import { nodeEnvironment } from '../platform/environment.js'
import type { ByteCounters } from './byteCounters.js'
import { FrameReader, plainTextFrame } from './fastPath/index.js'
import type { Tarpit } from './tarpit.js'
import type { AcceptedUpgrade, CountedRefusal, UpgradePolicy } from './upgradePolicy.js'
import { refuse, routeUpgrades } from './upgradeRouting.js'

const { endOfTurn } = nodeEnvironment

/** Unsent bytes above which the socket reports that it has emptied, and answers no ping. */
const drainBytes = 32 * 1024
/** Longest header of a frame from the broker, in bytes. */
const headerBytes = 10
/** Most fragments of a message; a client needs no more for 64 KiB. */
const maxFragments = 16
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
    maxFragments,
    // WsSocket answers pings: only the newest one of a turn.
    autoPong: false,
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
      const frameLimits = { maxBytes: frameBytes, maxFragments }
      socket.reader = FrameReader.attach(websocket, request.socket, socket, frameLimits)
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
  websocket.on('ping', onPing)
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
  attendant?.reader?.onMessage()
  if (isBinary) attendant?.listener?.onBinary()
  else attendant?.onFrame((data as Buffer).toString())
}

function onPing(this: WebSocket, data: Buffer): void {
  ;(this as CountedSocket).attendant?.onPing(data)
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
  reader: FrameReader | undefined
  #isPaused = false
  #willResume = false
  #hasClosed = false
  /** Data of the newest ping that is not answered yet. */
  #ping: Buffer | undefined

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

  get unreadBytes(): number {
    return this.reader?.unreadBytes ?? 0
  }

  send(frame: string): void {
    const bytes = plainTextFrame(frame)
    const onSent = this.#onSentOf(bytes?.length ?? frame.length * 3 + headerBytes)
    if (bytes === undefined) this.#websocket.send(frame, onSent)
    else if (this.#isOpen) this.#raw.write(bytes, 'latin1', onSent)
  }

  pause(): void {
    this.#isPaused = true
    if (this.#hasClosed) this.#raw.pause()
    else this.#websocket.pause()
    this.reader?.onPause()
  }

  /** In a later turn, so that the other connections are read before. */
  resume(): void {
    this.#isPaused = false
    if (this.#willResume) return
    this.#willResume = true
    endOfTurn(() => this.#resumeNow())
  }

  #resumeNow(): void {
    this.#willResume = false
    if (this.#isPaused) return
    if (this.#hasClosed) {
      this.#raw.resume()
      this.#tellClose()
    } else this.#websocket.resume()
  }

  close(code: number, reason: string): void {
    if (this.#hasClosed) this.terminate()
    else this.#websocket.close(code, reason)
  }

  terminate(): void {
    this.reader?.drop()
    this.#websocket.terminate()
    if (this.#hasClosed) this.resume()
  }

  onFrame(text: string): void {
    this.listener?.onFrame(text)
  }

  onControlFrame(): void {
    this.listener?.onControlFrame()
  }

  /** RFC 6455, section 5.5.3, allows to answer only the newest ping. */
  onPing(data: Buffer): void {
    if (this.#ping === undefined) endOfTurn(() => this.#answerPing())
    this.#ping = data
  }

  /** Answers the newest ping, or waits until the client has read what is left unread. */
  #answerPing(): void {
    const ping = this.#ping
    if (ping === undefined) return
    if (this.#isOpen && this.#websocket.bufferedAmount > drainBytes) {
      // A copy, which does not keep the memory of everything that arrived with the ping.
      this.#ping = Buffer.from(ping)
      return
    }
    this.#ping = undefined
    if (!this.#isOpen) return
    this.#websocket.pong(ping, false, this.#onSentOf(ping.length + headerBytes))
  }

  onClose(): void {
    this.#byteCounters.leave(this.#raw)
    this.#hasClosed = true
    this.#tellClose()
  }

  /** Tells the listener once, after everything that had arrived before the close. */
  #tellClose(): void {
    if (this.reader?.readRest() === false) return
    const { listener } = this
    this.listener = undefined
    listener?.onClose()
  }

  get #isOpen(): boolean {
    return this.#websocket.readyState === this.#websocket.OPEN
  }

  /** The callback for a write of so many bytes; undefined if the socket stays far from full. */
  #onSentOf(bytes: number): (() => void) | undefined {
    if (this.#websocket.bufferedAmount + bytes <= drainBytes) return undefined
    return () => this.#onSent()
  }

  #onSent(): void {
    if (this.#websocket.bufferedAmount > drainBytes) return
    this.#answerPing()
    this.listener?.onDrain()
  }
}
