/**
 * A WebSocket connection of the load generator. This file writes and reads the frames itself. A
 * WebSocket library in the load generator would use as much time as the broker, and so hide the
 * cost of the broker.
 *
 * The protocol needs text frames only. Like a browser, the client sends frames with a mask other
 * than zero. With zero masks, the servers would use a faster code path than usual.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'

/** The callbacks of a connection. */
export interface WireListener {
  /** Called for each text frame. */
  onText(text: string): void
  /**
   * Called after the calls of `onText` for one chunk of input, usually once in a turn of the event
   * loop.
   */
  onTurn(): void
  onClose(): void
}

/** The kinds of WebSocket frames (RFC 6455, section 5.2). */
const opcodes = { continuation: 0x0, text: 0x1, close: 0x8, ping: 0x9 } as const
/**
 * The second byte of a frame is the length of the payload if that is below 126 bytes. Otherwise the
 * second byte is one of these codes, and the length follows in two or eight bytes.
 */
const lengthCodes = { twoBytes: 126, eightBytes: 127 } as const
/** The largest payload of a ping, in bytes. */
const maxPingBytes = 125
/** The beginning of a response that accepts the upgrade. */
const acceptedStart = 'HTTP/1.1 101'

export class Wire {
  readonly #socket: Socket
  readonly #mask = Array.from({ length: 4 }, () => randomInt(1, 256))
  /** The beginning of a frame that has not arrived completely. */
  #partialFrame: Buffer | undefined
  #listener: WireListener | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('close', () => this.#listener?.onClose())
    // The event "close" follows every error.
    socket.on('error', () => {})
  }

  /** Sets the callbacks. They replace the former callbacks. */
  listen(listener: WireListener): void {
    this.#listener = listener
  }

  /** Sends a text frame. @param text Must be ASCII. */
  send(text: string): void {
    this.#socket.write(this.#frame(opcodes.text, /* isLast */ true, text))
  }

  /**
   * Sends a message in fragments of one character each.
   *
   * @param text Must be ASCII.
   */
  sendInFragments(text: string): void {
    const last = text.length - 1
    const fragments = Array.from(text, (character, i) =>
      this.#frame(i === 0 ? opcodes.text : opcodes.continuation, i === last, character),
    )
    this.#socket.write(Buffer.concat(fragments))
  }

  /** Sends the text `count` times, each time in a frame of its own. Makes one write. */
  sendSingly(text: string, count: number): void {
    const frame = this.#frame(opcodes.text, /* isLast */ true, text)
    this.#socket.write(Buffer.concat(Array.from({ length: count }, () => frame)))
  }

  /** Sends `count` WebSocket pings with the largest payload. */
  sendPings(count: number): void {
    const frame = this.#frame(opcodes.ping, /* isLast */ true, 'x'.repeat(maxPingBytes))
    this.#socket.write(Buffer.concat(Array.from({ length: count }, () => frame)))
  }

  /** Whether sent bytes wait in this process because the server does not read. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain
  }

  /**
   * Resolves when all sent bytes have left this process, or the connection has closed. Call only
   * while `isFull` is true.
   */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done)
        this.#socket.off('close', done)
        resolve()
      }
      this.#socket.on('drain', done)
      this.#socket.on('close', done)
    })
  }

  /** Stops reading until `resume`. */
  pause(): void {
    this.#socket.pause()
  }

  /** Reads again after `pause`. */
  resume(): void {
    this.#socket.resume()
  }

  /** Reads and ignores all bytes from now on. */
  discard(): void {
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', () => {})
  }

  /** Reads one byte now, and then nothing until the next call. */
  readByte(): void {
    this.#socket.removeAllListeners('data')
    this.#socket.pause()
    this.#socket.read(1)
  }

  /** A masked frame. @param isLast Whether the frame is the last fragment of its message. */
  #frame(opcode: number, isLast: boolean, text: string): Buffer {
    const length = text.length
    // The header has two bytes and the mask of four bytes; from 126 bytes of payload, two more.
    const payloadStart = length < lengthCodes.twoBytes ? 6 : 8
    const frame = Buffer.allocUnsafe(payloadStart + length)
    // 0x80 marks the last fragment in the first byte, and a masked payload in the second byte.
    frame[0] = (isLast ? 0x80 : 0) | opcode
    if (length < lengthCodes.twoBytes) frame[1] = 0x80 | length
    else if (length < 65_536) {
      frame[1] = 0x80 | lengthCodes.twoBytes
      frame.writeUInt16BE(length, 2)
    } else
      throw new RangeError(
        `A frame of the load generator must be below 64 KiB, not ${length} bytes`,
      )
    const mask = this.#mask
    for (let i = 0; i < 4; i++) frame[payloadStart - 4 + i] = mask[i]!
    frame.write(text, payloadStart, length, 'latin1')
    for (let i = 0; i < length; i++) frame[payloadStart + i]! ^= mask[i & 3]!
    return frame
  }

  /** Drops the connection like a crash. */
  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    let data = chunk
    if (this.#partialFrame !== undefined) {
      data = Buffer.concat([this.#partialFrame, chunk])
      this.#partialFrame = undefined
    }
    let at = 0
    for (;;) {
      const frame = readFrame(data, at)
      if (frame === undefined) break
      at = frame.end
      if (frame.opcode === opcodes.text) {
        this.#listener?.onText(data.toString('latin1', frame.start, frame.end))
      } else if (frame.opcode === opcodes.close) this.#socket.end()
    }
    if (at < data.length) this.#partialFrame = at === 0 ? data : data.subarray(at)
    this.#listener?.onTurn()
  }
}

