/**
 * One WebSocket connection to a broker. A connection sends `hello`, which opens or resumes a
 * session, and waits for `welcome`, which is the broker's answer. Then the connection reads frames,
 * and writes all messages of a turn of the event loop together, in one frame if they fit.
 *
 * A connection numbers its messages and remembers when it sent each message. The lease is the time
 * for which the broker keeps a silent session. The lease counts from the sending of the newest
 * message that the broker is known to have received. A connection has no timers and does not
 * reconnect; the reconnector has the timers and reconnects.
 */
import {
  faultOfBrokerMessage,
  maxFrameBytes,
  parseBrokerFrame,
  type ServerMessage,
  subprotocol,
  type Welcome,
} from '@holdfast/shared'
import type { ClockTimes, Environment } from '../platform/environment.js'
import type { WebSocketConstructor, WebSocketLike } from '../platform/webSocket/types.js'

/**
 * Thrown for a message of the broker that has valid fields but cannot be right, such as a response
 * to a request that was not sent. A handler of messages throws this error before it changes a lock
 * or completes a request. The connection catches the error and ends itself. The error's `message`
 * completes the text "the broker sent an invalid message: …".
 */
export class ProtocolViolation extends Error {}

/** How a connection ended. */
export interface Closing {
  /** The close code of the WebSocket; 1006 if the WebSocket ended without a close code. */
  readonly code: number
  readonly reason: string
  /** The error that the platform reported; undefined without an error. */
  readonly cause?: unknown
  /**
   * True if the broker sent an invalid message or an invalid frame, or if `send` of the WebSocket
   * threw. The next connection may then fail for the same reason.
   */
  readonly isFault?: boolean
  /** URL of the proxy; undefined if the connection used no proxy. */
  readonly via?: string | undefined
}

export interface ConnectionListener {
  /** Called before the messages of a frame are handled, so that expired locks end first. */
  onFrame(): void
  /** The broker accepted the `hello`, which was sent at `sentAt`. */
  onWelcome(welcome: Welcome, sentAt: ClockTimes): void
  onMessage(message: ServerMessage): void
  /** The connection has ended. The listener gets no further call. Not called after `drop`. */
  onClose(closing: Closing): void
}

/** An object that records when and on which connection its message was sent. */
export interface Sendable {
  /** The connection on which the message was queued or sent last. */
  sentOn: Connection | undefined
  /** The number of the message among all messages of the connection `sentOn`. */
  messageNumber: number
  /** When the message was written to the socket. */
  sentAt: ClockTimes | undefined
  /** Called when the socket has accepted the message. */
  onSent?(): void
}

/** One write of messages to the socket, in one or more frames, with the time of the write. */
interface Write extends ClockTimes {
  /** The number of the first message of the write. */
  readonly first: number
}

/**
 * The highest number of UTF-16 units in a frame with several messages. A unit has at most 3 bytes
 * of UTF-8, so the broker accepts the frame.
 */
const maxUnits = Math.floor(maxFrameBytes / 3)

/** The empty queues, which all connections without queued messages share. */
const noTexts: never[] = []
const noSendables: never[] = []

