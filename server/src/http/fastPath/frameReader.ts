/**
 * Reads the frames that clients nearly always send, without `ws`: text in one piece that came in at
 * most two chunks from the network. `ws` makes half a dozen objects of such a frame, and keeps some
 * of them until the next one, which is long for a client that only answers pings.
 *
 * From the first frame on that is anything else, or wrong in any way, `ws` reads everything: it
 * knows what to do with it.
 */
import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import type { SocketListener } from '../../connection/socket.js'

/** First byte of a frame that is text and whole. */
const wholeText = 0x81
/** Second byte: the payload is masked, as a client's must be; its length is in the other bits. */
const masked = 0x80
/** In place of the length, when the length follows in two bytes. */
const longer = 126
const maskBytes = 4

type Listener = Pick<SocketListener, 'onFrame'>
type OnData = (this: Readable, chunk: Buffer) => void

/** Where a socket keeps its reader, so that all of them share one function that listens. */
const reader = Symbol('reader')

interface ReadSocket extends Readable {
  [reader]?: FrameReader
}

export class FrameReader {
  readonly #listener: Listener
  readonly #maxBytes: number
  readonly #readByWs: OnData
  /** The beginning of a frame whose end has not come yet. */
  #rest: Buffer | undefined

  private constructor(listener: Listener, maxBytes: number, readByWs: OnData) {
    this.#listener = listener
    this.#maxBytes = maxBytes
    this.#readByWs = readByWs
  }

  /**
   * Reads what comes to a socket from now on, if nobody but `ws` does.
   *
   * @param maxBytes Of a text; what is longer is for `ws` to refuse.
   */
  static attach(socket: Readable, listener: Listener, maxBytes: number): void {
    const [readByWs, another] = socket.listeners('data') as OnData[]
    if (readByWs === undefined || another !== undefined) return
    ;(socket as ReadSocket)[reader] = new FrameReader(listener, maxBytes, readByWs)
    socket.on('data', onData)
    socket.off('data', readByWs)
  }

  read(socket: Readable, chunk: Buffer): void {
    const rest = this.#rest
    const data = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    this.#rest = undefined
    for (let at = 0; at < data.length; ) {
      const start = startOfText(data, at)
      const end = endOfText(data, at)
      const isSound = end - start <= this.#maxBytes
      // Only once: to join many small chunks again and again would take for ever.
      if (isSound && end > data.length && (at > 0 || rest === undefined)) {
        this.#rest = data.subarray(at)
        return
      }
      const text = isSound && end <= data.length ? readText(data, start, end) : undefined
      if (text === undefined) {
        this.#leave(socket, data.subarray(at))
        return
      }
      at = end
      this.#listener.onFrame(text)
    }
  }

  #leave(socket: Readable, unread: Buffer): void {
    socket.off('data', onData)
    socket.on('data', this.#readByWs)
    this.#readByWs.call(socket, unread)
  }
}

function onData(this: ReadSocket, chunk: Buffer): void {
  this[reader]?.read(this, chunk)
}

/** Where the text begins in a frame that begins at `at`. */
function startOfText(data: Buffer, at: number): number {
  return at + (data[at + 1] === masked + longer ? 4 : 2) + maskBytes
}

/** Where it ends, or at the least, if its header is not all there; NaN if it is no such frame. */
function endOfText(data: Buffer, at: number): number {
  const length = (data[at + 1] ?? masked) - masked
  if (data[at] !== wholeText || length < 0 || length > longer) return Number.NaN
  const start = startOfText(data, at)
  if (length < longer) return start + length
  return start <= data.length ? start + data.readUInt16BE(at + 2) : start
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
