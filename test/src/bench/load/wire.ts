/**
 * WebSocket frames by hand, for the load generator: a ruler has to be finer than what it measures,
 * and a WebSocket library at the client's end costs as much as a broker does at the other.
 *
 * Text frames only, which is all that the protocol has. Frames from the client are masked with a
 * key that is not zero, as a browser's are; servers take a short cut for zero keys.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'

/** What a connection tells its owner. */
export interface WireListener {
  /** A text frame. */
  onText(text: string): void
  /** The last frame of this turn on this connection was handed over. */
  onTurn(): void
  onClose(): void
}

const opcodes = { text: 0x1, close: 0x8, ping: 0x9 } as const

export class Wire {
  readonly #socket: Socket
  readonly #mask = Array.from({ length: 4 }, () => randomInt(1, 256))
  #rest: Buffer | undefined
  #listener: WireListener | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('close', () => this.#listener?.onClose())
    // The close that follows says all there is to say.
    socket.on('error', () => {})
  }

  listen(listener: WireListener): void {
    this.#listener = listener
  }

  /** @param text ASCII. */
  send(text: string): void {
    const length = text.length
    const start = length < 126 ? 6 : 8
    const frame = Buffer.allocUnsafe(start + length)
    frame[0] = 0x80 | opcodes.text
    if (length < 126) frame[1] = 0x80 | length
    else if (length < 65_536) {
      frame[1] = 0x80 | 126
      frame.writeUInt16BE(length, 2)
    } else throw new RangeError('a frame of the generator is at most 64 KiB')
    const mask = this.#mask
    for (let i = 0; i < 4; i++) frame[start - 4 + i] = mask[i]!
    frame.write(text, start, length, 'latin1')
    for (let i = 0; i < length; i++) frame[start + i]! ^= mask[i & 3]!
    this.#socket.write(frame)
  }

  /** Reads nothing more. */
  pause(): void {
    this.#socket.pause()
  }

  /** Drops the connection as a crash would. */
  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    let data = chunk
    if (this.#rest !== undefined) {
      data = Buffer.concat([this.#rest, chunk])
      this.#rest = undefined
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
    if (at < data.length) this.#rest = at === 0 ? data : data.subarray(at)
    this.#listener?.onTurn()
  }
}

interface Frame {
  readonly opcode: number
  readonly start: number
  readonly end: number
}

/** The frame that begins at `at`, if all of it is there. */
function readFrame(data: Buffer, at: number): Frame | undefined {
  if (data.length < at + 2) return undefined
  let start = at + 2
  let length = data[at + 1]! & 0x7f
  if (length === 126) {
    if (data.length < at + 4) return undefined
    length = data.readUInt16BE(at + 2)
    start = at + 4
  } else if (length === 127) {
    if (data.length < at + 10) return undefined
    length = Number(data.readBigUInt64BE(at + 2))
    start = at + 10
  }
  const end = start + length
  return data.length < end ? undefined : { opcode: data[at]! & 0x0f, start, end }
}

/** Opens a WebSocket; rejects if the server does not agree. */
export function openWire(url: string, subprotocol: string): Promise<Wire> {
  const { hostname, port, pathname } = new URL(url)
  const request = [
    `GET ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    `Sec-WebSocket-Protocol: ${subprotocol}`,
    '\r\n',
  ]
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: hostname, port: Number(port), noDelay: true })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('no upgrade: closed')))
    socket.once('connect', () => socket.write(request.join('\r\n')))
    // Nobody speaks before the client does, so the answer comes alone.
    socket.once('data', (answer) => {
      socket.off('error', reject)
      if (answer.toString('latin1', 0, 12) === 'HTTP/1.1 101') resolve(new Wire(socket))
      else reject(new Error(`no upgrade: ${answer.toString('latin1', 0, 60)}`))
    })
  })
}
