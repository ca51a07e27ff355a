/**
 * One WebSocket to a broker: sends `hello`, waits for `welcome`, reads frames, and writes all
 * messages of a turn as one frame.
 *
 * A connection numbers its messages and remembers when it sent them, because the lease is counted
 * from the sending of an acknowledged message. A connection has no timers and does not reconnect;
 * the reconnector does both.
 */
import {
  faultOf,
  maxFrameBytes,
  parseFrame,
  type ServerMessage,
  subprotocol,
  type Welcome,
} from '@holdfast/shared'
import { type ClockReading, type Environment, readClocks } from '../platform/environment.js'
import type { WebSocketConstructor, WebSocketLike } from '../platform/webSocket/types.js'

/**
 * Thrown for a message that has a valid form and an impossible meaning, such as a response to a
 * request that was not sent. A handler throws it before it changes any state; the connection
 * catches it and fails. `message` completes "the broker sent an invalid message: …".
 */
export class ProtocolViolation extends Error {}

/** How a connection ended. */
export interface Closing {
  /** The close code of the WebSocket; 1006 if it ended without one. */
  readonly code: number
  readonly reason: string
  /** The error that the platform reported, if there was one. */
  readonly cause?: unknown
  /**
   * The broker sent an invalid message, or the WebSocket threw from `send`. The next connection may
   * fail in the same way.
   */
  readonly isFault?: boolean
  /** URL of the proxy, if the connection used one. */
  readonly via?: string | undefined
}

export interface ConnectionListener {
  /** A frame has arrived, and none of its messages has been handled: time to check deadlines. */
  onFrame(): void
  /** The broker accepted the `hello`, which was sent at `sentAt`. */
  onWelcome(welcome: Welcome, sentAt: ClockReading): void
  onMessage(message: ServerMessage): void
  /** The connection is gone, and not by `drop`. The last call of this listener. */
  onClose(closing: Closing): void
}

/** A message that records when it was sent, on which connection, and by which number. */
export interface Sendable {
  sentOn: Connection | undefined
  /** Its number among the messages of the connection. */
  messageNumber: number
  sentAt: ClockReading | undefined
  /** Called when the socket has accepted the message. */
  onSent?(): void
}

/** Most UTF-16 units of a frame that the broker accepts; each unit has at most 3 bytes. */
const maxUnits = Math.floor(maxFrameBytes / 3)

export class Connection {
  readonly #environment: Environment
  readonly #listener: ConnectionListener
  readonly #hello: string
  readonly #socket: WebSocketLike
  #state: 'opening' | 'greeting' | 'up' | 'closed' = 'opening'
  #texts: string[] = []
  #awaitingClockReading: Sendable[] = []
  /** How many messages were passed to `send`, with the `hello`. */
  #count = 0
  /** The number of the first message of each write, and the time of the write; oldest first. */
  readonly #writes: { readonly first: number; readonly at: ClockReading }[] = []
  #cause: unknown

  /** @throws the error of the WebSocket constructor, for a URL that it refuses */
  constructor(
    environment: Environment,
    WebSocketClass: WebSocketConstructor,
    url: string,
    hello: string,
    listener: ConnectionListener,
  ) {
    this.#environment = environment
    this.#hello = hello
    this.#listener = listener
    const socket = new WebSocketClass(url, subprotocol)
    this.#socket = socket
    socket.onopen = () => this.#greet()
    socket.onmessage = (event) => this.#onFrame(event.data)
    socket.onerror = (event) => {
      const { error, message } = event as { error?: unknown; message?: unknown }
      // Only the first error says why; the end of the connection reports another error.
      this.#cause ??= error ?? (typeof message === 'string' ? new Error(message) : undefined)
    }
    socket.onclose = ({ code, reason }) => this.#end({ code, reason, cause: this.#cause })
  }

