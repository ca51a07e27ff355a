/**
 * Splits the bytes of a client into WebSocket frames. The reader itself decodes a text frame that
 * is a whole message, because this saves time and memory. (`ws` makes half a dozen objects for such
 * a frame, and keeps some of them until the next frame.) Every other frame goes to `ws`, one frame
 * at a time.
 *
 * A pause of the socket stops the reader at the next frame, even within a chunk, because a chunk of
 * 64 KiB may have thousands of frames. The reader then puts the unread bytes back into the socket,
 * which emits these bytes again after the pause.
 *
 * `index.ts` lists what this file assumes about the inside of `ws`.
 */
import { isUtf8 } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { SocketListener } from '../../connection/socket.js'

/** The parts of a frame's first byte: its final bit, the reserved bits, and its opcode. */
const finalBit = 0x80
const reservedBits = 0x70
const opcodeBits = 0x0f
const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, pong: 0xa } as const
const wholeText = finalBit | opcodes.text
/**
 * The parts of a frame's second byte: the mask flag, and the length of the payload. The lengths 126
 * and 127 are markers: the real length follows.
 */
const maskBit = 0x80
const lengthBits = 0x7f
/** Marks a length that follows in two bytes. */
const length16 = 126
/** Marks a length that follows in eight bytes. */
const length64 = 127
/** How many bytes of payload the protocol allows in a control frame. */
const maxControlBytes = 125
/** The longest text that the reader itself decodes, in bytes. A longer text needs `length64`. */
const maxTextBytes = 0xffff
const maskBytes = 4

type FrameListener = Pick<SocketListener, 'onFrame' | 'onControlFrame'>
type OnData = (this: Duplex, chunk: Buffer) => void

export interface FrameLimits {
  /** The longest message of a client, in bytes; the `maxPayload` of `ws`. */
  readonly maxBytes: number
  /** The highest number of fragments of a message; the `maxFragments` of `ws`. */
  readonly maxFragments: number
}

/** The part of a WebSocket that the reader needs. */
export interface ReadWebSocket {
  /** Whether neither end has begun to close the connection. */
  readonly isOpen: boolean
  /**
   * Makes the WebSocket of `ws` for the raw socket, and then calls {@link FrameReader.onWsListens}.
   * The reader calls this method at most once: before the first frame that the reader leaves to
   * `ws`.
   */
  makeWs(): void
}

/**
 * The field in which a socket stores its reader. The listeners find the reader in this field, so
 * that all sockets share the same listener functions.
 */
const readerField = Symbol('reader')

interface SocketWithReader extends Duplex {
  [readerField]?: FrameReader
}

/**
 * The state of a frame that the reader forwards to `ws` or skips, and of the fragmented message to
 * which the frame belongs. Most clients never send such a frame.
 */
interface ForwardedFrame {
  /** How many bytes of the current frame the reader must still forward or skip. */
  bytesLeft: number
  isSkipped: boolean
  /** The first byte of the current frame. */
  firstByte: number
  /** How many frames of an unfinished fragmented message have arrived; 0 without such a message. */
  fragments: number
  /** How many bytes of that fragmented message have arrived; 0 without such a message. */
  messageBytes: number
  /** Whether `ws` has emitted the message that ends with the current frame. */
  hasMessage: boolean
}

export class FrameReader {
  readonly #websocket: ReadWebSocket
  readonly #socket: Duplex
  readonly #listener: FrameListener
  readonly #limits: FrameLimits
  /** The listener of `ws` for `data`; undefined until `ws` has a WebSocket for the socket. */
  #wsOnData: OnData | undefined
  /** The bytes of an incomplete frame. */
  #partial: Buffer | undefined
  /** Undefined unless a frame is being forwarded or skipped, or a fragmented message has begun. */
  #forwarded: ForwardedFrame | undefined
  /** Chunks that were unread when the socket closed; undefined before that. */
  #unreadChunks: Buffer[] | undefined
  /**
   * `left to ws`: `ws` reads the rest of the stream. `ended`: the socket has closed, and unread
   * chunks may be left. `dropping`: the reader drops all bytes.
   */
  #state: 'reading' | 'left to ws' | 'ended' | 'dropping' = 'reading'

