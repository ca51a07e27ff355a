/**
 * What a connection has to say: gathered during a turn, written as one frame at its end, and held
 * back while the client does not keep up.
 *
 * What is in a socket is a copy of its own for each connection, so it is filled only so far. What
 * waits here is cheap: an event is one text for all who watch, and of a stream (a snapshot, what a
 * query found) nothing is made before there is room for it. Order is kept: whatever was said after
 * a stream waits behind it.
 */
import { joinFrames } from '@holdfast/shared'
import type { Socket } from './socket.js'

/** Bytes in the socket beyond which everything waits. */
const roomBytes = 64 * 1024

interface Stream {
  readonly messages: Iterator<string>
  /** Bytes that it keeps until it is through. */
  readonly weight: number
}

type Item = string | Stream

/** What a connection with nothing to say has in common with all others of them. Stays empty. */
const nothing: never[] = []

export class Outbox {
  readonly #socket: Socket
  #items: Item[] = nothing
  #streams = 0
  /** Length of the single messages that wait; a character is at least a byte. */
  #waitingChars = 0
  #keptBytes = 0

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

  /** Bytes that streams keep until they are through, by their weight. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  add(message: string): void {
    this.#queue(message)
    this.#waitingChars += message.length
  }

  /** @param weight Bytes that it keeps until it is through, if there can be many like it. */
  addStream(messages: Iterator<string>, weight = 0): void {
    this.#queue({ messages, weight })
    this.#streams++
    this.#keptBytes += weight
  }

  clear(): void {
    this.#items = nothing
    this.#streams = 0
    this.#waitingChars = 0
    this.#keptBytes = 0
  }

  /** Writes what one turn said, or goes on with what waits while there is room. */
  flush(): void {
    if (this.#items.length === 0 || this.#socket.bufferedBytes > roomBytes) return
    if (this.#streams > 0) this.#flushWithStreams()
    else this.#writeAll()
  }

  /** The last words: everything but streams, whether or not there is room. */
  flushMessages(): void {
    if (this.#streams > 0) this.#flushWithStreams()
    else this.#writeAll()
  }

  #queue(item: Item): void {
    if (this.#items === nothing) this.#items = [item]
    else this.#items.push(item)
  }

  #writeAll(): void {
    const messages = this.#items as string[]
    this.clear()
    this.#write(messages)
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
        if (!this.#drain(item.messages)) break
        this.#streams--
        this.#keptBytes -= item.weight
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