/** The opcode of a frame, and where its payload begins and ends in the received bytes. */
interface Frame {
  readonly opcode: number
  readonly start: number
  readonly end: number
}

/**
 * The frame that begins at the offset `at`; undefined if the frame has not arrived completely. The
 * header has two bytes, and two or eight more bytes for a longer length. A frame of a server has no
 * mask.
 */
function readFrame(data: Buffer, at: number): Frame | undefined {
  if (data.length < at + 2) return undefined
  let start = at + 2
  let length = data[at + 1]! & 0x7f
  if (length === lengthCodes.twoBytes) {
    if (data.length < at + 4) return undefined
    length = data.readUInt16BE(at + 2)
    start = at + 4
  } else if (length === lengthCodes.eightBytes) {
    if (data.length < at + 10) return undefined
    length = Number(data.readBigUInt64BE(at + 2))
    start = at + 10
  }
  const end = start + length
  return data.length < end ? undefined : { opcode: data[at]! & 0x0f, start, end }
}

/**
 * Opens a WebSocket. Rejects if the server refuses the upgrade.
 *
 * @param localAddress The local address of the connection. Default: the system chooses an address.
 */
export function openWire(url: string, subprotocol: string, localAddress?: string): Promise<Wire> {
  const { hostname, port, pathname } = new URL(url)
  const request = [
    `GET ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    `Sec-WebSocket-Protocol: ${subprotocol}`,
    // `join` ends the last header; this is the empty line after the headers.
    '\r\n',
  ]
  return new Promise((resolve, reject) => {
    const target = { host: hostname, port: Number(port), noDelay: true }
    const options = localAddress === undefined ? target : { ...target, localAddress }
    const socket = createConnection(options)
    socket.once('error', reject)
    socket.once('close', () =>
      reject(new Error(`${url} closed the connection instead of an upgrade`)),
    )
    socket.once('connect', () => socket.write(request.join('\r\n')))
    // This chunk has no frame: the server sends none before the first message of the client.
    socket.once('data', (answer) => {
      socket.off('error', reject)
      if (answer.toString('latin1', 0, acceptedStart.length) === acceptedStart)
        resolve(new Wire(socket))
      else reject(new Error(`${url} refused the upgrade: ${answer.toString('latin1', 0, 60)}`))
    })
  })
}
