/**
 * A fake WebSocket for the broker. The socket records the frames that the broker sends. The test
 * decides when the client reads and what the client sends.
 */

import type { Socket, SocketListener } from '@holdfast/server/internal'
import type { ServerMessage } from '@holdfast/shared'

type OfType<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>

export class FakeSocket implements Socket {
  remoteAddress: string | undefined = '127.0.0.1'
  origin: string | undefined = undefined
  /** Every frame that the broker has sent, in order. */
  readonly frames: string[] = []
  /** The code and the reason of the broker's close; undefined before the close. */
  closedWith: { readonly code: number; readonly reason: string } | undefined
  /** Whether the broker has ended the connection without a closing handshake. */
  isTerminated = false
  /** Whether the client reads each frame immediately. If not, `bufferedBytes` grows. */
  isClientReading = true
  /** The bytes that the broker has sent and the client has not read. */
  bufferedBytes = 0
  /** The bytes that the client has sent and the broker has not read. */
  unreadBytes = 0
  #listener: SocketListener | undefined
  /** Whether the broker has paused reading. The client's frames then stay unread. */
  isPausedByBroker = false
  /** The calls of the listener that wait until the broker resumes reading. */
  #delayedCalls: ((listener: SocketListener) => void)[] = []
  /** The number of frames that {@link takeMessages} has returned. */
  #heardCount = 0

  set listener(listener: SocketListener) {
    this.#listener = listener
  }

  // ------------------------------------------------------------------ called by the broker

  send(frame: string): void {
    if (this.closedWith !== undefined || this.isTerminated) throw new Error('sent after the close')
    this.frames.push(frame)
    if (!this.isClientReading) this.bufferedBytes += Buffer.byteLength(frame)
  }

  pause(): void {
    this.isPausedByBroker = true
  }

  resume(): void {
    this.isPausedByBroker = false
    while (!this.isPausedByBroker && this.#delayedCalls.length > 0) {
      this.#delayedCalls.shift()!(this.#listener!)
    }
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason }
  }

  terminate(): void {
    this.isTerminated = true
  }

  // -------------------------------------------------------------------- called by the test

  /** The client sends these messages in one frame. A single text is sent as it is. */
  say(...messages: readonly unknown[]): void {
    const [only] = messages
    const isText = messages.length === 1 && typeof only === 'string'
    const frame = isText ? only : JSON.stringify(messages.length === 1 ? only : messages)
    this.#deliver((listener) => listener.onFrame(frame))
  }

  /** Calls the listener now, or, if the broker has paused reading, after the pause. */
  #deliver(call: (listener: SocketListener) => void): void {
    if (this.isPausedByBroker) this.#delayedCalls.push(call)
    else call(this.#listener!)
  }

  /** The client sends a binary frame. */
  sayBinary(): void {
    this.#deliver((listener) => listener.onBinary())
  }

  /** The client sends this many pings, pongs or fragments, which all cost the same. */
  sayControlFrames(count: number): void {
    for (let i = 0; i < count; i++) this.#deliver((listener) => listener.onControlFrame())
  }

  /** The client violates the WebSocket protocol. */
  sayInvalidFrame(): void {
    this.#deliver((listener) => listener.onFault())
  }

  /** The client reads this many buffered bytes, by default all, so the socket accepts more. */
  letClientRead(bytes = this.bufferedBytes): void {
    this.bufferedBytes -= bytes
    this.#listener!.onDrain()
  }

  /** The connection ends, as after a close by either side. */
  drop(): void {
    this.#deliver((listener) => listener.onClose())
  }

  /** Returns the messages that the broker has sent since the last call. */
  takeMessages(): ServerMessage[] {
    const frames = this.frames.slice(this.#heardCount)
    this.#heardCount = this.frames.length
    return frames.flatMap((frame) => JSON.parse(frame) as ServerMessage | ServerMessage[])
  }

  /** Takes all messages, see {@link takeMessages}. Returns those of this type; drops the others. */
  takeMessagesOfType<T extends ServerMessage['type']>(type: T): OfType<T>[] {
    return this.takeMessages().filter((message): message is OfType<T> => message.type === type)
  }
}
