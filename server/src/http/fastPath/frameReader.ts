/**
 * Splits the bytes of a client into WebSocket frames. The reader decodes a whole text frame itself,
 * because `ws` makes half a dozen objects of such a frame and keeps some of them until the next
 * frame. Every other frame goes to `ws`, one frame at a time.
 *
 * The reader stops between two frames once the socket is paused, in the middle of a chunk too: it
 * puts the unread bytes back into the socket, which hands them on after it was resumed. Otherwise
 * one chunk of 64 KiB could make the broker handle thousands of frames of one client in one turn.
 *
 * `index.ts` says what the reader assumes of `ws`.
 */
import { isUtf8 } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { SocketListener } from '../../connection/socket.js'

/** First byte of a frame: its end flag, the reserved bits, and its kind. */
const final = 0x80
const reserved = 0x70
const opcodeBits = 0x0f
const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, pong: 0xa } as const
const wholeText = final | opcodes.text
/** Second byte: the mask flag, and the length of the payload or one of two markers. */
const masked = 0x80
const lengthBits = 0x7f
/** The length follows in two bytes. */
const length16 = 126
/** The length follows in eight bytes. */
const length64 = 127
const longestControl = 125
/** Longest text that the reader decodes, in bytes. */
const longestText = 0xffff
const maskBytes = 4

type FrameListener = Pick<SocketListener, 'onFrame' | 'onControlFrame'>
type OnData = (this: Duplex, chunk: Buffer) => void

export interface FrameLimits {
  /** Longest message of a client, in bytes; the `maxPayload` of `ws`. */
  readonly maxBytes: number
  /** Most fragments of a message; the `maxFragments` of `ws`. */
  readonly maxFragments: number
}

/** What the reader looks at of a `WebSocket` of `ws`. */
interface WebSocketState {
  readonly OPEN: number
  readonly readyState: number
}

/** Where a socket keeps its reader, so that all sockets share their listeners. */
const reader = Symbol('reader')

interface ReadSocket extends Duplex {
  [reader]?: FrameReader
}

/** The frame that `ws` reads, or the reader skips. Most clients never send such a frame. */
interface PassedOn {
  /** Bytes of the present frame that still go to `ws`, or are skipped. */
  bytesLeft: number
  skipsFrame: boolean
  /** First byte of the present frame. */
  first: number
  /** Frames and bytes of the message that has begun and not ended; 0 if none has. */
  fragments: number
  messageBytes: number
  /** `ws` has handed on the message that ends with the present frame. */
  hasMessage: boolean
}

export class FrameReader {
  readonly #websocket: WebSocketState
  readonly #socket: Duplex
  readonly #listener: FrameListener
  readonly #limits: FrameLimits
  readonly #readByWs: OnData
  /** The beginning of a frame whose end, or whose header, is not there yet. */
  #partial: Buffer | undefined
  /** Undefined unless `ws` is reading a frame or a fragmented message. */
  #passedOn: PassedOn | undefined
  /** After the socket has closed: chunks that a paused connection had not read. */
  #rest: Buffer[] | undefined
  #state: 'reading' | 'left to ws' | 'ended' | 'dropping' = 'reading'

  private constructor(
    websocket: WebSocketState,
    socket: Duplex,
    readByWs: OnData,
    listener: FrameListener,
    limits: FrameLimits,
  ) {
    this.#websocket = websocket
    this.#socket = socket
    this.#readByWs = readByWs
    this.#listener = listener
    this.#limits = limits
  }

  /**
   * Reads a socket from now on, in place of the data listener of `ws`. Leaves the socket to `ws`
   * and returns undefined if the socket has any other data listener.
   *
   * @param socket The raw socket of `websocket`.
   */
  static attach(
    websocket: WebSocketState,
    socket: Duplex,
    listener: FrameListener,
    limits: FrameLimits,
  ): FrameReader | undefined {
    const [readByWs, another] = socket.listeners('data') as OnData[]
    if (readByWs === undefined || another !== undefined) return undefined
    const made = new FrameReader(websocket, socket, readByWs, listener, limits)
    ;(socket as ReadSocket)[reader] = made
    socket.on('data', onData)
    socket.off('data', readByWs)
    return made
  }

