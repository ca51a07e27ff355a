/**
 * Makes WebSockets of `ws` on a fake TCP socket that the test controls, and encodes frames of a
 * client.
 */
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { WebSocket, type WebSocketServer } from 'ws'

/** The broker's end of a connection, after the upgrade. */
export interface Upgraded {
  /** The socket below the WebSocket. The test pushes the bytes that the client sends. */
  readonly raw: Duplex
  readonly websocket: WebSocket
}

const openSockets: Duplex[] = []

/** Destroys all connections, which stops the timers of `ws`. */
export function dropConnections(): void {
  for (const raw of openSockets.splice(0)) raw.destroy()
}

/** Called for each write to the socket. The write ends when the function calls `done`. */
type OnWrite = (chunk: Buffer, done: () => void) => void

/** Makes a fake TCP socket. */
export function makeSocket(onWrite: OnWrite = (_chunk, done) => done()): Duplex {
  const duplex = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => onWrite(chunk, done),
  })
  openSockets.push(duplex)
  return duplex
}

/** The private method of `ws` that attaches a WebSocket to a raw socket. */
interface WithSetSocket {
  setSocket(raw: Duplex, head: Buffer, options: object): void
}

/**
 * Makes a WebSocket of `ws` for a socket whose upgrade `ws` has not answered. If the broker itself
 * has answered the upgrade, the broker makes such a WebSocket when it first needs `ws`.
 *
 * @param options The options of `ws`.
 */
export function adoptSocket(raw: Duplex, options: object): Upgraded {
  // A client passes the address of its server. `null` makes the WebSocket of a server.
  const websocket = new WebSocket(null as unknown as string, undefined, options)
  ;(websocket as unknown as WithSetSocket).setSocket(raw, Buffer.alloc(0), options)
  return { raw, websocket }
}

/** Makes a connection whose upgrade `ws` answers. */
export function upgradeConnection(server: WebSocketServer, onWrite?: OnWrite): Upgraded {
  const duplex = makeSocket(onWrite)
  const headers = {
    upgrade: 'websocket',
    'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    'sec-websocket-version': '13',
  }
  const request = { method: 'GET', url: '/', headers } as unknown as IncomingMessage
  let accepted: WebSocket | undefined
  server.handleUpgrade(request, duplex, Buffer.alloc(0), (websocket) => {
    accepted = websocket
  })
  return { raw: duplex, websocket: accepted! }
}

/** A frame that a client sends, valid or invalid. */
export interface Frame {
  /** The first byte: the end flag, the reserved bits and the opcode. */
  readonly first: number
  readonly payload: Buffer
  /** A valid frame of a client has a mask of four bytes. */
  readonly mask: Buffer | undefined
  /** Whether the length is encoded in eight bytes, even if fewer would do. Default: false. */
  readonly isLong?: boolean
}

/** Makes a frame with a mask. */
export function maskedFrame(firstByte: number, text: string): Frame {
  return { first: firstByte, payload: Buffer.from(text), mask: Buffer.from([1, 2, 3, 4]) }
}

/** Returns the bytes of a frame. */
export function encodeFrame({ first, payload, mask, isLong = false }: Frame): Buffer {
  const head = header(first, payload.length, mask === undefined ? 0 : 0x80, isLong)
  if (mask === undefined) return Buffer.concat([head, payload])
  // The four bytes of the mask repeat over the payload.
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i & 3]!)])
}

/**
 * The header of a frame, without the mask. The second byte is the length, or announces that the
 * length follows: 126 announces two bytes, and 127 announces eight bytes.
 */
function header(firstByte: number, length: number, maskBit: number, isLong: boolean): Buffer {
  if (isLong) {
    const bytes = Buffer.from([firstByte, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 0])
    bytes.writeUInt32BE(length, 6)
    return bytes
  }
  return length < 126
    ? Buffer.from([firstByte, maskBit | length])
    : Buffer.from([firstByte, maskBit | 126, length >> 8, length & 0xff])
}
