/**
 * WebSockets whose network is the test, and WebSocket frames as bytes.
 */
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'

/** The broker's end of a connection. */
export interface Upgraded {
  /** Under the WebSocket: the test pushes what the client sends. */
  readonly raw: Duplex
  readonly websocket: WebSocket
}

const made: Duplex[] = []

/** Drops all connections, with the timers of `ws`. */
export function dropConnections(): void {
  for (const raw of made.splice(0)) raw.destroy()
}

/**
 * Makes a connection.
 *
 * @param onWrite Is told of each write; the write ends when `done` is called.
 */
export function upgrade(
  sockets: WebSocketServer,
  onWrite: (chunk: Buffer, done: () => void) => void = (_chunk, done) => done(),
): Upgraded {
  const raw = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => onWrite(chunk, done),
  })
  made.push(raw)
  const headers = {
    upgrade: 'websocket',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    'sec-websocket-version': '13',
  }
  const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage
  let accepted: WebSocket | undefined
  sockets.handleUpgrade(request, raw, Buffer.alloc(0), (websocket) => {
    accepted = websocket
  })
  return { raw, websocket: accepted! }
}

/** A frame of a client. */
export interface Frame {
  /** Its end flag, its reserved bits and its opcode. */
  readonly first: number
  readonly payload: Buffer
  readonly mask: Buffer | undefined
  /** Writes the length in eight bytes. */
  readonly isLong?: boolean
}

/** A frame with a mask. */
export function frame(first: number, words: string): Frame {
  return { first, payload: Buffer.from(words), mask: Buffer.from([1, 2, 3, 4]) }
}

export function encodeFrame({ first, payload, mask, isLong = false }: Frame): Buffer {
  const head = header(first, payload.length, mask === undefined ? 0 : 0x80, isLong)
  if (mask === undefined) return Buffer.concat([head, payload])
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)])
}

function header(first: number, length: number, maskBit: number, isLong: boolean): Buffer {
  if (isLong) {
    const bytes = Buffer.from([first, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    bytes.writeUInt32BE(length, 6)
    return bytes
  }
  return length < 126
    ? Buffer.from([first, maskBit | length])
    : Buffer.from([first, maskBit | 126, length >> 8, length & 0xff])
}
