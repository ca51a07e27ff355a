/**
 * One WebSocket to a broker: hello and welcome, frames in, batched frames out.
 *
 * It counts the messages it sends and remembers when, because an acknowledged message is what the
 * lease is counted from. It has no timers and never comes back: whoever made it decides about both.
 */
import {
  faultOf,
  maxFrameBytes,
  parseFrame,
  type ServerMessage,
  subprotocol,
  type Welcome,
} from '@holdfast/shared'
import { type ClockReading, readClocks } from '../locks/expiry.js'
import type { Environment, WebSocketConstructor, WebSocketLike } from '../platform/environment.js'
import { ProtocolViolation } from './violation.js'

/** How a connection ended. */
export interface Closing {
  /** The close code of the WebSocket; 1006 if it ended without one. */
  readonly code: number
  readonly reason: string
  /** What the platform said about it, if anything. */
  readonly cause?: unknown
  /**
   * The broker sent an invalid message, or the WebSocket threw from `send`: the next connection may
   * well fail in the same way.
   */
  readonly isFault?: boolean
  /** URL of the proxy that was on the way, if one was. */
  readonly via?: string | undefined
}

export interface ConnectionListener {
  /** A frame has arrived and none of it was handled yet: the moment to look at deadlines. */
  onFrame(): void
  /** The broker accepted the hello, which was sent at `sentAt`. */
  onWelcome(welcome: Welcome, sentAt: ClockReading): void
  onMessage(message: ServerMessage): void
  /** The connection is gone and was not dropped by us. Called once, and nothing after it. */
  onClose(closing: Closing): void
}

/** A message that wants to know when and as which it was sent. */
export interface Sendable {
  sentOn: Connection | undefined
  /** Its number among the messages of the connection. */
  messageNumber: number
  sentAt: ClockReading | undefined
  /** Called when it has been given to the socket. */
  onSent?(): void
}

/** Most UTF-16 units of a frame, each of which is at most 3 bytes: the broker accepts so many. */
const maxUnits = Math.floor(maxFrameBytes / 3)

export class Connection {
  readonly #environment: Environment
  readonly #listener: ConnectionListener
  readonly #hello: string
  readonly #socket: WebSocketLike
  #state: 'opening' | 'greeting' | 'up' | 'closed' = 'opening'
  #texts: string[] = []
  #awaitingClockReading: Sendable[] = []
  /** How many messages were given to `send`, the hello included. */
  #count = 0
  /** Oldest first: the first message of each write, and when it was. */
  readonly #writes: { readonly first: number; readonly at: ClockReading }[] = []
  #cause: unknown

  /** @throws what the WebSocket constructor throws, for a URL that it does not like. */
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
      // The first says why; ending the connection then has an error of its own.
      this.#cause ??= error ?? (typeof message === 'string' ? new Error(message) : undefined)
    }
    socket.onclose = ({ code, reason }) => this.#end({ code, reason, cause: this.#cause })
  }

  /** Queues a message for the end of the turn; its number on this connection is returned. */
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

  /** Writes what is queued, now. */
  flush(): void {
    const texts = this.#texts
    if (this.#state !== 'up' || texts.length === 0) return
    const stamped = this.#awaitingClockReading
    this.#texts = []
    this.#awaitingClockReading = []
    const at = this.#stamp(this.#count - texts.length + 1)
    // Before they are written: of what a failing socket took of them, nothing is known.
    for (const message of stamped) message.sentAt = at
    let frame: string[] = []
    let units = 0
    for (const text of texts) {
      units += text.length + 1
      // No message is too long by itself.
      if (units > maxUnits) {
        if (!this.#write(frame)) return
        frame = []
        units = text.length + 1
      }
      frame.push(text)
    }
    if (!this.#write(frame)) return
    for (const message of stamped) message.onSent?.()
  }

  /**
   * The first `n` messages are known to have arrived. When the newest of them was sent; undefined
   * if a later one was known to have arrived already.
   */
  arrived(n: number): ClockReading | undefined {
    const writes = this.#writes
    if (n > this.#count) return undefined
    while (writes.length > 1 && writes[1]!.first <= n) writes.shift()
    const newest = writes[0]
    return newest !== undefined && newest.first <= n ? newest.at : undefined
  }

  /** Whether the connection keeps the process alive, where the platform lets us choose. */
  keepAlive(isRef: boolean): void {
    if (isRef) this.#socket.ref?.()
    else this.#socket.unref?.()
  }

  /** Ends the connection at once; the listener hears no more of it. */
  drop(): void {
    this.#state = 'closed'
    const socket = this.#socket
    socket.onopen = null
    socket.onmessage = null
    socket.onclose = null
    // The listener for errors stays: dropping a socket that is still connecting is one for `ws`,
    // and would end the process.
    try {
      if (socket.terminate !== undefined) socket.terminate()
      else socket.close()
    } catch {
      // It is gone already, which is what was wanted.
    }
  }

  /** Ends the connection at once, as if it had dropped by itself. */
  fail(sentence: string, code = 1006): void {
    this.#fail({ code, reason: '', cause: new Error(sentence) })
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
    this.#stamp(1)
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

  /** What is wrong with the message, if something is that only its handler can know. */
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
    if (message.type !== 'welcome') throw new ProtocolViolation('welcome has to answer hello')
    this.#state = 'up'
    this.#listener.onWelcome(message, this.#writes[0]!.at)
  }

  #stamp(first: number): ClockReading {
    const at = readClocks(this.#environment.clock)
    this.#writes.push({ first, at })
    return at
  }

  /**
   * False if the socket threw, which fails the connection: the messages of this frame are lost, and
   * a request that is lost on a connection which goes on would wait for its answer for ever.
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
