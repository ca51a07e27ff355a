/**
 * What a connection has to say: gathered during a turn, written as one frame at its end, and held
 * back while the client does not keep up.
 *
 * What is in a socket is a copy of its own for each connection, so it is filled only so far. What
 * waits here is cheap: an event is one text for all who watch, which becomes a message of this
 * connection when it is written, and of a stream (a snapshot, what a query found) nothing is made
 * before there is room for it. Order is kept: whatever was said after a stream waits behind it.
 */
import { joinFrames } from '@holdfast/shared'
import { costOfBytes, turnBudget } from '../config/workCosts.js'
import type { Socket } from './socket.js'

/** Bytes in the socket beyond which everything waits. */
const roomBytes = 64 * 1024
/** Characters of waiting messages beyond which the client's next messages wait too. */
const fullChars = 64 * 1024

/** A message that is made when it is written. */
export interface Deferred {
  /** Characters that it counts for until then; a character is at least a byte. */
  readonly chars: number
  /** How many of these are in a text that other connections keep as well. */
  readonly sharedChars: number
  /** Called once. Undefined if there is nothing to say any more. */
  encode(): string | undefined
  /** Called instead if the message is not sent. */
  discard(): void
}

/** Messages, or numbers: so many units of work were done since the last one. */
export type PacedMessages = Iterator<string | number>

interface Stream {
  readonly messages: PacedMessages
  /** Whether what the client says next waits until the stream has come to its end. */
  readonly holdsInput: boolean
  /** Bytes that it keeps until then. */
  readonly weight: number
}

type Item = string | Deferred | Stream

/** What a connection with nothing to say has in common with all others of them. Stays empty. */
const nothing: never[] = []