  private constructor(
    websocket: ReadWebSocket,
    socket: Duplex,
    listener: FrameListener,
    limits: FrameLimits,
  ) {
    this.#websocket = websocket
    this.#socket = socket
    this.#listener = listener
    this.#limits = limits
  }

  /**
   * Makes a reader of the raw socket of `websocket`. If `ws` has a data listener already, the
   * reader replaces this listener.
   *
   * @param hasWs Whether `ws` has a WebSocket for the socket already.
   * @returns Undefined if the socket has a data listener that is not of `ws`. Then the caller must
   *   leave the socket to `ws`.
   */
  static attach(
    websocket: ReadWebSocket,
    socket: Duplex,
    listener: FrameListener,
    limits: FrameLimits,
    hasWs: boolean,
  ): FrameReader | undefined {
    if (socket.listenerCount('data') > (hasWs ? 1 : 0)) return undefined
    const frameReader = new FrameReader(websocket, socket, listener, limits)
    ;(socket as SocketWithReader)[readerField] = frameReader
    if (hasWs) frameReader.onWsListens()
    socket.on('data', onData)
    return frameReader
  }

  /**
   * Takes the place of the data listener that `ws` has just added to the socket. The caller must
   * call this method directly after `ws` got a WebSocket for the socket.
   */
  onWsListens(): void {
    this.#wsOnData = this.#socket.listeners('data').at(-1) as OnData
    this.#socket.off('data', this.#wsOnData)
  }

