/**
 * Adapts a WebSocket to the broker's {@link Socket}. While a client sends only common frames, the
 * adapter works on the TCP socket alone. The adapter makes a WebSocket of the package `ws` before
 * the first frame that the adapter cannot read or write itself, and before a closing handshake.
 * Most connections need such a WebSocket only for their closing handshake. Making it so late saves
 * memory, and saves time when thousands of clients come back after a restart of the broker. Only
 * this file, `webSocketServer.ts` and `fastPath` depend on `ws`.
 */
import type { Socket as TcpSocket } from 'node:net'
import { closeCodes } from '@holdfast/shared'
import { type RawData, type ServerOptions, WebSocket } from 'ws'
import type { Socket, SocketListener } from '../connection/socket.js'
import { nodeEnvironment } from '../platform/environment.js'
import type { ByteCounters } from './byteCounters.js'
import {
  type FrameLimits,
  FrameReader,
  plainTextFrame,
  type ReadWebSocket,
} from './fastPath/index.js'
import type { AcceptedUpgrade } from './upgradePolicy.js'

const { endOfTurn } = nodeEnvironment

/**
 * A socket with more unsent bytes than this is full. A full socket answers no ping. When the socket
 * is no longer full, the adapter calls `onDrain` of its listener.
 */
const fullSocketBytes = 32 * 1024
/** The greatest length of the header of a frame from the broker, in bytes. */
const maxHeaderBytes = 10
const noBytes = Buffer.alloc(0)

/** The options of `ws` that concern a WebSocket after its upgrade. */
export type WsOptions = Pick<
  ServerOptions,
  'perMessageDeflate' | 'maxPayload' | 'maxFragments' | 'maxBufferedChunks' | 'autoPong'
> & { readonly closeTimeout: number }

/** What all WebSockets of a server share. One object for all connections, to save memory. */
export interface SharedSocketOptions {
  readonly wsOptions: WsOptions
  readonly frameLimits: FrameLimits
  readonly byteCounters: ByteCounters
}

/**
 * A WebSocket with its adapter in a field. Listeners find the adapter in this field, so that all
 * WebSockets share the same listener functions.
 */
export class AdaptedWebSocket extends WebSocket {
  adapter: WsSocket | undefined
  /** Makes this object the WebSocket of an upgraded socket. `@types/ws` lacks this method. */
  declare setSocket: (raw: TcpSocket, head: Buffer, options: WsOptions) => void

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
  // Tells the reader of frames that `ws` has accepted the message.
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

/**
 * The field in which a TCP socket without a WebSocket of `ws` stores its adapter. The listeners of
 * the TCP socket find the adapter in this field.
 */
const adapterField = Symbol('adapter')

interface AdaptedTcpSocket extends TcpSocket {
  [adapterField]?: WsSocket | undefined
}

/** The client has ended its side of the TCP connection, without a close frame. */
function onRawEnd(this: AdaptedTcpSocket): void {
  this[adapterField]?.onRawClosing()
  this.end()
}

function onRawError(this: AdaptedTcpSocket): void {
  this[adapterField]?.onRawClosing()
  this.destroy()
}

function onRawClose(this: AdaptedTcpSocket): void {
  this[adapterField]?.onRawClosing()
  this[adapterField]?.onClose()
}

/**
 * Adapts a WebSocket to the broker's {@link Socket}, and to {@link ReadWebSocket}: what the reader
 * of frames needs of the WebSocket.
 */
export class WsSocket implements Socket, ReadWebSocket {
  /** The WebSocket of `ws`; undefined until one is needed. */
  #websocket: AdaptedWebSocket | undefined
  /** The TCP socket below the WebSocket. */
  readonly #raw: AdaptedTcpSocket
  readonly #shared: SharedSocketOptions
  readonly remoteAddress: string | undefined
  readonly origin: string | undefined
  readonly token: string | undefined
  readonly isSecure: boolean
  listener: SocketListener | undefined
  reader: FrameReader | undefined
  /** Whether the TCP socket began to close before `ws` had a WebSocket for it. */
  #isRawClosing = false
  #isPaused = false
  #willResume = false
  /**
   * Whether the WebSocket has closed. The reader may still have frames that arrived before the
   * close.
   */
  #hasClosed = false
  /** Whether the client sent an invalid frame. */
  #hasFault = false
  /** The data of the newest ping that is not answered yet. */
  #ping: Buffer | undefined

  /**
   * @param websocket The WebSocket, if `ws` has answered the upgrade.
   * @param origin The `Origin` header of the upgrade.
   */
  constructor(
    raw: TcpSocket,
    origin: string | undefined,
    accepted: AcceptedUpgrade,
    shared: SharedSocketOptions,
    websocket?: AdaptedWebSocket,
  ) {
    this.#raw = raw
    this.#shared = shared
    this.remoteAddress = accepted.address
    this.origin = origin
    this.token = accepted.token
    this.isSecure = accepted.secure
    shared.byteCounters.add(raw)
    if (websocket !== undefined) this.#adopt(websocket)
    else {
      this.#raw[adapterField] = this
      raw.on('end', onRawEnd)
      raw.on('error', onRawError)
      raw.on('close', onRawClose)
    }
  }

