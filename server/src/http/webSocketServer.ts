/**
 * Accepts the upgrades of an HTTP server. An upgrade is the HTTP request with which a WebSocket
 * begins. The broker itself answers common upgrades (see `fastPath`), and the package `ws` answers
 * or refuses all others. `WsSocket` adapts each WebSocket to the broker's {@link Socket}.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import { subprotocol } from '@holdfast/shared'
import { WebSocketServer } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import type { ByteCounters } from './byteCounters.js'
import { answerCommonUpgrade } from './fastPath/index.js'
import type { Tarpit } from './tarpit.js'
import type { AcceptedUpgrade, ClientRefusal, UpgradePolicy } from './upgradePolicy.js'
import type { UpgradeQueue } from './upgradeQueue.js'
import { refuse, routeUpgrades } from './upgradeRouting.js'
import {
  AdaptedWebSocket,
  type SharedSocketOptions,
  type WsOptions,
  WsSocket,
} from './webSocketAdapter.js'

/** How many fragments a message may have. Usual clients need no more for the longest message. */
const maxFragments = 16
/**
 * How long `ws` waits for a closing handshake, in ms. The broker itself waits for a shorter time,
 * and then terminates the socket.
 */
const closeTimeout = 1_500

export interface UpgradeOptions {
  /**
   * The path whose upgrades are accepted; undefined for all paths that have no broker of their own.
   */
  readonly path: string | undefined
  readonly upgradePolicy: UpgradePolicy
  readonly upgradeQueue: UpgradeQueue
  readonly tarpit: Tarpit
  /** Whether a request comes from a page that the broker itself serves. */
  readonly isOwnPage: (request: IncomingMessage) => boolean
  /** Makes the broker's connection for a new socket. */
  readonly connect: (socket: Socket) => SocketListener
  /** How many bytes a frame of a client may have. */
  readonly frameBytes: number
  readonly byteCounters: ByteCounters
  readonly onRefused: (refusal: ClientRefusal, request: IncomingMessage) => void
}

/** Accepts the upgrades of an HTTP server. Returns a function that stops accepting upgrades. */
export function acceptUpgrades(server: Server, options: UpgradeOptions): () => void {
  const { path, upgradePolicy, upgradeQueue, tarpit, isOwnPage, connect } = options
  const { frameBytes, byteCounters, onRefused } = options
  const wsOptions: WsOptions = {
    perMessageDeflate: false,
    maxPayload: frameBytes,
    maxFragments,
    // WsSocket answers pings itself, and only the newest ping of a turn of the event loop.
    autoPong: false,
    // How many chunks of one incomplete frame `ws` may keep.
    maxBufferedChunks: 4096,
    // For a client that offers no valid subprotocol, the broker makes no `Connection`. Then only
    // this timeout ends the closing handshake.
    closeTimeout,
  }
  const webSocketServer = new WebSocketServer({
    ...wsOptions,
    WebSocket: AdaptedWebSocket,
    noServer: true,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  })
  const frameLimits = { maxBytes: frameBytes, maxFragments }
  const shared: SharedSocketOptions = { wsOptions, frameLimits, byteCounters }
  const acceptNow = (request: IncomingMessage, head: Buffer, accepted: AcceptedUpgrade): void => {
    const raw: TcpSocket = request.socket
    if (answerCommonUpgrade(request, raw, head)) {
      new WsSocket(raw, request.headers.origin, accepted, shared).connectToBroker(connect)
      return
    }
    webSocketServer.handleUpgrade(request, raw, head, (websocket) => {
      const socket = new WsSocket(raw, request.headers.origin, accepted, shared, websocket)
      if (websocket.protocol === subprotocol) socket.connectToBroker(connect)
      else socket.refuseSubprotocol()
    })
  }
  return routeUpgrades(server, path, (request, raw, head) => {
    const refuseUpgrade = (refusal: ClientRefusal): void => {
      onRefused(refusal, request)
      if (refusal.mayRetry) tarpit.refuseLater(raw, refusal)
      else refuse(raw, refusal)
    }
    const decision = upgradePolicy.admit(request, isOwnPage(request))
    if ('status' in decision) {
      refuseUpgrade(decision)
      return
    }
    upgradeQueue.add({
      remoteAddress: decision.address,
      raw,
      accept: () => acceptNow(request, head, decision),
      refuse: () => refuseUpgrade(upgradePolicy.tooManyWaiting(decision)),
    })
  })
}

function connectToBroker(
  websocket: AdaptedWebSocket,
  socket: WsSocket,
  connect: (socket: Socket) => SocketListener,
): void {
  websocket.adapter = socket
  // This listener must be the first, because an `error` event without a listener ends the process.
  websocket.on('error', onError)
  websocket.on('close', onClose)
  if (websocket.protocol !== subprotocol) {
    websocket.startClosing(closeCodes.subprotocol.code, closeCodes.subprotocol.reason)
    return
  }
  socket.listener = connect(socket)
  websocket.on('message', onMessage)
  websocket.on('ping', onPing)
}

/**
 * A WebSocket with its adapter in a field. Listeners find the adapter in this field, so that all
 * WebSockets share the same listener functions.
 */
class AdaptedWebSocket extends WebSocket {
  adapter: WsSocket | undefined

  /** Starts a closing handshake on behalf of the broker. */
  startClosing(code: number, reason: string): void {
    super.close(code, reason)
  }

  /** Only `ws` calls this method, after `ws` has read a close frame or an invalid frame. */
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason)
    this.adapter?.onPeerClosing()
  }
}

