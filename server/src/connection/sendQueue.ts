/**
 * The output of one connection. The queue collects messages during a turn of the event loop, and
 * writes the messages in few frames at the end of the turn. While the client does not read, the
 * queue keeps the messages.
 *
 * The queue writes to the socket only up to a bound, because output in the queue takes less memory
 * than output in the socket. For example, the queues of all connections refer to the same text of
 * an event, but each socket would copy the text. The queue encodes the parts of a stream (a resumed
 * session's locks, or the answer to a query) only when the socket has room. The queue keeps the
 * order: a message that is added after a stream is written after the stream.
 */
import { joinIntoFrames } from '@holdfast/shared'
import { costOfBytes, turnBudget } from '../config/workCosts.js'
import type { Socket } from './socket.js'

/** If more bytes than this wait in the socket, all output waits in the queue. */
const maxSocketBytes = 64 * 1024
/** If more characters than this wait in the queue, the client's next messages must wait. */
const maxWaitingChars = 64 * 1024

/** A message that is encoded when it is written. */
export interface DeferredMessage {
  /** The message counts as this many characters until it is encoded. */
  readonly chars: number
  /** How many of the `chars` are in a text that other connections keep as well. */
  readonly sharedChars: number
  /** Encodes the message. Called at most once. Returns undefined if there is nothing to send. */
  encode(): string | undefined
  /** Called in place of `encode` if the message is not sent. */
  discard(): void
}

/**
 * Yields messages as texts. Also yields numbers: the units of work (see `workCosts.ts`) since the
 * previous yield.
 */
export type PacedMessages = Iterator<string | number>

interface Stream {
  readonly messages: PacedMessages
  /** Whether the next messages of the client wait until the stream has ended. */
  readonly blocksInput: boolean
  /** Bytes that the stream keeps in memory until its end. */
  readonly keptBytes: number
}

type OutputItem = string | DeferredMessage | Stream

/** All empty queues share this array, to save memory. The array must stay empty. */
const noItems: never[] = []

