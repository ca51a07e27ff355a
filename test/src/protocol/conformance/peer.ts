/**
 * A raw WebSocket to a broker for tests, without the client library. A peer sends exactly what a
 * test tells it to send, and keeps what it receives in order. It answers pings, unless it is
 * `mute`, so that its session does not end during a test.
 *
 * No method waits for time to pass. To show that a message does *not* come, a test requests another
 * message that would come after it: see `settle`.
 */
import { once } from 'node:events'
import { type ClientMessage, parseFrame, type ServerMessage, subprotocol } from '@holdfast/shared'
import { WebSocket } from 'ws'

/** A broker to test. */
export interface Target {
  readonly url: string
  /** A token that the broker accepts, if it requires one. */
  readonly token?: string | undefined
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

type Of<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>
type Hello = Omit<Extract<ClientMessage, { type: 'hello' }>, 'type'>
/** A request without its id, which the peer adds. */
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
  /** The highest id that this peer used in its session. */
  lastId = 0
  /** How many messages it has sent, `hello` and pongs included. */
  said = 0
  /** The text of every frame that it received. */
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

  /** Opens a connection and sends nothing. */
  static async connect({ url }: Target, protocols = [subprotocol]): Promise<Peer> {
    const peer = new Peer(url, protocols)
    await once(peer.#socket, 'open')
    return peer
  }

  /** Opens a connection and a session. */
  static async open(target: Target, hello: Hello = {}): Promise<Peer & { welcome: Of<'welcome'> }> {
    const peer = await Peer.connect(target)
    peer.say({ type: 'hello', ...withToken(target), ...hello })
    return Object.assign(peer, { welcome: await peer.hear('welcome') })
  }

  // ------------------------------------------------------------------------------- saying

  /** Sends one message, or several in one frame. */
  say(...messages: ClientMessage[]): void {
    for (const message of messages) {
      if ('id' in message) this.lastId = Math.max(this.lastId, message.id)
    }
    this.sayText(JSON.stringify(messages.length === 1 ? messages[0] : messages))
  }

  /** Sends any text as a frame, and counts the messages in it. */
  sayText(text: string): void {
    this.said += parseFrame(text)?.length ?? 1
    this.#socket.send(text)
  }

  sayBytes(bytes: Buffer, binary: boolean): void {
    this.#socket.send(bytes, { binary })
  }

  /** Sends a request under the next id, and returns the id. */
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

  /** Unlocks a lock that the session holds. */
  async release(fence: number): Promise<void> {
    await this.answer('unlocked', this.unlock(fence))
  }

  /** Sends a ping of the WebSocket, which is no message. */
  pingBelow(): void {
    this.#socket.ping()
  }

  // ------------------------------------------------------------------------------ hearing

  /** The next message of this type that `which` accepts. Messages before it stay in the list. */
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

  /** The answer to this request, of any type. */
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

  /** All parts of a `found` or `watching`. */
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
   * Waits until the broker has handled everything that this peer sent, and the peer has received
   * the results. Returns the received messages that no test has taken yet, without acks.
   */
  async settle(): Promise<readonly ServerMessage[]> {
    this.say({ type: 'ack', ids: [] })
    const { said } = this
    await this.hear('ack', ({ n }) => n >= said)
    return this.#heard.filter((message) => message.type !== 'ack')
  }

  // ------------------------------------------------------------------------------ leaving

  /** Drops the connection without a close frame. */
  drop(): void {
    this.#socket.terminate()
  }

  /** Sends `bye` and waits until the broker has closed the connection. */
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

  /** Resolves when a message arrives. Throws if the connection is closed. */
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

/** The token for a `hello`, if the broker requires one. */
export function withToken({ token }: Target): { token?: string } {
  return token === undefined ? {} : { token }
}