  /** The number of bytes that have arrived and are not read yet. */
  get unreadBytes(): number {
    const inChunks = this.#unreadChunks?.reduce((sum, { length }) => sum + length, 0) ?? 0
    return inChunks + (this.#partial?.length ?? 0) + this.#socket.readableLength
  }

  /** The caller must call this method whenever it pauses the socket. */
  onPause(): void {
    if (this.#socket.listeners('close').includes(onClose)) return
    // `onClose` must run before the listener of `ws`, because the listener of `ws` reads the unread
    // bytes of the socket.
    this.#socket.prependListener('close', onClose)
  }

  /** The caller must call this method for every message that `ws` emits. */
  onMessage(): void {
    if (this.#forwarded !== undefined) this.#forwarded.hasMessage = true
  }

  /** Reads a chunk of the socket. */
  read(chunk: Buffer): void {
    if (this.#state === 'dropping') return
    const partial = this.#partial
    const data = partial === undefined ? chunk : Buffer.concat([partial, chunk])
    this.#partial = undefined
    let at = 0
    while (at < data.length) {
      if (this.#socket.isPaused()) {
        this.#putBack(data.subarray(at))
        return
      }
      const forwarded = this.#forwarded
      if (forwarded !== undefined && forwarded.bytesLeft > 0) {
        at = this.#forward(forwarded, data, at)
      } else {
        // Join a text from at most two chunks, because joining many small chunks costs quadratic
        // time. A frame that begins with `partial` (so `at` is 0) has its two chunks already. If
        // this frame is still incomplete, `ws` reads it.
        at = this.#beginFrame(data, at, partial === undefined || at > 0)
      }
    }
  }

  /**
   * Called when the socket closes, before the listener of `ws`. Moves the unread bytes from the
   * socket into this reader. Otherwise `ws` would read the bytes, even while the socket is paused.
   */
  end(): void {
    if (this.#state === 'left to ws') return
    if (this.#state === 'reading') this.#state = 'ended'
    // The socket has closed, so `ws` accepts no more bytes of the current frame.
    if (this.#forwarded !== undefined) this.#forwarded.isSkipped = true
    const chunks: Buffer[] = []
    for (let chunk = this.#socket.read(); chunk !== null; chunk = this.#socket.read()) {
      chunks.push(chunk as Buffer)
    }
    if (this.#state === 'ended') this.#unreadChunks = chunks
  }

  /**
   * Reads the chunks that were unread when the socket closed, until the socket is paused. Handles
   * only texts that are whole messages. Drops all other frames, because `ws` reads nothing after
   * the close.
   *
   * @returns Whether all chunks were read.
   */
  readUnreadChunks(): boolean {
    const chunks = this.#unreadChunks ?? []
    while (chunks.length > 0 && !this.#socket.isPaused()) this.read(chunks.shift()!)
    return chunks.length === 0
  }

  /** Drops all unread bytes and all bytes that arrive later. */
  drop(): void {
    if (this.#state !== 'left to ws') this.#state = 'dropping'
    this.#unreadChunks = undefined
  }

  /**
   * Reads a frame from its first byte on.
   *
   * @param mayJoin Whether to wait for the rest of an incomplete text, and to decode the text then.
   * @returns The index of the next byte to read.
   */
  #beginFrame(data: Buffer, at: number, mayJoin: boolean): number {
    const firstByte = data[at]!
    const secondByte = data[at + 1]
    if (secondByte === undefined) return this.#keepPartial(data, at)
    const opcode = firstByte & opcodeBits
    if (opcode === opcodes.close || !isValid(firstByte, secondByte, this.#hasOpenMessage)) {
      return this.#leaveToWs(data, at)
    }
    const start = at + headerBytes(secondByte)
    // Wait for all bytes of the length, but not for the mask and the payload.
    if (start - maskBytes > data.length) return this.#keepPartial(data, at)
    const length = payloadLength(data, at)
    const end = start + length
    const isText = firstByte === wholeText && length <= maxTextBytes
    const shouldSkip = this.#shouldSkip(isText)
    if (!shouldSkip && this.#exceedsLimits(opcode, length)) return this.#leaveToWs(data, at)
    if (isText && !shouldSkip) {
      if (end > data.length && mayJoin) return this.#keepPartial(data, at)
      const text = end <= data.length ? readText(data, start, end) : undefined
      if (text !== undefined) {
        this.#listener.onFrame(text)
        return end
      }
    }
    const isData = opcode < opcodes.close
    const { fragments = 0, messageBytes = 0 } = this.#forwarded ?? {}
    this.#forwarded = {
      bytesLeft: end - at,
      // A text that this reader could not decode is left to `ws`, but not after the socket closed.
      isSkipped: shouldSkip || this.#state === 'ended',
      firstByte,
      fragments: isData ? fragments + 1 : fragments,
      messageBytes: isData ? messageBytes + length : messageBytes,
      hasMessage: false,
    }
    return this.#forward(this.#forwarded, data, at)
  }

  /**
   * Passes the bytes of the current frame to `ws`, or skips these bytes.
   *
   * @returns The index of the next byte to read.
   */
  #forward(frame: ForwardedFrame, data: Buffer, at: number): number {
    const end = Math.min(at + frame.bytesLeft, data.length)
    frame.bytesLeft -= end - at
    if (!frame.isSkipped) this.#wsListener().call(this.#socket, data.subarray(at, end))
    if (frame.bytesLeft > 0) return end
    const opcode = frame.firstByte & opcodeBits
    const isControl = opcode >= opcodes.close
    const isFinal = (frame.firstByte & finalBit) !== 0
    const endsMessage = isFinal && !isControl
    // Keep the state only while a fragmented message is unfinished.
    if (endsMessage || frame.fragments === 0) this.#forwarded = undefined
    if (frame.isSkipped) return end
    // Report a fragment as a control frame, because both cost the same work.
    if (isControl || !isFinal || opcode === opcodes.continuation) this.#listener.onControlFrame()
    // If `ws` emitted no message, `ws` has refused the message, for instance because of invalid
    // UTF-8.
    return endsMessage && !frame.hasMessage ? this.#leaveToWs(data, end) : end
  }

  get #hasOpenMessage(): boolean {
    return this.#forwarded !== undefined && this.#forwarded.fragments > 0
  }

  /**
   * Whether to skip a frame that is not a close frame. While either end closes the connection, all
   * such frames are skipped. After the socket has closed, texts are read (see `readUnreadChunks`).
   */
  #shouldSkip(isText: boolean): boolean {
    if (this.#state === 'ended') return !isText
    return !this.#websocket.isOpen
  }

  #exceedsLimits(opcode: number, length: number): boolean {
    if (opcode >= opcodes.close) return false
    const { maxBytes, maxFragments } = this.#limits
    const { fragments = 0, messageBytes = 0 } = this.#forwarded ?? {}
    return messageBytes + length > maxBytes || fragments >= maxFragments
  }

  #putBack(bytes: Buffer): void {
    if (this.#state === 'ended') this.#unreadChunks?.unshift(bytes)
    else this.#socket.unshift(compact(bytes))
  }

  #keepPartial(data: Buffer, at: number): number {
    this.#partial = compact(data.subarray(at))
    return data.length
  }

  /**
   * Leaves the rest of the stream to `ws`, which then closes the connection. Called if the frame at
   * `at` is invalid, exceeds the limits or is a close frame, or if `ws` has refused the message
   * before `at`.
   */
  #leaveToWs(data: Buffer, at: number): number {
    if (this.#state === 'ended') return data.length
    this.#state = 'left to ws'
    const wsOnData = this.#wsListener()
    this.#socket.off('data', onData)
    this.#socket.on('data', wsOnData)
    if (at < data.length) wsOnData.call(this.#socket, data.subarray(at))
    return data.length
  }

  /** The data listener of `ws`. Makes the WebSocket of `ws` if there is none yet. */
  #wsListener(): OnData {
    if (this.#wsOnData === undefined) this.#websocket.makeWs()
    return this.#wsOnData!
  }
}

function onData(this: SocketWithReader, chunk: Buffer): void {
  this[readerField]?.read(chunk)
}

function onClose(this: SocketWithReader): void {
  this[readerField]?.end()
}

/**
 * Copies a small part of a chunk, because a part that is not copied would keep the memory of the
 * whole chunk in use.
 */
function compact(bytes: Buffer): Buffer {
  return bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes
}

/**
 * Whether a frame with these two first bytes obeys the WebSocket protocol.
 *
 * @param hasOpenMessage Whether a fragmented message has begun and not ended.
 */
function isValid(firstByte: number, secondByte: number, hasOpenMessage: boolean): boolean {
  if ((firstByte & reservedBits) !== 0 || (secondByte & maskBit) === 0) return false
  const opcode = firstByte & opcodeBits
  if (opcode === opcodes.continuation) return hasOpenMessage
  if (opcode <= opcodes.binary) return !hasOpenMessage
  const isControl = opcode >= opcodes.close && opcode <= opcodes.pong
  return isControl && (firstByte & finalBit) !== 0 && (secondByte & lengthBits) <= maxControlBytes
}

/** The size of a header: two bytes, two or eight more for a length above 125, and the mask. */
function headerBytes(secondByte: number): number {
  const length = secondByte & lengthBits
  return (length < length16 ? 2 : length === length16 ? 4 : 10) + maskBytes
}

/** The length of the payload of a frame that begins at `at`, in bytes. */
function payloadLength(data: Buffer, at: number): number {
  const length = data[at + 1]! & lengthBits
  if (length < length16) return length
  if (length < length64) return data.readUInt16BE(at + 2)
  return data.readUInt32BE(at + 2) * 2 ** 32 + data.readUInt32BE(at + 6)
}

/**
 * Decodes a masked text. Returns undefined, and leaves the bytes unchanged, if the text is not
 * UTF-8.
 */
function readText(data: Buffer, start: number, end: number): string | undefined {
  // If the OR of all bytes is below 0x80, the text is ASCII, for which latin1 equals UTF-8.
  if (toggleMask(data, start, end) < 0x80) return data.toString('latin1', start, end)
  if (isUtf8(data.subarray(start, end))) return data.toString('utf8', start, end)
  toggleMask(data, start, end)
  return undefined
}

/**
 * Adds the mask to a text, or removes the mask. The four bytes of the mask stand before the text,
 * and apply to the bytes of the text in turn.
 *
 * @returns The bitwise OR of all bytes of the changed text.
 */
function toggleMask(data: Buffer, start: number, end: number): number {
  const mask = start - maskBytes
  let bits = 0
  for (let i = start; i < end; i++) {
    const byte = data[i]! ^ data[mask + ((i - start) & 3)]!
    data[i] = byte
    bits |= byte
  }
  return bits
}
