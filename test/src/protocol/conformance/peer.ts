/**
 * A peer is a client for tests, without the client library. A peer sends exactly the messages of
 * the test over a raw WebSocket, and keeps the received messages in order. A peer answers pings, so
 * that its session does not end during a test. `ignoresPings` turns this off.
 *
 * No method waits for time to pass. To show that the broker does not send a message, a test sends
 * one more message and waits for its acknowledgement: see `unreadMessages`.
 */
import { once } from 'node:events'
import { type ClientMessage, parseFrame, type ServerMessage, subprotocol } from '@holdfast/shared'
import { WebSocket } from 'ws'

/** A broker to test. */
export interface Target {
  readonly url: string
  /** A token that the broker accepts, if the broker requires a token. */
  readonly token?: string | undefined
}

/** How the connection was closed. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/** A message of the broker with this type. */
type MessageOf<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>
/** The fields of the first message of a client, which opens or resumes its session. */
type Hello = Omit<Extract<ClientMessage, { type: 'hello' }>, 'type'>
/** The fields of any request without the id, which the peer adds. */
type RequestFields =
  Extract<ClientMessage, { id: number }> extends infer M
    ? M extends { type: string; id: number }
      ? Omit<M, 'id'>
      : never
    : never

export class Peer {
  readonly #socket: WebSocket
  readonly #heard: ServerMessage[] = []
  /** The functions to call at the next message or at the close. */
  #wakeCallbacks: (() => void)[] = []
  /** The highest id that this peer used in its session. */
  lastId = 0
  /** The number of messages that the peer has sent as text, including `hello` and pongs. */
  said = 0
  /** The text of every frame that the peer has received. */
  readonly frames: string[] = []
  /** Whether the peer leaves pings without an answer. */
  ignoresPings = false
  /** Resolves when the connection is closed. */
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
  static async open(
    target: Target,
    hello: Hello = {},
  ): Promise<Peer & { welcome: MessageOf<'welcome'> }> {
    const peer = await Peer.connect(target)
    peer.say({ type: 'hello', ...withToken(target), ...hello })
    return Object.assign(peer, { welcome: await peer.hear('welcome') })
  }

  // ------------------------------------------------------------------------------ sending

  /** Sends one or several messages in one frame. */
  say(...messages: ClientMessage[]): void {
    for (const message of messages) {
      if ('id' in message) this.lastId = Math.max(this.lastId, message.id)
    }
    this.sayText(JSON.stringify(messages.length === 1 ? messages[0] : messages))
  }

  /** Sends any text as a frame, and counts its messages. An invalid frame counts as one message. */
  sayText(text: string): void {
    this.said += parseFrame(text)?.length ?? 1
    this.#socket.send(text)
  }

  /**
   * Sends one frame with these bytes, as a binary frame or as a text frame. `said` does not count
   * the frame, because the broker must close the connection.
   */
  sayBytes(bytes: Buffer, binary: boolean): void {
    this.#socket.send(bytes, { binary })
  }

  /** Sends a request under the next id, and returns the id. */
  request(request: RequestFields): number {
    const id = this.lastId + 1
    this.say({ ...request, id } as ClientMessage)
    return id
  }

  /** Requests a lock. @returns the id of the request */
  lock(
    key: string,
    options: Omit<Extract<RequestFields, { type: 'lock' }>, 'type' | 'key'> = {},
  ): number {
    return this.request({ type: 'lock', key, ...options })
  }

  /** Sends an unlock. @returns the id of the request */
  unlock(fence: number): number {
    return this.request({ type: 'unlock', fence })
  }

  /** Acquires a lock on a key that must be free. Returns its fence, the number of the grant. */
  async acquire(key: string, options: Parameters<Peer['lock']>[1] = {}): Promise<number> {
    const { fence } = await this.hearAnswer('granted', this.lock(key, options))
    return fence
  }

  /** Unlocks a lock that the session holds. */
  async release(fence: number): Promise<void> {
    await this.hearAnswer('unlocked', this.unlock(fence))
  }

  /** Sends a WebSocket ping, which is not a message of the protocol. */
  pingWebSocket(): void {
    this.#socket.ping()
  }

  // ---------------------------------------------------------------------------- receiving

  /**
   * Resolves with the next message of this type that `accepts` accepts. Throws if the broker closes
   * the connection first. The other messages stay in the list.
   */
  async hear<T extends ServerMessage['type']>(
    type: T,
    accepts: (message: MessageOf<T>) => boolean = () => true,
  ): Promise<MessageOf<T>> {
    for (;;) {
      const i = this.#heard.findIndex(
        (message) => message.type === type && accepts(message as MessageOf<T>),
      )
      if (i !== -1) return this.#heard.splice(i, 1)[0] as MessageOf<T>
      await this.#nextMessage(`"${type}"`)
    }
  }

  /** Resolves with the answer to this request, of any type. */
  async hearAnswerTo(id: number): Promise<ServerMessage> {
    for (;;) {
      const i = this.#heard.findIndex((message) => 'id' in message && message.id === id)
      if (i !== -1) return this.#heard.splice(i, 1)[0]!
      await this.#nextMessage(`the answer to ${id}`)
    }
  }

  /** Resolves with the answer to this request, which must have this type. */
  async hearAnswer<T extends ServerMessage['type']>(type: T, id: number): Promise<MessageOf<T>> {
    const answer = await this.hearAnswerTo(id)
    if (answer.type === type) return answer as MessageOf<T>
    throw new Error(`Expected "${type}", received ${JSON.stringify(answer)}`)
  }

  /** Resolves with all parts of an answer `found` or `watching`, which the broker may split. */
  async hearAnswerParts<T extends 'found' | 'watching'>(
    type: T,
    id: number,
  ): Promise<MessageOf<T>[]> {
    const parts: MessageOf<T>[] = []
    let more = true
    while (more) {
      const part: MessageOf<'found' | 'watching'> = await this.hearAnswer(type, id)
      parts.push(part as MessageOf<T>)
      more = part.more
    }
    return parts
  }

  /** Waits until the broker has handled all messages of this peer, and the answers have arrived. */
  async settle(): Promise<void> {
    this.say({ type: 'ack', ids: [] })
    const { said } = this
    await this.hear('ack', ({ n }) => n >= said)
  }

  /**
   * Settles, and returns the received messages that no other method has returned, except acks. The
   * messages stay unread, so the next call returns them again. The list is empty if the test has
   * read every message that the broker has sent.
   */
  async unreadMessages(): Promise<readonly ServerMessage[]> {
    await this.settle()
    return this.#heard.filter((message) => message.type !== 'ack')
  }

  // ------------------------------------------------------------------------------ closing

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
      if (message.type !== 'ping' || this.ignoresPings) continue
      // The test does not see the pings that the peer answers.
      this.#heard.pop()
      this.say({ type: 'pong', n: message.n })
    }
    this.#wake()
  }

  /** Resolves when a message arrives. Throws if the connection is closed. */
  async #nextMessage(expected: string): Promise<void> {
    if (this.#closedWith !== undefined) {
      const { code, reason } = this.#closedWith
      throw new Error(`Expected ${expected}, the connection was closed: ${code} ${reason}`)
    }
    await new Promise<void>((resolve) => this.#wakeCallbacks.push(resolve))
  }

  /** Wakes the callers that wait for a message or for the close. */
  #wake(): void {
    const callbacks = this.#wakeCallbacks
    this.#wakeCallbacks = []
    for (const callback of callbacks) callback()
  }
}

/** The token for a `hello`, if the broker requires a token. */
export function withToken({ token }: Target): { token?: string } {
  return token === undefined ? {} : { token }
}
