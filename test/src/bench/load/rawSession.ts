/**
 * A session of the broker with frames by hand: messages by template, one frame for each turn, and a
 * callback for each answer. As little as a correct client can do.
 */
import { subprotocol } from '@holdfast/shared'
import { IdTable } from '@holdfast/shared/idTable'
import { openWire, type Wire } from './wire.js'

/** What the generator reads of an answer. */
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
  /** By id. A thousand small `Map`s that are always changing would leave garbage that gets old. */
  readonly #pending = new IdTable<{ readonly tableId: number; readonly onAnswer: OnAnswer }>()
  #out: string[] | undefined
  #inTurn = false
  #id = 0
  #onWelcome: (() => void) | undefined
  /** Told of everything that answers nothing: events, losses. */
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
   * Opens a session on the defaults of the broker, as a user would.
   *
   * @param fields Further fields of its hello, as in the message, such as `,"lease":5000`.
   * @param localAddress The address that it comes from.
   */
  static async open(url: string, fields = '', localAddress?: string): Promise<RawSession> {
    const session = new RawSession(await openWire(url, subprotocol, localAddress))
    await session.#hello(fields)
    return session
  }

  /**
   * Asks for a lock. The answer is `granted` or `failed`.
   *
   * @param fields Further fields, as in the message, such as `,"ttl":5000`.
   */
  lock(key: string, onAnswer: OnAnswer, fields = ''): number {
    const id = this.#ask(onAnswer)
    this.#say(`{"type":"lock","id":${id},"key":"${key}"${fields}}`)
    return id
  }

  unlock(fence: number, onAnswer: OnAnswer): void {
    this.#say(`{"type":"unlock","id":${this.#ask(onAnswer)},"fence":${fence}}`)
  }

  refresh(fence: number, onAnswer: OnAnswer): void {
    this.#say(`{"type":"refresh","id":${this.#ask(onAnswer)},"fence":${fence}}`)
  }

  cancel(request: number): void {
    this.#say(`{"type":"cancel","request":${request}}`)
  }

  watch(prefix: string): void {
    this.#say(`{"type":"watch","id":${this.#ask(() => {})},"prefix":"${prefix}"}`)
  }

  /** How many wait for a key, and for how many keys that begin with a prefix. */
  waitingCount(scope: { readonly key: string } | { readonly prefix: string }): Promise<number> {
    const where = 'key' in scope ? `"key":"${scope.key}"` : `"prefix":"${scope.prefix}"`
    return new Promise((resolve) => {
      const id = this.#ask(({ waitingCount }) => resolve(waitingCount ?? 0))
      this.#say(`{"type":"query","id":${id},${where},"limit":1}`)
    })
  }

  /** Says goodbye; resolves when the broker has closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.onClose = resolve
      this.#say('{"type":"bye"}')
    })
  }

  /** Drops the connection as a crash would. */
  destroy(): void {
    this.#wire.destroy()
  }

  #hello(fields: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onWelcome = resolve
      this.onClose = () => reject(new Error('the broker did not let the generator in'))
      this.#say(`{"type":"hello","name":"bench"${fields}}`)
    })
  }

  #ask(onAnswer: OnAnswer): number {
    const id = ++this.#id
    this.#pending.add({ tableId: id, onAnswer })
    return id
  }

  /** What is said while a frame is handled leaves at the end of it; anything else in a moment. */
  #say(message: string): void {
    if (this.#out !== undefined) this.#out.push(message)
    else {
      // Made anew each time: an array that got old would pass its age on to what it is given.
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
        this.#say(`{"type":"pong","n":${message.n}}`)
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

/** Frames that are below what the broker takes, of strangers too. */
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
