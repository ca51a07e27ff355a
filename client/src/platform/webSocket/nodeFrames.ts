/**
 * The fast path of the client in Node: common frames bypass `ws`. The client itself writes text
 * frames, and reads text frames that are whole messages. For each frame, `ws` would make a dozen
 * objects, and would write header and payload as two buffers. `test/bench/README.md` has the
 * measured gain.
 *
 * `ws` does everything else: the HTTP upgrade, all other frames, and the closing handshake. The
 * client passes each ping and pong to `ws`, and goes on reading. From the first frame of any other
 * kind on, `ws` reads the connection.
 *
 * The fast path makes these assumptions about the inside of `ws`:
 *
 * 1. When `ws` emits `open`, the network socket has exactly one `data` listener, which `ws` added.
 * 2. That listener keeps no state between two frames, except the state of a fragmented message.
 * 3. If no extension compresses, `ws` writes to the socket before `send`, `pong` and `close`
 *    return. So a write of the client cannot overtake a frame of `ws`.
 *
 * `client/package.json` allows only releases of `ws` whose source was checked for these
 * assumptions.
 */
import { isUtf8 } from 'node:buffer'
import { randomFillSync } from 'node:crypto'

/** First bytes of frames: of a text frame that is a whole message, of a ping and of a pong. */
const wholeText = 0x81
const ping = 0x89
const pong = 0x8a
/**
 * If the second byte of a frame has this value, the length of the payload follows in two bytes. A
 * smaller second byte is the length itself.
 */
const length16Marker = 126
/** The most bytes of a payload whose length is written in two bytes. */
const maxLength16 = 0xffff
/** The longest payload of a control frame, such as a ping, in bytes. */
const maxControlBytes = 125
/** The bit of the second byte that marks a masked payload. Every client must mask. */
const maskBit = 0x80
const maskBytes = 4
const replacementCharacter = '\ufffd'

type OnData = (this: DataSocket, chunk: Buffer) => void

/** The members of Node's network socket that the reader uses. */
export interface DataSocket {
  listeners(event: 'data'): unknown[]
  on(event: 'data', listener: (chunk: Buffer) => void): void
  off(event: 'data', listener: (chunk: Buffer) => void): void
}

/**
 * A supply of random bytes for masks, because making four random bytes at a time is slow. The
 * length is a multiple of `maskBytes`, so the supply never ends within a mask.
 */
const maskPool = Buffer.alloc(8_192)
/** Initially all bytes count as used, so the first frame fills the pool. */
let usedMaskBytes = maskPool.length

/** Encodes a text as one masked frame. Returns undefined for a text of more than 65,535 bytes. */
export function textFrame(text: string): Buffer | undefined {
  const length = Buffer.byteLength(text)
  if (length > maxLength16) return undefined
  // The header has two bytes, and two further bytes for a longer length.
  const payloadStart = (length < length16Marker ? 2 : 4) + maskBytes
  const frame = Buffer.allocUnsafe(payloadStart + length)
  frame[0] = wholeText
  if (length < length16Marker) frame[1] = maskBit | length
  else {
    frame[1] = maskBit | length16Marker
    frame[2] = length >> 8
    frame[3] = length & 0xff
  }
  if (usedMaskBytes === maskPool.length) {
    randomFillSync(maskPool)
    usedMaskBytes = 0
  }
  const maskStart = payloadStart - maskBytes
  const mask0 = maskPool[usedMaskBytes++]!
  const mask1 = maskPool[usedMaskBytes++]!
  const mask2 = maskPool[usedMaskBytes++]!
  const mask3 = maskPool[usedMaskBytes++]!
  frame[maskStart] = mask0
  frame[maskStart + 1] = mask1
  frame[maskStart + 2] = mask2
  frame[maskStart + 3] = mask3
  // If every character has one byte, Node writes the text faster as `latin1` than as UTF-8.
  if (length === text.length) frame.write(text, payloadStart, 'latin1')
  else frame.write(text, payloadStart)
  // Masks four bytes in each step, because a loop over single bytes takes twice as long.
  let i = payloadStart
  for (; i + maskBytes <= frame.length; i += maskBytes) {
    frame[i]! ^= mask0
    frame[i + 1]! ^= mask1
    frame[i + 2]! ^= mask2
    frame[i + 3]! ^= mask3
  }
  // At most three bytes are left.
  for (let j = maskStart; i < frame.length; i++, j++) frame[i]! ^= frame[j]!
  return frame
}

