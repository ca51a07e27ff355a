/**
 * A session of the broker with frames by hand: messages from templates, one frame for each turn,
 * and a callback for each answer. The session does only what a correct client must do.
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
  readonly waitingCount?: number
  readonly n?: number
}

export type OnAnswer = (answer: RawAnswer) => void

export class RawSession {
  readonly #wire: Wire
  /**
   * By id. A `Map` for each of a thousand sessions would change all the time and leave garbage in
   * the old generation.
   */
  readonly #pending = new IdTable<{ readonly tableId: number; readonly onAnswer: OnAnswer }>()
  #out: string[] | undefined
  #inTurn = false
  #id = 0
  #onWelcome: (() => void) | undefined
  /** Called for messages that are not answers: events and losses. */
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
   * @param fields Further fields of its `hello` as JSON text, such as `,"lease":5000`. @param
   * localAddress The address that it connects from.
   */
  static async open(url: string, fields = '', localAddress?: string): Promise<RawSession> {
    const session = new RawSession(await openWire(url, subprotocol, localAddress))
    await session.#hello(fields)
    return session
  }

  /**
   * Requests a lock. The answer is `granted` or `failed`.
   *
   * @param fields Further fields as JSON text, such as `,"ttl":5000`.
   */
  lock(key: string, onAnswer: OnAnswer, fields = ''): number {
    const id = this.#ask(onAnswer)
    this.#send(`{"type":"lock","id":${id},"key":"${key}"${fields}}`)
    return id
  }

  unlock(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"unlock","id":${this.#ask(onAnswer)},"fence":${fence}}`)
  }

  refresh(fence: number, onAnswer: OnAnswer): void {
    this.#send(`{"type":"refresh","id":${this.#ask(onAnswer)},"fence":${fence}}`)
  }

  cancel(request: number): void {
    this.#send(`{"type":"cancel","request":${request}}`)
  }

  watch(prefix: string): void {
    this.#send(`{"type":"watch","id":${this.#ask(() => {})},"prefix":"${prefix}"}`)
  }

  /** The number of waiting requests for a key, or for all keys with a prefix. */
  waitingCount(scope: { readonly key: string } | { readonly prefix: string }): Promise<number> {
    const where = 'key' in scope ? `"key":"${scope.key}"` : `"prefix":"${scope.prefix}"`
    return new Promise((resolve) => {
      const id = this.#ask(({ waitingCount }) => resolve(waitingCount ?? 0))
      this.#send(`{"type":"query","id":${id},${where},"limit":1}`)
    })
  }

  /** Sends `bye`; resolves when the broker has closed the connection. */
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
      this.onClose = () => reject(new Error('the broker did not let the generator in'))
      this.#send(`{"type":"hello","name":"bench"${fields}}`)
    })
  }

  #ask(onAnswer: OnAnswer): number {
    const id = ++this.#id
    this.#pending.add({ tableId: id, onAnswer })
    return id
  }

  /**
   * Messages that are sent while a frame is handled leave together after the frame; other messages
   * leave at the end of the turn.
   */
  #send(message: string): void {
    if (this.#out !== undefined) this.#out.push(message)
    else {
      // Allocates a new array each time, because an array in the old generation would keep its new
      // elements alive.
      this.#out = [message]
      if (!this.#inTurn) queueMicrotask(() => this.#flush())
    }
  }

  #flush(): void {
    const messages = this.#out
    if (messages === undefined) return
    this.#out = undefined
    if (messages.length === 1) this.#wire.send(messages[0]!)
    else for (const frame of framesOf(messages)) this.#wire.send(frame)
  }

  #onText(text: string): void {
    this.#inTurn = true
    const value = JSON.parse(text) as RawAnswer | RawAnswer[]
    if (Array.isArray(value)) for (const each of value) this.#onMessage(each)
    else this.#onMessage(value)
  }

  #onTurn(): void {
    this.#flush()
    this.#inTurn = false
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
    const asked = this.#pending.get(answer.id)
    if (asked === undefined) return
    this.#pending.remove(asked)
    asked.onAnswer(answer)
  }
}

/** Frames that are smaller than the broker accepts, also from clients without a token. */
function framesOf(messages: readonly string[]): string[] {
  const most = { messages: 256, bytes: 16_200 }
  const frames: string[] = []
  let frame: string[] = []
  let bytes = 1
  for (const message of messages) {
    if (frame.length === most.messages || bytes + message.length > most.bytes) {
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
