/**
 * A session at the broker whose frames are written by hand, without the client library. Its
 * messages come from templates, the messages of one turn of the event loop share frames, and each
 * request has a callback. The session answers pings; otherwise it sends only what its caller asks
 * for. A fence is the number of a grant. The lease is how long the broker keeps a silent session.
 */
import { subprotocol } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import { openWire, type Wire } from './wire.js'

/** The fields that the load generator reads in answers, events and pings. */
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
   * The unanswered requests, by id. The `Map`s of a thousand sessions would leave garbage in the
   * old generation of the heap.
   */
  readonly #pending = new IdTable<{ readonly tableId: number; readonly onAnswer: OnAnswer }>()
  /** The messages that the next `#flush` sends. */
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
   * Opens a session.
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

  unlock(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"unlock","id":${this.#newRequest(onAnswer)},"fence":${fence}}`)
  }

  refresh(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"refresh","id":${this.#newRequest(onAnswer)},"fence":${fence}}`)
  }

  /** Cancels the request with this id. The broker answers only the cancelled request. */
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
      // The limit applies to the list in the answer, not to `waitingCount`.
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
   * Adds a message to the next flush. While the session handles received frames, `#onTurn` flushes;
   * otherwise a microtask does.
   */
  #send(message: string): void {
    if (this.#unsent !== undefined) this.#unsent.push(message)
    else {
      // A new array each time: a reused array would move to the old generation of the heap, and
      // there keep its new messages alive.
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
  // The broker limits only the bytes: to 16 KiB in `public`, its profile for untrusted clients.
  // The limit of messages is a choice of this load generator.
  const max = { messages: 256, bytes: 16_200 }
  const frames: string[] = []
  let frame: string[] = []
  // 1 for the opening bracket, and 1 after each message for a comma or the closing bracket.
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