export class SendQueue {
  readonly #socket: Socket
  #items: Item[] = nothing
  #streams = 0
  #deferred = 0
  #holding = 0
  /** Length of the single messages that wait; a character is at least a byte. */
  #waitingChars = 0
  /** How many of these are in texts that other connections keep as well. */
  #sharedChars = 0
  /** Bytes that streams keep. */
  #keptBytes = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get hasOutput(): boolean {
    return this.#items.length > 0
  }

  /** Whether a stream has not come to its end. */
  get hasStream(): boolean {
    return this.#streams > 0
  }

  /** Whether something that waits is not text yet. */
  get hasUnmade(): boolean {
    return this.#streams + this.#deferred > 0
  }

  /** Whether the client has to read before more can be written. */
  get isBlocked(): boolean {
    return this.#socket.bufferedBytes > roomBytes
  }

  /** Whether so much waits to be said that no more should be asked. */
  get isFull(): boolean {
    return this.#holding > 0 || this.#waitingChars > fullChars
  }

  /** Length of the messages that wait, in characters. */
  get waitingChars(): number {
    return this.#waitingChars
  }

  /**
   * Bytes that wait for the client, here and in the socket; streams do not count, they can wait.
   */
  get backlogBytes(): number {
    return this.#waitingChars + this.#socket.bufferedBytes
  }

  /** Bytes of memory that all of it takes at most, without what is shared with others. */
  get memoryBytes(): number {
    const ownChars = this.#waitingChars - this.#sharedChars
    // One character outside Latin-1 makes all of a text take two bytes each.
    return 2 * ownChars + this.#keptBytes + this.#socket.bufferedBytes
  }

  add(message: string): void {
    this.#queue(message)
    this.#waitingChars += message.length
  }

  /** Queues a message that is made when it is written. */
  defer(message: Deferred): void {
    this.#queue(message)
    this.#deferred++
    this.#waitingChars += message.chars
    this.#sharedChars += message.sharedChars
  }

  /**
   * @param holdsInput Whether the client's next messages wait until the stream is through.
   * @param weight Bytes that it keeps until then.
   */
  addStream(messages: PacedMessages, holdsInput = false, weight = 0): void {
    this.#queue({ messages, holdsInput, weight })
    this.#keptBytes += weight
    this.#streams++
    if (holdsInput) this.#holding++
  }

  /** Forgets everything that waits, and ends the streams. */
  clear(): void {
    const items = this.#items
    const hadUnmade = this.hasUnmade
    this.#items = nothing
    this.#streams = 0
    this.#deferred = 0
    this.#holding = 0
    this.#waitingChars = 0
    this.#sharedChars = 0
    this.#keptBytes = 0
    if (!hadUnmade) return
    for (const item of items) {
      if (typeof item === 'string') continue
      if (isStream(item)) item.messages.return?.()
      else item.discard()
    }
  }

  /**
   * Writes what one turn said, or goes on with what waits while there is room.
   *
   * @param units What streams and deferred messages may use for it, in units of work; once it is
   *   used up, they wait. Any number by default.
   * @param streamUnits The same for streams alone, each step of which can be dear.
   * @returns How many units they used.
   */
  flush(units = Number.POSITIVE_INFINITY, streamUnits = units): number {
    if (this.#items.length === 0 || this.isBlocked) return 0
    if (this.hasUnmade) return this.#flushInOrder(units, streamUnits)
    this.#writeAll()
    return 0
  }

  /** The last words: everything that is text, whether or not there is room. */
  flushMessages(): void {
    if (this.hasUnmade) this.#flushInOrder(turnBudget.least, turnBudget.least, true)
    else this.#writeAll()
  }

  #queue(item: Item): void {
    if (this.#items === nothing) this.#items = [item]
    else this.#items.push(item)
  }

  #writeAll(): void {
    const messages = this.#items as string[]
    this.#items = nothing
    this.#waitingChars = 0
    this.#write(messages)
  }

  #write(messages: readonly string[]): void {
    for (const frame of joinFrames(messages)) this.#socket.send(frame)
  }

  /** @param isLast Text that waits behind a deferred message is written in any case. */
  #flushInOrder(units: number, streamUnits: number, isLast = false): number {
    const batch = new Batch((messages) => this.#write(messages))
    let done = 0
    let used = 0
    for (const item of this.#items) {
      if (typeof item === 'string') {
        batch.add(item)
        this.#waitingChars -= item.length
      } else if (isStream(item)) {
        batch.write()
        const progress = this.#drain(item.messages, streamUnits - used)
        used += progress.used
        if (!progress.isDone) break
        this.#streams--
        if (item.holdsInput) this.#holding--
        this.#keptBytes -= item.weight
      } else {
        if (used < units && this.#hasRoom(batch)) {
          const text = item.encode()
          if (text !== undefined) batch.add(text)
          used += costOfBytes(text?.length ?? 1)
        } else if (isLast) item.discard()
        else break
        this.#waitingChars -= item.chars
        this.#sharedChars -= item.sharedChars
        this.#deferred--
      }
      done++
    }
    this.#items.splice(0, done)
    batch.write()
    return used
  }

  #hasRoom(batch: Batch): boolean {
    return this.#socket.bufferedBytes + batch.chars <= roomBytes
  }

  /** Goes on with a stream until it is at its end, has used so many units or must wait for room. */
  #drain(messages: PacedMessages, units: number): { isDone: boolean; used: number } {
    let used = 0
    while (used < units && !this.isBlocked) {
      const next = messages.next()
      if (next.done === true) return { isDone: true, used }
      if (typeof next.value === 'number') used += next.value
      else {
        this.#socket.send(next.value)
        used += costOfBytes(next.value.length)
      }
    }
    return { isDone: false, used }
  }
}

function isStream(item: Item): item is Stream {
  return typeof item !== 'string' && 'messages' in item
}

/** Messages that are written together. */
class Batch {
  readonly #onWrite: (messages: readonly string[]) => void
  #messages: string[] = []
  chars = 0

  constructor(onWrite: (messages: readonly string[]) => void) {
    this.#onWrite = onWrite
  }

  add(message: string): void {
    this.#messages.push(message)
    this.chars += message.length
  }

  write(): void {
    if (this.#messages.length > 0) this.#onWrite(this.#messages)
    this.#messages = []
    this.chars = 0
  }
}
