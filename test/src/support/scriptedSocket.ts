/**
 * A WebSocket for which the test plays the server. The socket records all frames of the client. The
 * client receives only the messages and events that the test sends.
 */
import type { WebSocketConstructor, WebSocketLike } from '@holdfast/client/internal'
import { type ClientMessage, type ServerMessage, subprotocol } from '@holdfast/shared'

export class ScriptedSocket implements WebSocketLike {
  readonly url: string
  /** The subprotocols that the client offered. */
  readonly offeredProtocols: string | string[] | undefined
  protocol = ''
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  /** The frames that the client sent, in order. */
  readonly frames: string[] = []
  /** Whether the client has closed the socket. */
  closedByClient = false
  #readCount = 0

  constructor(url: string, protocols?: string | string[]) {
    this.url = url
    this.offeredProtocols = protocols
  }

  send(data: string): void {
    this.frames.push(data)
  }

  close(): void {
    this.closedByClient = true
  }

  /** All messages that the client sent. */
  get sent(): ClientMessage[] {
    return this.frames.flatMap((frame) => JSON.parse(frame) as ClientMessage | ClientMessage[])
  }

  /** The messages that the client sent since the last call. */
  newMessages(): ClientMessage[] {
    const unreadMessages = this.sent.slice(this.#readCount)
    this.#readCount += unreadMessages.length
    return unreadMessages
  }

  // ------------------------------------------------------------------------ the broker's side

  /** Opens the socket with this subprotocol. */
  accept(protocol: string = subprotocol): void {
    this.protocol = protocol
    this.onopen?.({})
  }

  /** Sends one frame with these messages. */
  deliver(...messages: readonly (ServerMessage | Record<string, unknown>)[]): void {
    this.deliverData(JSON.stringify(messages.length === 1 ? messages[0] : messages))
  }

  /** Sends one frame with this content, which need not be a valid message. */
  deliverData(data: unknown): void {
    this.onmessage?.({ data })
  }

  /** Ends the connection. The default code 1006 means an end without a closing handshake. */
  end(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason })
  }

  /** Reports an error, and ends the connection. */
  fail(error: Error): void {
    this.onerror?.({ error, message: error.message })
    this.end()
  }
}

export interface ScriptedNetwork {
  readonly WebSocket: WebSocketConstructor
  /** Every socket so far, oldest first. */
  readonly sockets: readonly ScriptedSocket[]
  /** The newest socket. */
  readonly lastSocket: ScriptedSocket
}

/** Makes a network with its own WebSocket class. The network lists every socket of the class. */
export function scriptedNetwork(): ScriptedNetwork {
  const sockets: ScriptedSocket[] = []
  return {
    WebSocket: class extends ScriptedSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols)
        sockets.push(this)
      }
    },
    sockets,
    get lastSocket() {
      const socket = sockets.at(-1)
      if (socket === undefined) throw new Error('The client has opened no socket')
      return socket
    },
  }
}