  /** Queues a message for the end of the turn. Returns its number on this connection. */
  send(text: string, message?: Sendable): number {
    if (this.#texts.length === 0) this.#environment.endOfTurn(() => this.flush())
    this.#texts.push(text)
    this.#count++
    if (message !== undefined) {
      message.sentOn = this
      message.messageNumber = this.#count
      this.#awaitingClockReading.push(message)
    }
    return this.#count
  }

  /** Writes the queued messages now. */
  flush(): void {
    const texts = this.#texts
    if (this.#state !== 'up' || texts.length === 0) return
    const messages = this.#awaitingClockReading
    this.#texts = []
    this.#awaitingClockReading = []
    const at = this.#recordWrite(this.#count - texts.length + 1)
    // Before the write, because a socket that fails may have sent some of the messages.
    for (const message of messages) message.sentAt = at
    let frame: string[] = []
    let units = 0
    for (const text of texts) {
      units += text.length + 1
      // A single message is never too long.
      if (units > maxUnits) {
        if (!this.#write(frame)) return
        frame = []
        units = text.length + 1
      }
      frame.push(text)
    }
    if (!this.#write(frame)) return
    for (const message of messages) message.onSent?.()
  }

  /**
   * Records that the broker has received the first `n` messages. Returns when the last of these was
   * sent; undefined if a later message is known to have arrived already.
   */
  arrived(n: number): ClockReading | undefined {
    const writes = this.#writes
    if (n > this.#count) return undefined
    while (writes.length > 1 && writes[1]!.first <= n) writes.shift()
    const newest = writes[0]
    return newest !== undefined && newest.first <= n ? newest.at : undefined
  }

  /** Chooses whether the connection keeps the process alive, where the platform can. */
  keepProcessAlive(isRef: boolean): void {
    if (isRef) this.#socket.ref?.()
    else this.#socket.unref?.()
  }

  /** Ends the connection at once, without a call of the listener. */
  drop(): void {
    this.#state = 'closed'
    const socket = this.#socket
    socket.onopen = null
    socket.onmessage = null
    socket.onclose = null
    // The error listener stays, because `ws` reports an error when a connecting socket is dropped.
    // An error without a listener would end the process.
    try {
      if (socket.terminate !== undefined) socket.terminate()
      else socket.close()
    } catch {
      // The socket is closed already.
    }
  }

  /** Ends the connection at once, as if the network had dropped it. */
  fail(message: string, code = 1006): void {
    this.#fail({ code, reason: '', cause: new Error(message) })
  }

  #fail(closing: Closing): void {
    if (this.#state === 'closed') return
    this.drop()
    this.#listener.onClose({ ...closing, via: this.#socket.via })
  }

  #failByFault(cause: unknown): void {
    this.#fail({ code: 1006, reason: '', cause, isFault: true })
  }

  #greet(): void {
    if (this.#socket.protocol !== subprotocol) {
      this.fail(`the server does not speak ${subprotocol}`)
      return
    }
    this.#state = 'greeting'
    this.#count = 1
    this.#recordWrite(1)
    this.#write([this.#hello])
  }

  #onFrame(data: unknown): void {
    const messages = typeof data === 'string' ? parseFrame(data) : undefined
    if (messages === undefined) {
      this.#failByFault(new Error('the broker sent a frame that is not JSON'))
      return
    }
    this.#listener.onFrame()
    for (let i = 0; i < messages.length; i++) {
      if (this.#state === 'closed') return
      const fault = faultOf(messages[i]) ?? this.#handle(messages[i] as ServerMessage)
      if (fault !== undefined) {
        const place = messages.length > 1 ? ` (message ${i + 1} of ${messages.length})` : ''
        this.#failByFault(new Error(`the broker sent an invalid message: ${fault}${place}`))
        return
      }
    }
  }

  /** Handles the message. Returns the text of the protocol violation if there is one. */
  #handle(message: ServerMessage): string | undefined {
    try {
      if (this.#state === 'up') this.#listener.onMessage(message)
      else this.#welcome(message)
      return undefined
    } catch (error) {
      if (error instanceof ProtocolViolation) return error.message
      throw error
    }
  }

  #welcome(message: ServerMessage): void {
    if (message.type !== 'welcome') throw new ProtocolViolation('welcome must answer hello')
    this.#state = 'up'
    this.#listener.onWelcome(message, this.#writes[0]!.at)
  }

  #recordWrite(first: number): ClockReading {
    const at = readClocks(this.#environment.clock)
    this.#writes.push({ first, at })
    return at
  }

  /**
   * Returns false if the socket threw. Then the connection fails, because the messages of the frame
   * are lost, and a lost request would wait for ever on a connection that goes on.
   */
  #write(texts: readonly string[]): boolean {
    try {
      this.#socket.send(texts.length === 1 ? texts[0]! : `[${texts.join()}]`)
      return true
    } catch (error) {
      this.#failByFault(error)
      return false
    }
  }

  #end(closing: Closing): void {
    this.#state = 'closed'
    this.#socket.onmessage = null
    this.#listener.onClose({ ...closing, via: this.#socket.via })
  }
}