export class Connection {
  readonly #environment: Environment
  readonly #listener: ConnectionListener
  readonly #hello: string
  readonly #socket: WebSocketLike
  /** `greeting`: `hello` is sent, and `welcome` has not arrived. `up`: `welcome` has arrived. */
  #state: 'opening' | 'greeting' | 'up' | 'closed' = 'opening'
  /** The queued messages. */
  #queuedTexts: string[] = noTexts
  /** The `Sendable` of each queued message that has one. */
  #queuedSendables: Sendable[] = noSendables
  /** How many messages were sent or queued, including the `hello`. */
  #messageCount = 0
  /**
   * The newest write that the broker is known to have received, and all later writes, in order.
   * Before the broker has confirmed a receipt, the list begins with the `hello`.
   */
  readonly #writes: Write[] = []
  /** The first error of the socket. */
  #cause: unknown
  readonly #flushAtEndOfTurn = () => this.flush()

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
    socket.onopen = () => this.#sendHello()
    socket.onmessage = (event) => this.#onFrame(event.data)
    socket.onerror = (event) => {
      const { error, message } = event as { error?: unknown; message?: unknown }
      // A later error is only a consequence of the first error.
      this.#cause ??= error ?? (typeof message === 'string' ? new Error(message) : undefined)
    }
    socket.onclose = ({ code, reason }) =>
      this.#onSocketClosed({ code, reason, cause: this.#cause })
  }

  /**
   * Queues a message for the end of the turn. Returns the number of the message on this connection.
   * @param sendable Records when and on which connection the message is sent.
   */
  send(text: string, sendable?: Sendable): number {
    // Makes a new array and does not call `push`, because V8 allocates 17 slots at the first `push`
    // on an empty array. See the table in `test/bench/README.md`.
    if (this.#queuedTexts.length === 0) {
      this.#queuedTexts = [text]
      this.#environment.endOfTurn(this.#flushAtEndOfTurn)
    } else this.#queuedTexts.push(text)
    this.#messageCount++
    if (sendable !== undefined) {
      sendable.sentOn = this
      sendable.messageNumber = this.#messageCount
      if (this.#queuedSendables.length === 0) this.#queuedSendables = [sendable]
      else this.#queuedSendables.push(sendable)
    }
    return this.#messageCount
  }

  /** Writes the queued messages now. */
  flush(): void {
    const texts = this.#queuedTexts
    if (this.#state !== 'up' || texts.length === 0) return
    const sendables = this.#queuedSendables
    this.#queuedTexts = noTexts
    this.#queuedSendables = noSendables
    const sentAt = this.#recordWrite(this.#messageCount - texts.length + 1)
    // Sets `sentAt` before the write, because a socket that fails may have sent some messages.
    for (const sendable of sendables) sendable.sentAt = sentAt
    if (!this.#writeFrames(texts)) return
    for (const sendable of sendables) sendable.onSent?.()
  }

  /** Writes messages in as few frames as possible. Returns false if the socket throws. */
  #writeFrames(texts: readonly string[]): boolean {
    let firstIndex = 0
    let units = 0
    for (let i = 0; i < texts.length; i++) {
      // One unit for the comma or bracket after the message.
      const textUnits = texts[i]!.length + 1
      units += textUnits
      // A single message may have more units than `maxUnits`. The limits of its fields still let it
      // fit into a frame of its own. The second condition avoids an empty frame, which the broker
      // would refuse.
      if (units > maxUnits && i > firstIndex) {
        if (!this.#writeFrame(texts.slice(firstIndex, i))) return false
        firstIndex = i
        units = textUnits
      }
    }
    return this.#writeFrame(firstIndex === 0 ? texts : texts.slice(firstIndex))
  }

  /**
   * Records that the broker has received the first `receivedCount` messages. Returns the time at
   * which the last of these messages was sent. Returns undefined in two cases:
   * - `receivedCount` is outdated: an earlier call was about a message of a later write.
   * - `receivedCount` is above the number of messages that were sent or queued.
   */
  noteReceivedByBroker(receivedCount: number): ClockTimes | undefined {
    const writes = this.#writes
    if (receivedCount > this.#messageCount) return undefined
    while (writes.length > 1 && writes[1]!.first <= receivedCount) writes.shift()
    const write = writes[0]
    return write !== undefined && write.first <= receivedCount ? write : undefined
  }

  /**
   * Chooses whether the connection keeps the process alive, where the platform offers the choice.
   */
  keepProcessAlive(keepAlive: boolean): void {
    if (keepAlive) this.#socket.ref?.()
    else this.#socket.unref?.()
  }

  /**
   * Ends the connection, without a closing handshake if the platform can, and does not call the
   * listener.
   */
  drop(): void {
    this.#state = 'closed'
    const socket = this.#socket
    socket.onopen = null
    socket.onmessage = null
    socket.onclose = null
    // The error listener stays, because `ws`, the WebSocket for Node, emits an error when a
    // connecting socket is dropped. In Node, an error event without a listener would end the
    // process.
    try {
      if (socket.terminate !== undefined) socket.terminate()
      else socket.close()
    } catch {
      // The socket is closed already.
    }
  }

  /**
   * Ends the connection as if the network had failed. Unlike `drop`, calls the listener, which gets
   * an error with this message.
   */
  fail(message: string, code = 1006): void {
    this.#dropAndReport({ code, reason: '', cause: new Error(message) })
  }

  #dropAndReport(closing: Closing): void {
    if (this.#state === 'closed') return
    this.drop()
    this.#listener.onClose({ ...closing, via: this.#socket.via })
  }

  #failByFault(cause: unknown): void {
    this.#dropAndReport({ code: 1006, reason: '', cause, isFault: true })
  }

  #sendHello(): void {
    if (this.#socket.protocol !== subprotocol) {
      this.fail(`the server does not speak ${subprotocol}`)
      return
    }
    this.#state = 'greeting'
    // The `hello` is the first message.
    this.#messageCount = 1
    this.#recordWrite(1)
    this.#writeFrame([this.#hello])
  }

  #onFrame(data: unknown): void {
    const messages = typeof data === 'string' ? parseBrokerFrame(data) : undefined
    if (messages === undefined) {
      this.#failByFault(new Error('the broker sent a frame that is not JSON'))
      return
    }
    this.#listener.onFrame()
    for (let i = 0; i < messages.length; i++) {
      if (this.#state === 'closed') return
      const fault = faultOfBrokerMessage(messages[i]) ?? this.#handle(messages[i] as ServerMessage)
      if (fault !== undefined) {
        const position = messages.length > 1 ? ` (message ${i + 1} of ${messages.length})` : ''
        this.#failByFault(new Error(`the broker sent an invalid message: ${fault}${position}`))
        return
      }
    }
  }

  /** Handles the message. Returns the text of the protocol violation; undefined without one. */
  #handle(message: ServerMessage): string | undefined {
    try {
      if (this.#state === 'up') this.#listener.onMessage(message)
      else this.#onWelcome(message)
      return undefined
    } catch (error) {
      if (error instanceof ProtocolViolation) return error.message
      throw error
    }
  }

  #onWelcome(message: ServerMessage): void {
    if (message.type !== 'welcome') throw new ProtocolViolation('welcome must answer hello')
    this.#state = 'up'
    const helloWrite = this.#writes[0]!
    this.#listener.onWelcome(message, helloWrite)
  }

  /** Records a write whose first message has the number `first`. Returns the time of the write. */
  #recordWrite(first: number): ClockTimes {
    const { clock } = this.#environment
    const write = { first, monotonic: clock.monotonic(), wall: clock.wall() }
    this.#writes.push(write)
    return write
  }

  /**
   * Writes a frame. If the socket throws, the messages of the frame are lost. Then ends the
   * connection, because a lost request would otherwise wait for ever, and returns false.
   */
  #writeFrame(texts: readonly string[]): boolean {
    try {
      this.#socket.send(texts.length === 1 ? texts[0]! : `[${texts.join()}]`)
      return true
    } catch (error) {
      this.#failByFault(error)
      return false
    }
  }

  #onSocketClosed(closing: Closing): void {
    this.#state = 'closed'
    // The listener must get no call after `onClose`.
    this.#socket.onmessage = null
    const isFault = isFrameError(closing.cause)
    this.#listener.onClose({ ...closing, isFault, via: this.#socket.via })
  }
}

/**
 * Whether the WebSocket has ended because of an invalid frame of the broker, such as a message that
 * is too long. Only `ws` reports such an error; browsers do not say why a WebSocket ended.
 */
function isFrameError(cause: unknown): boolean {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' && code.startsWith('WS_ERR_')
}