/** Reads the frames of the broker in place of the data listener of `ws`. */
export class FrameReader {
  readonly #socket: DataSocket
  /** The data listener of `ws`. */
  readonly #wsListener: OnData
  readonly #onText: (text: string) => void
  readonly #onData = (chunk: Buffer): void => this.#read(chunk)
  /** The chunks of an incomplete frame; empty between two frames. */
  #chunks: Buffer[] = []
  /** The length of all `#chunks` together. */
  #chunkBytes = 0
  /** How many bytes `#chunks` must have before the reader looks at the frame again. */
  #neededBytes = 0
  /** Whether this reader has left the connection to `ws`. */
  #isLeftToWs = false

  private constructor(socket: DataSocket, wsListener: OnData, onText: (text: string) => void) {
    this.#socket = socket
    this.#wsListener = wsListener
    this.#onText = onText
  }

  /**
   * Replaces the data listener of `ws`. If the socket has any other data listener, leaves the
   * socket to `ws`.
   *
   * @param onText Called with each text that is a whole message.
   */
  static attach(socket: DataSocket, onText: (text: string) => void): void {
    const [wsListener, otherListener] = socket.listeners('data') as OnData[]
    if (wsListener === undefined || otherListener !== undefined) return
    const reader = new FrameReader(socket, wsListener, onText)
    socket.off('data', wsListener)
    socket.on('data', reader.#onData)
  }

  #read(chunk: Buffer): void {
    let data = chunk
    if (this.#chunks.length > 0) {
      this.#chunks.push(chunk)
      this.#chunkBytes += chunk.length
      if (this.#chunkBytes < this.#neededBytes) return
      data = Buffer.concat(this.#chunks)
      this.#chunks = []
    }
    let at = 0
    while (at < data.length && !this.#isLeftToWs) at = this.#readFrame(data, at)
  }

  /** Reads the frame that begins at index `at`. Returns the index of the next byte to read. */
  #readFrame(data: Buffer, at: number): number {
    const firstByte = data[at]!
    const isText = firstByte === wholeText
    if (!isText && firstByte !== ping && firstByte !== pong) return this.#leaveToWs(data, at)
    const lengthByte = data[at + 1]
    // The shortest header has two bytes.
    if (lengthByte === undefined) return this.#waitFor(2, data, at)
    // A larger byte means that the payload is too long or masked. A broker must not mask payloads.
    if (lengthByte > (isText ? length16Marker : maxControlBytes)) return this.#leaveToWs(data, at)
    const isShort = lengthByte < length16Marker
    const payloadStart = at + (isShort ? 2 : 4)
    // Two bytes have arrived, so only a header of four bytes can be incomplete.
    if (payloadStart > data.length) return this.#waitFor(4, data, at)
    const frameEnd = payloadStart + (isShort ? lengthByte : data.readUInt16BE(at + 2))
    if (frameEnd > data.length) return this.#waitFor(frameEnd - at, data, at)
    if (!isText) {
      this.#wsListener.call(this.#socket, data.subarray(at, frameEnd))
      return frameEnd
    }
    const text = data.toString('utf8', payloadStart, frameEnd)
    // Node decodes invalid UTF-8 as U+FFFD. The slower `isUtf8` runs only for such a text.
    const mayBeInvalid = text.includes(replacementCharacter)
    if (mayBeInvalid && !isUtf8(data.subarray(payloadStart, frameEnd))) {
      return this.#leaveToWs(data, at)
    }
    this.#onText(text)
    return frameEnd
  }

  /** Keeps the beginning of a frame until `neededBytes` bytes of the frame have arrived. */
  #waitFor(neededBytes: number, data: Buffer, at: number): number {
    this.#chunks = [data.subarray(at)]
    this.#chunkBytes = data.length - at
    this.#neededBytes = neededBytes
    return data.length
  }

  /**
   * Leaves this frame and all later bytes to `ws`. The frame is a close frame, a part of a
   * fragmented message, a text of more than 65,535 bytes, binary, or invalid.
   */
  #leaveToWs(data: Buffer, at: number): number {
    this.#isLeftToWs = true
    this.#socket.off('data', this.#onData)
    this.#socket.on('data', this.#wsListener)
    this.#wsListener.call(this.#socket, data.subarray(at))
    return data.length
  }
}
