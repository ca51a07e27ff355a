/**
 * A WebSocket that is not one: it keeps what it is sent, and its peer reads when the test says so.
 */

import type { Socket, SocketListener } from '@holdfast/server/internal'
import type { ServerMessage } from '@holdfast/shared'

type OfType<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>

export class FakeSocket implements Socket {
  remoteAddress: string | undefined = '127.0.0.1'
  origin: string | undefined = undefined
  /** Every frame that was sent, in order. */
  readonly frames: string[] = []
  closedWith: { readonly code: number; readonly reason: string } | undefined
  terminated = false
  /** Whether the peer reads what comes; if not, it piles up. */
  isReading = true
  bufferedBytes = 0
  unreadBytes = 0
  #listener: SocketListener | undefined
  /** Whether the broker does not read; what the peer sends meanwhile waits in the network. */
  isPaused = false
  #unread: ((listener: SocketListener) => void)[] = []
  #heard = 0

  set listener(listener: SocketListener) {
    this.#listener = listener
  }

  // ------------------------------------------------------------------------ for the broker

  send(frame: string): void {
    if (this.closedWith !== undefined || this.terminated) throw new Error('sent after the close')
    this.frames.push(frame)
    if (!this.isReading) this.bufferedBytes += Buffer.byteLength(frame)
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    while (!this.isPaused && this.#unread.length > 0) this.#unread.shift()!(this.#listener!)
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason }
  }

  terminate(): void {
    this.terminated = true
  }

  // ---------------------------------------------------------------------- for the network

  /** The peer sends a frame: of these messages, or exactly this text. */
  say(...messages: readonly unknown[]): void {
    const [only] = messages
    const isText = messages.length === 1 && typeof only === 'string'
    const frame = isText ? only : JSON.stringify(messages.length === 1 ? only : messages)
    this.#arrive((listener) => listener.onFrame(frame))
  }

  /** The broker reads it, now or once it reads on. */
  #arrive(input: (listener: SocketListener) => void): void {
    if (this.isPaused) this.#unread.push(input)
    else input(this.#listener!)
  }

  sayBinary(): void {
    this.#arrive((listener) => listener.onBinary())
  }

  /** The peer sends so many pings, pongs or fragments. */
  sayControlFrames(count: number): void {
    for (let i = 0; i < count; i++) this.#arrive((listener) => listener.onControlFrame())
  }

  /** The peer sends what is no WebSocket message. */
  sayNonsense(): void {
    this.#arrive((listener) => listener.onFault())
  }

  /** The peer reads some of what has piled up; all of it by default. */
  read(bytes = this.bufferedBytes): void {
    this.bufferedBytes -= bytes
    this.#listener!.onDrain()
  }

  /** The connection is gone, by whoever's doing. */
  drop(): void {
    this.#arrive((listener) => listener.onClose())
  }

  /** What was sent since the last call, message by message. */
  heard(): ServerMessage[] {
    const frames = this.frames.slice(this.#heard)
    this.#heard = this.frames.length
    return frames.flatMap((frame) => JSON.parse(frame) as ServerMessage | ServerMessage[])
  }

  /** As {@link heard}, but only the messages of this type. */
  heardOf<T extends ServerMessage['type']>(type: T): OfType<T>[] {
    return this.heard().filter((message): message is OfType<T> => message.type === type)
  }
}
