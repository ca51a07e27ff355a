/**
 * What a connection has to say: gathered during a turn, written as one frame at its end, and held
 * back while the client does not keep up.
 *
 * Single messages are few and small and leave at once. Streams (snapshots, findings) are drawn on
 * only while the socket has room; whatever was said after a stream waits behind it, so that order
 * is kept.
 */
import { joinFrames } from '@holdfast/shared'
import type { Socket } from './socket.js'

/** Bytes in the socket beyond which streams wait. */
const roomBytes = 64 * 1024

type Item = string | Iterator<string>

export class Outbox {
  readonly #socket: Socket
  #items: Item[] = []
  #streams = 0
  /** Length of the single messages that wait; a character is at least a byte. */
  #waitingChars = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get hasOutput(): boolean {
    return this.#items.length > 0
  }

  /**
   * Bytes that wait for the client, here and in the socket; streams do not count, they can wait.
   */
  get backlogBytes(): number {
    return this.#waitingChars + this.#socket.bufferedBytes
  }

  add(message: string): void {
    this.#items.push(message)
    this.#waitingChars += message.length
  }

  addStream(messages: Iterator<string>): void {
    this.#items.push(messages)
    this.#streams++
  }

  clear(): void {
    this.#items = []
    this.#streams = 0
    this.#waitingChars = 0
  }

  /** Writes everything, or as much as there is room for. */
  flush(): void {
    if (this.#streams > 0) this.#flushWithStreams()
    else if (this.#items.length > 0) {
      const messages = this.#items as string[]
      this.clear()
      this.#write(messages)
    }
  }

  #write(messages: readonly string[]): void {
    for (const frame of joinFrames(messages)) this.#socket.send(frame)
  }

  #flushWithStreams(): void {
    let batch: string[] = []
    let done = 0
    for (const item of this.#items) {
      if (typeof item === 'string') {
        batch.push(item)
        this.#waitingChars -= item.length
      } else {
        if (batch.length > 0) this.#write(batch)
        batch = []
        if (!this.#drain(item)) break
        this.#streams--
      }
      done++
    }
    this.#items.splice(0, done)
    if (batch.length > 0) this.#write(batch)
  }

  /** True if the stream is at its end, false if it must wait for room. */
  #drain(messages: Iterator<string>): boolean {
    while (this.#socket.bufferedBytes <= roomBytes) {
      const next = messages.next()
      if (next.done === true) return true
      this.#socket.send(next.value)
    }
    return false
  }
}