  /** Makes the broker's connection for this socket, and begins to read. */
  connectToBroker(connect: (socket: Socket) => SocketListener): void {
    this.listener = connect(this)
    const hasWs = this.#websocket !== undefined
    // `this` is both the WebSocket to read and the listener for its frames.
    this.reader = FrameReader.attach(this, this.#raw, this, this.#shared.frameLimits, hasWs)
    // Without a reader, `ws` reads all frames.
    if (this.reader === undefined) this.makeWs()
  }

  /** Closes the connection of a client that does not offer the broker's subprotocol. */
  refuseSubprotocol(): void {
    this.close(closeCodes.subprotocol.code, closeCodes.subprotocol.reason)
  }

  /** Makes the WebSocket of `ws`, unless there is one or the TCP socket is closing. */
  makeWs(): void {
    if (this.#websocket !== undefined || this.#isRawClosing) return
    const raw = this.#raw
    raw.off('end', onRawEnd)
    raw.off('error', onRawError)
    raw.off('close', onRawClose)
    raw[adapterField] = undefined
    const { wsOptions } = this.#shared
    // For a WebSocket of a server, `ws` expects `null` in place of the URL.
    const websocket = new AdaptedWebSocket(null as unknown as string, undefined, wsOptions)
    websocket.setSocket(raw, noBytes, wsOptions)
    this.#adopt(websocket)
    // `ws` has just added its `data` listener to the TCP socket. The reader replaces this listener.
    this.reader?.onWsListens()
    if (!this.#isPaused) return
    websocket.pause()
    this.reader?.onPause()
  }

  #adopt(websocket: AdaptedWebSocket): void {
    this.#websocket = websocket
    websocket.adapter = this
    // An `error` event without a listener would end the process.
    websocket.on('error', onError)
    websocket.on('close', onClose)
    websocket.on('message', onMessage)
    websocket.on('ping', onPing)
  }

  get bufferedBytes(): number {
    return this.#raw.writableLength
  }

  get unreadBytes(): number {
    return this.reader?.unreadBytes ?? 0
  }

  send(frame: string): void {
    const plainFrame = plainTextFrame(frame)
    // A UTF-16 unit of a string has at most three bytes in UTF-8.
    const onSent = this.#sentCallbackFor(plainFrame?.length ?? frame.length * 3 + maxHeaderBytes)
    if (!this.isOpen) return
    if (plainFrame !== undefined) this.#raw.write(plainFrame, 'latin1', onSent)
    else {
      this.makeWs()
      this.#websocket?.send(frame, onSent)
    }
  }

  pause(): void {
    this.#isPaused = true
    // After the close, `pause` and `resume` of `ws` do nothing.
    if (this.#websocket === undefined || this.#hasClosed) this.#raw.pause()
    else this.#websocket.pause()
    this.reader?.onPause()
  }

  /** Resumes at the end of this turn of the event loop, after other connections were read. */
  resume(): void {
    this.#isPaused = false
    if (this.#willResume) return
    this.#willResume = true
    endOfTurn(() => this.#resumeNow())
  }

  #resumeNow(): void {
    this.#willResume = false
    if (this.#isPaused) return
    if (this.#websocket === undefined || this.#hasClosed) this.#raw.resume()
    else this.#websocket.resume()
    if (this.#hasClosed) this.#reportClose()
  }

  close(code: number, reason: string): void {
    if (this.#hasClosed) {
      // Discards unread frames, which may have delayed the report of the close.
      this.terminate()
      return
    }
    this.makeWs()
    this.#websocket?.startClosing(code, reason)
  }

  terminate(): void {
    this.reader?.drop()
    if (this.#websocket !== undefined) this.#websocket.terminate()
    else {
      this.#isRawClosing = true
      this.#raw.destroy()
    }
    // Perhaps the close is not reported yet, because frames were unread. `drop` has discarded these
    // frames, so `resume` reports the close.
    if (this.#hasClosed) this.resume()
  }

  onFrame(text: string): void {
    this.listener?.onFrame(text)
  }

  onFault(): void {
    this.#hasFault = true
    this.listener?.onFault()
  }

  /** The TCP socket is closing, and `ws` has no WebSocket for this TCP socket. */
  onRawClosing(): void {
    this.#isRawClosing = true
  }

  /**
   * After a close frame of the client, ends the TCP connection as soon as the broker's close frame
   * is written. Otherwise a client that leaves its side of the TCP connection open would keep
   * its locks until `closeTimeout`. Does nothing after an invalid frame. `#hasFault` is valid only
   * at the end of this turn, because `ws` emits the `error` of an invalid frame after this call.
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
    if (this.isOpen && this.bufferedBytes > fullSocketBytes) {
      // Copies the ping, because the ping is a part of a chunk and would keep the memory of the
      // whole chunk.
      this.#ping = Buffer.from(ping)
      return
    }
    this.#ping = undefined
    if (!this.isOpen) return
    const onSent = this.#sentCallbackFor(ping.length + maxHeaderBytes)
    this.#websocket?.pong(ping, /* mask */ false, onSent)
  }

  onClose(): void {
    this.#shared.byteCounters.remove(this.#raw)
    this.#hasClosed = true
    this.#reportClose()
  }

  /** Reports the close to the listener once, after all frames that arrived before the close. */
  #reportClose(): void {
    // If frames are unread, the socket is paused. After the pause, `#resumeNow` calls this method
    // again.
    if (this.reader?.readUnreadChunks() === false) return
    const { listener } = this
    this.listener = undefined
    listener?.onClose()
  }

  get isOpen(): boolean {
    const websocket = this.#websocket
    return websocket === undefined ? !this.#isRawClosing : websocket.readyState === websocket.OPEN
  }

  /**
   * Returns the callback for a write of this many bytes; undefined if the write cannot fill the
   * socket.
   */
  #sentCallbackFor(bytes: number): (() => void) | undefined {
    if (this.bufferedBytes + bytes <= fullSocketBytes) return undefined
    return () => this.#onSent()
  }

  #onSent(): void {
    if (this.bufferedBytes > fullSocketBytes) return
    this.#answerPing()
    this.listener?.onDrain()
  }
}