export class SendQueue {
  readonly #socket: Socket
  #items: OutputItem[] = noItems
  #streamCount = 0
  #deferredCount = 0
  #blockingStreamCount = 0
  #waitingChars = 0
  /** How many of the waiting characters are in texts that other connections keep as well. */
  #sharedChars = 0
  /** Bytes that the streams keep in memory. */
  #streamBytes = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get hasOutput(): boolean {
    return this.#items.length > 0
  }

  /** Whether the queue has a stream that has not ended. */
  get hasStream(): boolean {
    return this.#streamCount > 0
  }

  /** Whether the queue has output that is not encoded yet. */
  get hasUnencoded(): boolean {
    return this.#streamCount + this.#deferredCount > 0
  }

  /** Whether the client must read before the queue can write more. */
  get isBlocked(): boolean {
    return this.#socket.bufferedBytes > maxSocketBytes
  }

  /** Whether so much output waits that the broker must handle no further message of the client. */
  get isFull(): boolean {
    return this.#blockingStreamCount > 0 || this.#waitingChars > maxWaitingChars
  }

  /** Length of the waiting messages outside of streams, in characters. */
  get waitingChars(): number {
    return this.#waitingChars
  }

  /**
   * Bytes that wait for the client to read, in this queue and in the socket. Each character in the
   * queue counts as one byte. Streams do not count, because the length of a stream is not known.
   * If the socket has room, a queue with unencoded output waits for the broker and not for the
   * client, so only the socket counts.
   */
  get backlogBytes(): number {
    const waitsForBroker = this.hasUnencoded && !this.isBlocked
    return (waitsForBroker ? 0 : this.#waitingChars) + this.#socket.bufferedBytes
  }

  /**
   * An upper bound for the bytes of the output that waits in this queue and in the socket, without
   * the texts that connections share.
   */
  get memoryBytes(): number {
    const ownChars = this.#waitingChars - this.#sharedChars
    // In V8 one character outside Latin-1 makes every character of its string take two bytes.
    return 2 * ownChars + this.#streamBytes + this.#socket.bufferedBytes
  }

  add(message: string): void {
    this.#queue(message)
    this.#waitingChars += message.length
  }

  /** Queues a message that is encoded when it is written. */
  defer(message: DeferredMessage): void {
    this.#queue(message)
    this.#deferredCount++
    this.#waitingChars += message.chars
    this.#sharedChars += message.sharedChars
  }

  /**
   * Queues messages that are encoded only when the socket has room.
   *
   * @param blocksInput Whether the next messages of the client wait until the stream has ended.
   * @param keptBytes Bytes that the stream keeps in memory until its end.
   */
  addStream(messages: PacedMessages, blocksInput = false, keptBytes = 0): void {
    this.#queue({ messages, blocksInput, keptBytes })
    this.#streamBytes += keptBytes
    this.#streamCount++
    if (blocksInput) this.#blockingStreamCount++
  }

  /** Discards all waiting output, and ends the streams. */
  clear(): void {
    const items = this.#items
    const hadUnencoded = this.hasUnencoded
    this.#items = noItems
    this.#streamCount = 0
    this.#deferredCount = 0
    this.#blockingStreamCount = 0
    this.#waitingChars = 0
    this.#sharedChars = 0
    this.#streamBytes = 0
    if (!hadUnencoded) return
    for (const item of items) {
      if (typeof item === 'string') continue
      if (isStream(item)) item.messages.return?.()
      else item.discard()
    }
  }

  /**
   * Writes waiting output while the socket has room.
   *
   * @param units Units of work that streams and deferred messages may use before the rest of the
   *   output waits. Default: no limit.
   * @param streamUnits The limit for streams, at most `units`. May be lower, because the next
   *   message of a stream may cost much more than a deferred message. Default: `units`.
   * @param isLate Returns whether the time for the units has passed. A late stream still makes some
   *   progress: it stops only when it has used units in this call.
   * @returns How many units of work were used.
   */
  flush(
    units = Number.POSITIVE_INFINITY,
    streamUnits = units,
    isLate: () => boolean = neverLate,
  ): number {
    if (this.#items.length === 0 || this.isBlocked) return 0
    if (this.hasUnencoded) return this.#flushInOrder(units, streamUnits, isLate)
    this.#writeAll()
    return 0
  }

  /**
   * Writes the last output before a close. Call this method before the close frame is sent.
   * Writes the encoded messages even if the socket has no room. Encodes streams and deferred
   * messages only within a small budget of work and while the socket has room. Writes nothing that
   * follows an unfinished stream.
   */
  flushMessages(): void {
    const units = turnBudget.minimum
    if (this.hasUnencoded) this.#flushInOrder(units, units, neverLate, /* isClosing */ true)
    else this.#writeAll()
  }

  #queue(item: OutputItem): void {
    if (this.#items === noItems) this.#items = [item]
    else this.#items.push(item)
  }

  /** Writes all output. The queue must have only encoded messages. */
  #writeAll(): void {
    const messages = this.#items as string[]
    this.#items = noItems
    this.#waitingChars = 0
    this.#write(messages)
  }

  #write(messages: readonly string[]): void {
    // A single message is a frame already.
    if (messages.length === 1) this.#socket.send(messages[0]!)
    else for (const frame of joinIntoFrames(messages)) this.#socket.send(frame)
  }

  /**
   * Writes the output in order. If the socket has no room or the units are used up, ends before the
   * first output that must be encoded.
   *
   * @param isClosing True before a close. A deferred message that cannot be encoded now is then
   *   discarded, and the output after that message is still written.
   */
  #flushInOrder(
    units: number,
    streamUnits: number,
    isLate: () => boolean,
    isClosing = false,
  ): number {
    const batch = new MessageBatch((messages) => this.#write(messages))
    let doneCount = 0
    let usedUnits = 0
    for (const item of this.#items) {
      if (typeof item === 'string') {
        batch.add(item)
        this.#waitingChars -= item.length
      } else if (isStream(item)) {
        batch.write()
        const progress = this.#writeStream(item.messages, streamUnits - usedUnits, isLate)
        usedUnits += progress.usedUnits
        if (!progress.isDone) break
        this.#streamCount--
        if (item.blocksInput) this.#blockingStreamCount--
        this.#streamBytes -= item.keptBytes
      } else {
        if (usedUnits < units && this.#hasRoom(batch)) {
          const text = item.encode()
          if (text !== undefined) batch.add(text)
          // A message without text costs as much as one byte, so that no message is free.
          usedUnits += costOfBytes(text?.length ?? 1)
        } else if (isClosing) item.discard()
        else break
        this.#waitingChars -= item.chars
        this.#sharedChars -= item.sharedChars
        this.#deferredCount--
      }
      doneCount++
    }
    this.#items.splice(0, doneCount)
    batch.write()
    return usedUnits
  }

  /** Whether the socket has room for further output after the messages of this batch. */
  #hasRoom(batch: MessageBatch): boolean {
    return this.#socket.bufferedBytes + batch.chars <= maxSocketBytes
  }

  /**
   * Writes a stream until it has ended, has used `units`, is late, or must wait for room in the
   * socket.
   */
  #writeStream(
    messages: PacedMessages,
    units: number,
    isLate: () => boolean,
  ): { isDone: boolean; usedUnits: number } {
    let usedUnits = 0
    while (usedUnits < units && !this.isBlocked && !(usedUnits > 0 && isLate())) {
      const next = messages.next()
      if (next.done === true) return { isDone: true, usedUnits }
      if (typeof next.value === 'number') usedUnits += next.value
      else {
        this.#socket.send(next.value)
        usedUnits += costOfBytes(next.value.length)
      }
    }
    return { isDone: false, usedUnits }
  }
}

/** An `isLate` for output that has no time limit. */
function neverLate(): boolean {
  return false
}

function isStream(item: OutputItem): item is Stream {
  return typeof item !== 'string' && 'messages' in item
}

/** Messages that are written together. */
class MessageBatch {
  readonly #writeMessages: (messages: readonly string[]) => void
  #messages: string[] = []
  chars = 0

  constructor(writeMessages: (messages: readonly string[]) => void) {
    this.#writeMessages = writeMessages
  }

  add(message: string): void {
    this.#messages.push(message)
    this.chars += message.length
  }

  write(): void {
    if (this.#messages.length > 0) this.#writeMessages(this.#messages)
    this.#messages = []
    this.chars = 0
  }
}