  /** Bytes that have arrived and that the reader has not handed on. */
  get unreadBytes(): number {
    const rest = this.#rest?.reduce((sum, { length }) => sum + length, 0) ?? 0
    return rest + (this.#partial?.length ?? 0) + this.#socket.readableLength
  }

  /** Must be called whenever the socket is paused. */
  onPause(): void {
    if (this.#socket.listeners('close').includes(onClose)) return
    // Before the listener of `ws`, which hands unread bytes to its own receiver.
    this.#socket.prependListener('close', onClose)
  }

  /** Must be called for every message of `ws`. */
  onMessage(): void {
    if (this.#passedOn !== undefined) this.#passedOn.hasMessage = true
  }

  /** For the listeners of the socket. */
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
      const passedOn = this.#passedOn
      if (passedOn !== undefined && passedOn.bytesLeft > 0) {
        at = this.#passOn(passedOn, data, at)
      } else {
        // Joins the parts of a text only once, because to join many small chunks is quadratic work.
        at = this.#beginFrame(data, at, partial === undefined || at > 0)
      }
    }
  }

  /**
   * For the listeners of the socket, before `ws` learns that it has closed: keeps what the socket
   * has not handed on, so that a pause holds it back too.
   */
  end(): void {
    if (this.#state === 'left to ws') return
    if (this.#state === 'reading') this.#state = 'ended'
    // The receiver of `ws` takes nothing more.
    if (this.#passedOn !== undefined) this.#passedOn.skipsFrame = true
    const rest: Buffer[] = []
    for (let next = this.#socket.read(); next !== null; next = this.#socket.read()) {
      rest.push(next as Buffer)
    }
    if (this.#state === 'ended') this.#rest = rest
  }

  /**
   * After the socket has closed: hands on the whole texts that had arrived, unless the socket is
   * paused. Drops other frames: the client has broken off and cannot rely on them.
   *
   * @returns Whether nothing is left.
   */
  readRest(): boolean {
    const rest = this.#rest ?? []
    while (rest.length > 0 && !this.#socket.isPaused()) this.read(rest.shift()!)
    return rest.length === 0
  }

  /** Drops what was not read, and what arrives from now on. */
  drop(): void {
    if (this.#state !== 'left to ws') this.#state = 'dropping'
    this.#rest = undefined
  }

  /** @returns Where to go on. */
  #beginFrame(data: Buffer, at: number, mayJoin: boolean): number {
    const first = data[at]!
    const second = data[at + 1]
    if (second === undefined) return this.#keep(data, at)
    const opcode = first & opcodeBits
    if (opcode === opcodes.close || !isValid(first, second, this.#hasOpenMessage)) {
      return this.#leave(data, at)
    }
    const start = at + headerBytes(second)
    if (start - maskBytes > data.length) return this.#keep(data, at)
    const length = payloadLength(data, at)
    const end = start + length
    const isText = first === wholeText && length <= longestText
    const skips = this.#skips(isText)
    if (!skips && this.#exceedsLimits(opcode, length)) return this.#leave(data, at)
    if (isText && !skips) {
      if (end > data.length && mayJoin) return this.#keep(data, at)
      const text = end <= data.length ? readText(data, start, end) : undefined
      if (text !== undefined) {
        this.#listener.onFrame(text)
        return end
      }
    }
    const isData = opcode < opcodes.close
    const { fragments = 0, messageBytes = 0 } = this.#passedOn ?? {}
    this.#passedOn = {
      bytesLeft: end - at,
      skipsFrame: skips || this.#state === 'ended',
      first,
      fragments: isData ? fragments + 1 : fragments,
      messageBytes: isData ? messageBytes + length : messageBytes,
      hasMessage: false,
    }
    return this.#passOn(this.#passedOn, data, at)
  }

  /**
   * Hands the bytes of the present frame to `ws`.
   *
   * @returns Where to go on.
   */
  #passOn(frame: PassedOn, data: Buffer, at: number): number {
    const end = Math.min(at + frame.bytesLeft, data.length)
    frame.bytesLeft -= end - at
    if (!frame.skipsFrame) this.#readByWs.call(this.#socket, data.subarray(at, end))
    if (frame.bytesLeft > 0) return end
    const opcode = frame.first & opcodeBits
    const isControl = opcode >= opcodes.close
    const isFinal = (frame.first & final) !== 0
    const endsMessage = isFinal && !isControl
    if (endsMessage || frame.fragments === 0) this.#passedOn = undefined
    if (frame.skipsFrame) return end
    if (isControl || !isFinal || opcode === opcodes.continuation) this.#listener.onControlFrame()
    // `ws` has refused the message, because it is not UTF-8 for instance.
    return endsMessage && !frame.hasMessage ? this.#leave(data, end) : end
  }

  get #hasOpenMessage(): boolean {
    return this.#passedOn !== undefined && this.#passedOn.fragments > 0
  }

  /** Once the broker closes, only the client's close frame matters; see also `readRest`. */
  #skips(isText: boolean): boolean {
    if (this.#state === 'ended') return !isText
    return this.#websocket.readyState !== this.#websocket.OPEN
  }

  #exceedsLimits(opcode: number, length: number): boolean {
    if (opcode >= opcodes.close) return false
    const { maxBytes, maxFragments } = this.#limits
    const { fragments = 0, messageBytes = 0 } = this.#passedOn ?? {}
    return messageBytes + length > maxBytes || fragments >= maxFragments
  }

  #putBack(bytes: Buffer): void {
    if (this.#state === 'ended') this.#rest?.unshift(bytes)
    else this.#socket.unshift(compact(bytes))
  }

  #keep(data: Buffer, at: number): number {
    this.#partial = compact(data.subarray(at))
    return data.length
  }

  /** `ws` reads this frame and everything behind it: it closes, with a code of its own. */
  #leave(data: Buffer, at: number): number {
    if (this.#state === 'ended') return data.length
    this.#state = 'left to ws'
    this.#socket.off('data', onData)
    this.#socket.on('data', this.#readByWs)
    if (at < data.length) this.#readByWs.call(this.#socket, data.subarray(at))
    return data.length
  }
}

function onData(this: ReadSocket, chunk: Buffer): void {
  this[reader]?.read(chunk)
}

function onClose(this: ReadSocket): void {
  this[reader]?.end()
}

/** Copies a small part of a chunk, because the part would keep the memory of the whole chunk. */
function compact(bytes: Buffer): Buffer {
  return bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes
}

/** @param hasOpenMessage Whether a fragmented message has begun and not ended. */
function isValid(first: number, second: number, hasOpenMessage: boolean): boolean {
  if ((first & reserved) !== 0 || (second & masked) === 0) return false
  const opcode = first & opcodeBits
  if (opcode === opcodes.continuation) return hasOpenMessage
  if (opcode <= opcodes.binary) return !hasOpenMessage
  const isControl = opcode >= opcodes.close && opcode <= opcodes.pong
  return isControl && (first & final) !== 0 && (second & lengthBits) <= longestControl
}

function headerBytes(second: number): number {
  const length = second & lengthBits
  return (length < length16 ? 2 : length === length16 ? 4 : 10) + maskBytes
}

/** Length of the payload of a frame that begins at `at`, in bytes. */
function payloadLength(data: Buffer, at: number): number {
  const length = data[at + 1]! & lengthBits
  if (length < length16) return length
  if (length < length64) return data.readUInt16BE(at + 2)
  return data.readUInt32BE(at + 2) * 2 ** 32 + data.readUInt32BE(at + 6)
}

/** Takes the mask off a text; undefined, with the mask on it again, if it is not UTF-8. */
function readText(data: Buffer, start: number, end: number): string | undefined {
  if (toggleMask(data, start, end) < 0x80) return data.toString('latin1', start, end)
  if (isUtf8(data.subarray(start, end))) return data.toString('utf8', start, end)
  toggleMask(data, start, end)
  return undefined
}

/** Puts the mask that stands before a text on or off; returns all bits that are in any byte. */
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
