/**
 * The other side of a broker, without a client's help: a raw WebSocket that says exactly what it is
 * told to say, keeps what it hears in order, and has no opinion. It answers pings, unless it is to
 * be silent, so that a test is not a session that went away.
 *
 * Nothing here waits for time to pass. That something does *not* come is shown by asking for
 * something that comes after it: see `settle`.
 */
import { once } from 'node:events'
import { type ClientMessage, parseFrame, type ServerMessage, subprotocol } from '@holdfast/shared'
import { WebSocket } from 'ws'

/** A broker to be tried. */
export interface Target {
  readonly url: string
  /** What its `authenticate` accepts, if it has one. */
  readonly token?: string | undefined
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

type Of<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>
type Hello = Omit<Extract<ClientMessage, { type: 'hello' }>, 'type'>
/** A request as it is asked for here: the peer counts its id. */
type Ask =
  Extract<ClientMessage, { id: number }> extends infer M
    ? M extends { type: string; id: number }
      ? Omit<M, 'id'>
      : never
    : never

export class Peer {
  readonly #socket: WebSocket
  readonly #heard: ServerMessage[] = []
  #waiting: (() => void)[] = []
  /** The highest id that was used on this session, as far as this peer knows. */
  lastId = 0
  /** How many messages it has said, its `hello` and its pongs included. */
  said = 0
  /** The text of every frame that came. */
  readonly frames: string[] = []
  /** Leaves pings without an answer. */
  mute = false
  readonly closed: Promise<Closed>
  #closedWith: Closed | undefined

  private constructor(url: string, protocols: string[]) {
    this.#socket = new WebSocket(url, protocols, { perMessageDeflate: false })
    this.#socket.on('message', (data) => this.#hear(String(data)))
    this.closed = new Promise((resolve) => {
      this.#socket.on('close', (code, reason) => {
        this.#closedWith = { code, reason: String(reason) }
        this.#wake()
        resolve(this.#closedWith)
      })
    })
  }

  /** A connection on which nothing was said yet. */
  static async connect({ url }: Target, protocols = [subprotocol]): Promise<Peer> {
    const peer = new Peer(url, protocols)
    await once(peer.#socket, 'open')
    return peer
  }

  /** A connection with a session on it. */
  static async open(target: Target, hello: Hello = {}): Promise<Peer & { welcome: Of<'welcome'> }> {
    const peer = await Peer.connect(target)
    peer.say({ type: 'hello', ...withToken(target), ...hello })
    return Object.assign(peer, { welcome: await peer.hear('welcome') })
  }

  // ------------------------------------------------------------------------------- saying

  /** One message, or several in one frame. */
  say(...messages: ClientMessage[]): void {
    for (const message of messages) {
      if ('id' in message) this.lastId = Math.max(this.lastId, message.id)
    }
    this.sayText(JSON.stringify(messages.length === 1 ? messages[0] : messages))
  }

  /** Any text as a frame; it counts as the messages that it consists of. */
  sayText(text: string): void {
    this.said += parseFrame(text)?.length ?? 1
    this.#socket.send(text)
  }

  sayBytes(bytes: Buffer, binary: boolean): void {
    this.#socket.send(bytes, { binary })
  }

  /** Asks under the next id, which it returns. */
  ask(request: Ask): number {
    const id = this.lastId + 1
    this.say({ ...request, id } as ClientMessage)
    return id
  }

  lock(key: string, options: Omit<Extract<Ask, { type: 'lock' }>, 'type' | 'key'> = {}): number {
    return this.ask({ type: 'lock', key, ...options })
  }

  unlock(fence: number): number {
    return this.ask({ type: 'unlock', fence })
  }

  /** Takes a lock that must be free; returns its fence. */
  async take(key: string, options: Parameters<Peer['lock']>[1] = {}): Promise<number> {
    const { fence } = await this.answer('granted', this.lock(key, options))
    return fence
  }

  /** Takes a lock back that is held. */
  async release(fence: number): Promise<void> {
    await this.answer('unlocked', this.unlock(fence))
  }

  /** A WebSocket ping, which is no message. */
  pingBelow(): void {
    this.#socket.ping()
  }

  // ------------------------------------------------------------------------------ hearing

  /** The next message of this type (that `which` accepts); those before it stay for others. */
  async hear<T extends ServerMessage['type']>(
    type: T,
    which: (message: Of<T>) => boolean = () => true,
  ): Promise<Of<T>> {
    for (;;) {
      const place = this.#heard.findIndex((one) => one.type === type && which(one as Of<T>))
      if (place !== -1) return this.#heard.splice(place, 1)[0] as Of<T>
      await this.#more(`"${type}"`)
    }
  }

  /** The answer to this request, whatever it is. */
  async hearAnswer(id: number): Promise<ServerMessage> {
    for (;;) {
      const place = this.#heard.findIndex((one) => 'id' in one && one.id === id)
      if (place !== -1) return this.#heard.splice(place, 1)[0]!
      await this.#more(`the answer to ${id}`)
    }
  }

  /** The answer to this request, which must be of this type. */
  async answer<T extends ServerMessage['type']>(type: T, id: number): Promise<Of<T>> {
    const answer = await this.hearAnswer(id)
    if (answer.type === type) return answer as Of<T>
    throw new Error(`${JSON.stringify(answer)} instead of "${type}"`)
  }

  /** All parts of an answer that comes in parts. */
  async answers<T extends 'found' | 'watching'>(type: T, id: number): Promise<Of<T>[]> {
    const parts: Of<T>[] = []
    let more = true
    while (more) {
      const part: Of<'found' | 'watching'> = await this.answer(type, id)
      parts.push(part as Of<T>)
      more = part.more
    }
    return parts
  }

  /**
   * Returns once the broker has dealt with everything that was said here before; whatever came of
   * it for this peer has been heard by then. Returns what nobody has asked for yet, but for acks.
   */
  async settle(): Promise<readonly ServerMessage[]> {
    this.say({ type: 'ack', ids: [] })
    const { said } = this
    await this.hear('ack', ({ n }) => n >= said)
    return this.#heard.filter((message) => message.type !== 'ack')
  }

  // ------------------------------------------------------------------------------ leaving

  /** Drops the connection without a word. */
  drop(): void {
    this.#socket.terminate()
  }

  /** Says goodbye and waits until it was heard. */
  async leave(): Promise<void> {
    if (this.#closedWith !== undefined) return
    this.say({ type: 'bye' })
    await this.closed
  }

  #hear(text: string): void {
    this.frames.push(text)
    const frame = JSON.parse(text) as ServerMessage | ServerMessage[]
    for (const message of Array.isArray(frame) ? frame : [frame]) {
      this.#heard.push(message)
      if (message.type !== 'ping' || this.mute) continue
      this.#heard.pop()
      this.say({ type: 'pong', n: message.n })
    }
    this.#wake()
  }

  /** Resolves when something has come; throws if nothing can come any more. */
  async #more(instead: string): Promise<void> {
    if (this.#closedWith !== undefined) {
      const { code, reason } = this.#closedWith
      throw new Error(`closed with ${code} (${reason}) instead of ${instead}`)
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}

/** The token for a `hello`, if the broker wants one. */
export function withToken({ token }: Target): { token?: string } {
  return token === undefined ? {} : { token }
}
