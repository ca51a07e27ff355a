/**
 * Functions for tests that write the protocol by hand: HTTP upgrades as bytes, and WebSockets
 * without the client library. With these functions a test can send messages that the library would
 * not send.
 */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ServerMessage, subprotocol } from '@holdfast/shared'
import { WebSocket } from 'ws'

/**
 * The head of an HTTP request that upgrades to a WebSocket.
 *
 * @param fields Header fields to add. A field replaces the default field of the same name.
 */
export function upgradeHead(requestTarget: string, fields: Record<string, string> = {}): string {
  const headers = {
    host: '127.0.0.1',
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    // Any 16 bytes in base64.
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'sec-websocket-protocol': subprotocol,
    ...fields,
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${requestTarget} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/**
 * Opens a TCP connection.
 *
 * @param allowHalfOpen Whether this side of the connection stays open after the other side has
 * ended its side. Default false.
 */
export async function openTcp(port: number, allowHalfOpen = false): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen })
  await once(socket, 'connect')
  return socket
}

/**
 * Sends bytes and returns the head of the answer, or '' if the socket closes first. Leaves the
 * socket open, so the caller must close it.
 */
export async function sendAndReadHead(socket: Socket, bytes: string): Promise<string> {
  socket.write(bytes)
  let answer = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    answer += String(chunk)
    if (answer.includes('\r\n\r\n')) break
  }
  return answer
}

/** Sends bytes on a new connection, and returns the status line of the answer. */
export async function sendAndReadStatus(port: number, bytes: string): Promise<string> {
  const socket = await openTcp(port)
  try {
    const [status = ''] = (await sendAndReadHead(socket, bytes)).split('\r\n')
    return status
  } finally {
    socket.destroy()
  }
}

/** A client that sends any message, and gives the test the messages that it receives. */
export class RawClient {
  readonly socket: WebSocket
  /** The received messages that no caller has read yet. */
  readonly #unread: ServerMessage[] = []
  /** Resolves the newest promise of `#changed`. */
  #wake: () => void = () => {}
  #closed: { readonly code: number; readonly reason: string } | undefined

  constructor(
    url: string,
    options: {
      readonly protocols?: string[]
      readonly origin?: string
      readonly headers?: Record<string, string>
    } = {},
  ) {
    const { protocols = [subprotocol], ...rest } = options
    this.socket = new WebSocket(url, protocols, rest)
    this.socket.on('message', (data) => {
      const parsed = JSON.parse(String(data)) as ServerMessage | ServerMessage[]
      this.#unread.push(...(Array.isArray(parsed) ? parsed : [parsed]))
      this.#wake()
    })
    this.socket.on('close', (code, reason) => {
      this.#closed = { code, reason: String(reason) }
      this.#wake()
    })
    this.socket.on('error', () => this.#wake())
  }

  /** Opens a client, sends a hello with these fields, and waits for the welcome of the broker. */
  static async open(url: string, helloFields: object = {}): Promise<RawClient> {
    const client = new RawClient(url)
    await client.opened()
    client.send({ type: 'hello', ...helloFields })
    await client.receive('welcome')
    return client
  }

  /** Resolves when the WebSocket is open. */
  async opened(): Promise<void> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open')
  }

  /** Sends messages in one frame: one message as an object, several as an array. */
  send(...messages: readonly object[]): void {
    this.socket.send(JSON.stringify(messages.length === 1 ? messages[0] : messages))
  }

  /** Resolves with the next message of any type. */
  async next(): Promise<ServerMessage> {
    for (;;) {
      const message = this.#unread.shift()
      if (message !== undefined) return message
      if (this.#closed !== undefined)
        throw new Error(`The broker closed the connection with ${this.#closed.code}`)
      await this.#changed()
    }
  }

  /** Resolves with the next message of this type, and drops the messages before that message. */
  async receive<T extends ServerMessage['type']>(
    type: T,
  ): Promise<Extract<ServerMessage, { type: T }>> {
    for (;;) {
      for (;;) {
        const message = this.#unread.shift()
        if (message === undefined) break
        if (message.type === type) return message as Extract<ServerMessage, { type: T }>
      }
      if (this.#closed !== undefined)
        throw new Error(`The broker closed the connection with ${this.#closed.code}`)
      await this.#changed()
    }
  }

  /** Resolves with the close code and the reason when the connection has closed. */
  async closed(): Promise<{ readonly code: number; readonly reason: string }> {
    while (this.#closed === undefined) await this.#changed()
    return this.#closed
  }

  /** Drops the connection without a close frame, like a process that dies. */
  drop(): void {
    this.socket.terminate()
  }

  /** Resolves when a message arrives, or when the connection closes or fails. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