/** Reports an error of `ws`, which is already closing the socket with a code of its own. */
function onError(this: WebSocket): void {
  ;(this as AdaptedWebSocket).adapter?.onFault()
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const { adapter } = this as AdaptedWebSocket
  adapter?.reader?.onMessage()
  if (isBinary) adapter?.listener?.onBinary()
  else adapter?.onFrame((data as Buffer).toString())
}

function onPing(this: WebSocket, data: Buffer): void {
  ;(this as AdaptedWebSocket).adapter?.onPing(data)
}

function onClose(this: WebSocket): void {
  ;(this as AdaptedWebSocket).adapter?.onClose()
}

/** Adapts a WebSocket of `ws` to the broker's {@link Socket}. */
class WsSocket implements Socket {
  readonly #websocket: AdaptedWebSocket
  /** The TCP socket below the WebSocket. */
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
  /** Whether the WebSocket has closed. The reader may still have frames that arrived before. */
  #hasClosed = false
  /** Whether the client sent an invalid frame. */
  #hasFault = false
  /** The data of the newest ping that is not answered yet. */
  #ping: Buffer | undefined

  constructor(
    websocket: AdaptedWebSocket,
    { headers, socket }: IncomingMessage,
    accepted: AcceptedUpgrade,
    byteCounters: ByteCounters,
  ) {
    this.#websocket = websocket
    this.#raw = socket
    this.remoteAddress = accepted.address
    this.origin = headers.origin
    this.token = accepted.token
    this.isSecure = accepted.secure
    this.#byteCounters = byteCounters
    byteCounters.add(socket)
  }

  get bufferedBytes(): number {
    return this.#websocket.bufferedAmount
  }

  get unreadBytes(): number {
    return this.reader?.unreadBytes ?? 0
  }

  send(frame: string): void {
    const plainFrame = plainTextFrame(frame)
    // A UTF-16 unit of a string has at most three bytes in UTF-8.
    const onSent = this.#sentCallbackFor(plainFrame?.length ?? frame.length * 3 + maxHeaderBytes)
    if (plainFrame === undefined) this.#websocket.send(frame, onSent)
    else if (this.#isOpen) this.#raw.write(plainFrame, 'latin1', onSent)
  }

  pause(): void {
    this.#isPaused = true
    // After the close, `pause` and `resume` of `ws` do nothing.
    if (this.#hasClosed) this.#raw.pause()
    else this.#websocket.pause()
    this.reader?.onPause()
  }

  /** Resumes in a later turn of the event loop, so that other connections are read first. */
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
      this.#reportClose()
    } else this.#websocket.resume()
  }

  close(code: number, reason: string): void {
    if (this.#hasClosed) this.terminate()
    else this.#websocket.startClosing(code, reason)
  }

  terminate(): void {
    this.reader?.drop()
    this.#websocket.terminate()
    // During a pause the report of the close waits. Resuming makes the report.
    if (this.#hasClosed) this.resume()
  }

  onFrame(text: string): void {
    this.listener?.onFrame(text)
  }

  onFault(): void {
    this.#hasFault = true
    this.listener?.onFault()
  }

  /**
   * After a close frame of the client, ends the TCP connection as soon as the broker's close frame
   * is written. Otherwise a client that leaves its side of the TCP connection open would keep
   * its locks until `closeTimeout`. Does nothing after an invalid frame. Waits for the end of the
   * turn, because `ws` emits the `error` of an invalid frame only after this call.
   */
  onPeerClosing(): void {
    endOfTurn(() => {
      if (!this.#hasFault) this.#raw.end(() => this.#raw.destroy())
    })
  }

  onControlFrame(): void {
    this.listener?.onControlFrame()
  }

  /**
   * Answers only the newest ping of a turn of the event loop; RFC 6455, section 5.5.3, allows that.
   */
  onPing(data: Buffer): void {
    if (this.#ping === undefined) endOfTurn(() => this.#answerPing())
    this.#ping = data
  }

  /**
   * Answers the newest ping. If the socket is full, keeps the ping, and `#onSent` calls this method
   * again.
   */
  #answerPing(): void {
    const ping = this.#ping
    if (ping === undefined) return
    if (this.#isOpen && this.#websocket.bufferedAmount > fullSocketBytes) {
      // Copies the ping, because the ping is a part of a chunk and would keep the memory of the
      // whole chunk.
      this.#ping = Buffer.from(ping)
      return
    }
    this.#ping = undefined
    if (!this.#isOpen) return
    this.#websocket.pong(
      ping,
      /* mask */ false,
      this.#sentCallbackFor(ping.length + maxHeaderBytes),
    )
  }

  onClose(): void {
    this.#byteCounters.remove(this.#raw)
    this.#hasClosed = true
    this.#reportClose()
  }

  /** Reports the close to the listener once, after all frames that arrived before the close. */
  #reportClose(): void {
    if (this.reader?.readUnreadChunks() === false) return
    const { listener } = this
    this.listener = undefined
    listener?.onClose()
  }

  get #isOpen(): boolean {
    return this.#websocket.readyState === this.#websocket.OPEN
  }

  /**
   * Returns the callback for a write of this many bytes; undefined if the write cannot fill the
   * socket.
   */
  #sentCallbackFor(bytes: number): (() => void) | undefined {
    if (this.#websocket.bufferedAmount + bytes <= fullSocketBytes) return undefined
    return () => this.#onSent()
  }

  #onSent(): void {
    if (this.#websocket.bufferedAmount > fullSocketBytes) return
    this.#answerPing()
    this.listener?.onDrain()
  }
}
