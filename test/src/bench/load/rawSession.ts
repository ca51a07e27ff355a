/**
 * A session at the broker whose frames are written by hand, without the client library. Its
 * messages come from templates, the messages of one turn of the event loop share a frame, and each
 * request has a callback. By itself, the session only answers pings, as a client must. A fence is
 * the number of a grant, and the lease is how long the broker keeps a silent session.
 */
import { subprotocol } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import { openWire, type Wire } from './wire.js'

/** The fields of an answer that the generator reads. */
export interface RawAnswer {
  readonly type: string
  readonly id: number
  readonly fence: number
  readonly code?: string
  /** In the answer to a query. */
  readonly waitingCount?: number
  /** The number of a ping, which the pong repeats. */
  readonly n?: number
}

export type OnAnswer = (answer: RawAnswer) => void

export class RawSession {
  readonly #wire: Wire
  /**
   * The requests without an answer, by id. (In each of a thousand sessions, a `Map` would leave
   * garbage in the old generation of the heap.)
   */
  readonly #pending = new IdTable<{ readonly tableId: number; readonly onAnswer: OnAnswer }>()
  /** The messages of the next frame. */
  #unsent: string[] | undefined
  /** Whether the session is handling received frames. */
  #isReceiving = false
  #lastId = 0
  #onWelcome: (() => void) | undefined
  /** Called for events and for lost locks. */
  onPush: OnAnswer = () => {}
  onClose: () => void = () => {}

  constructor(wire: Wire) {
    this.#wire = wire
    wire.listen({
      onText: (text) => this.#onText(text),
      onTurn: () => this.#onTurn(),
      onClose: () => this.onClose(),
    })
  }

  /**
   * Opens a session with the default settings of the broker.
   *
   * @param fields Further fields of the `hello` as JSON text, such as `,"lease":5000`.
   * @param localAddress The address from which the session connects.
   */
  static async open(url: string, fields = '', localAddress?: string): Promise<RawSession> {
    const session = new RawSession(await openWire(url, subprotocol, localAddress))
    await session.#hello(fields)
    return session
  }

  /**
   * Requests a lock, and returns the id of the request. The answer is `granted` or `failed`.
   *
   * @param fields Further fields as JSON text, such as `,"ttl":5000`.
   */
  lock(key: string, onAnswer: OnAnswer, fields = ''): number {
    const id = this.#newRequest(onAnswer)
    this.#send(`{"type":"lock","id":${id},"key":"${key}"${fields}}`)
    return id
  }

  /** Sends an unlock. @param onAnswer Called with the answer of the broker. */
  unlock(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"unlock","id":${this.#newRequest(onAnswer)},"fence":${fence}}`)
  }

  /** Sends a refresh. @param onAnswer Called with the answer of the broker. */
  refresh(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"refresh","id":${this.#newRequest(onAnswer)},"fence":${fence}}`)
  }

  /** Cancels the request with this id. A cancel has no answer. */
  cancel(request: number): void {
    this.#send(`{"type":"cancel","request":${request}}`)
  }

  /** Watches all keys with this prefix, and ignores the state that the broker sends first. */
  watch(prefix: string): void {
    this.#send(`{"type":"watch","id":${this.#newRequest(() => {})},"prefix":"${prefix}"}`)
  }

  /** The number of waiting requests for a key, or for all keys with a prefix. */
  waitingCount(keys: { readonly key: string } | { readonly prefix: string }): Promise<number> {
    const keyField = 'key' in keys ? `"key":"${keys.key}"` : `"prefix":"${keys.prefix}"`
    return new Promise((resolve) => {
      const id = this.#newRequest(({ waitingCount }) => resolve(waitingCount ?? 0))
      // The broker lists at most one request, but counts all.
      this.#send(`{"type":"query","id":${id},${keyField},"limit":1}`)
    })
  }

  /** Sends `bye`, and resolves when the broker has closed the connection. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.onClose = resolve
      this.#send('{"type":"bye"}')
    })
  }

  /** Drops the connection like a crash. */
  destroy(): void {
    this.#wire.destroy()
  }

  #hello(fields: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onWelcome = resolve
      this.onClose = () => reject(new Error('The broker refused the session of the load generator'))
      this.#send(`{"type":"hello","name":"bench"${fields}}`)
    })
  }

  /** Registers the callback of a new request, and returns the id of the request. */
  #newRequest(onAnswer: OnAnswer): number {
    const id = ++this.#lastId
    this.#pending.add({ tableId: id, onAnswer })
    return id
  }

  /**
   * Adds a message to the next frame. While the session handles received frames, the next frame is
   * sent by `#onTurn`; otherwise in a microtask.
   */
  #send(message: string): void {
    if (this.#unsent !== undefined) this.#unsent.push(message)
    else {
      // Allocates a new array each time, because an array in the old generation would keep its new
      // elements alive.
      this.#unsent = [message]
      if (!this.#isReceiving) queueMicrotask(() => this.#flush())
    }
  }

  #flush(): void {
    const messages = this.#unsent
    if (messages === undefined) return
    this.#unsent = undefined
    if (messages.length === 1) this.#wire.send(messages[0]!)
    else for (const frame of framesOf(messages)) this.#wire.send(frame)
  }

  #onText(text: string): void {
    this.#isReceiving = true
    const value = JSON.parse(text) as RawAnswer | RawAnswer[]
    if (Array.isArray(value)) for (const message of value) this.#onMessage(message)
    else this.#onMessage(value)
  }

  #onTurn(): void {
    this.#flush()
    this.#isReceiving = false
  }

  #onMessage(message: RawAnswer): void {
    switch (message.type) {
      case 'granted':
      case 'unlocked':
      case 'refreshed':
      case 'failed':
      case 'found':
        this.#onAnswer(message)
        break
      case 'ping':
        this.#send(`{"type":"pong","n":${message.n}}`)
        break
      case 'welcome':
        this.#onWelcome?.()
        break
      case 'lost':
      case 'event':
        this.onPush(message)
        break
    }
  }

  #onAnswer(answer: RawAnswer): void {
    const request = this.#pending.get(answer.id)
    if (request === undefined) return
    this.#pending.remove(request)
    request.onAnswer(answer)
  }
}

/** Joins messages into frames that the broker accepts from untrusted clients too. */
function framesOf(messages: readonly string[]): string[] {
  // The broker limits only the bytes. Its profile for untrusted clients, `public`, allows 16 KiB.
  const max = { messages: 256, bytes: 16_200 }
  const frames: string[] = []
  let frame: string[] = []
  // The opening bracket. A comma or the closing bracket follows each message.
  let bytes = 1
  for (const message of messages) {
    if (frame.length === max.messages || bytes + message.length > max.bytes) {
      if (frame.length > 0) frames.push(`[${frame.join(',')}]`)
      frame = []
      bytes = 1
    }
    frame.push(message)
    bytes += message.length + 1
  }
  frames.push(`[${frame.join(',')}]`)
  return frames
}
