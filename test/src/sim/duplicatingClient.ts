/**
 * A raw client (which writes protocol messages itself) that makes use of what PROTOCOL.md permits.
 * The client sends many messages twice, also sends on connections that it has replaced, and repeats
 * requests after a resume without reading the `snapshot` messages. Even so, each request must run
 * once, and its repetition must get the same answer. Probabilities without a comment only set how
 * often the client does something.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import { ActionLoop, messagesIn, type RawClientDeps } from './rawClient.js'

export interface DuplicatingClientDeps extends RawClientDeps {
  readonly keys: readonly string[]
  /** Whether the client also sends requests that the broker answers without its command log. */
  readonly usesImmediateRequests: boolean
  /** Whether the client also sends `complete` for its locks, although only `once` permits this. */
  readonly completesLocks: boolean
}

interface Answer {
  readonly type: string
  readonly id: number
  readonly fence?: number
  readonly code?: string
}

/** The mean time between two actions, in ms. */
const pauseMs = 150

export class DuplicatingClient {
  readonly #deps: DuplicatingClientDeps
  #socket: WebSocketLike | undefined
  /** The last welcomed connection before `#socket`; this connection may still be open. */
  #replacedSocket: WebSocketLike | undefined
  #isWelcomed = false
  #session: { readonly session: string; readonly secret: string } | undefined
  #resumeAttempts = 0
  #lastId = 0
  /** The text of each request whose answer the client has not acknowledged, by id. */
  readonly #unacknowledged = new Map<number, string>()
  /** The first answer to each of these requests, by id. */
  readonly #answers = new Map<number, string>()
  /** The fences of all locks that the session has got, even of locks that it has released. */
  readonly #fences: number[] = []
  readonly #loop: ActionLoop

  constructor(deps: DuplicatingClientDeps) {
    this.#deps = deps
    this.#loop = new ActionLoop(deps, pauseMs, () => this.#connectOrAct())
  }

  start(): void {
    this.#loop.start()
  }

  /**
   * Sends `bye`. If the `bye` is lost, the broker ends the session when the lease (the longest
   * silence of a client) is over.
   */
  stop(): void {
    this.#loop.stop()
    this.#send('{"type":"bye"}')
  }

  #connectOrAct(): void {
    const { random } = this.#deps
    if (this.#socket === undefined || random.chance(0.05)) this.#connect()
    else if (this.#isWelcomed) this.#act()
  }

  #connect(): void {
    const { WebSocket, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    if (this.#isWelcomed) this.#replacedSocket = this.#socket
    this.#socket = socket
    this.#isWelcomed = false
    const fields = { type: 'hello', name: 'duplicator', lease: 2_000, grace: 'lease' }
    const resume = this.#session && { ...this.#session, try: ++this.#resumeAttempts }
    const hello = JSON.stringify({ ...fields, resume })
    socket.onopen = () => socket.send(hello)
    socket.onmessage = ({ data }) => {
      for (const message of messagesIn<{ readonly type: string }>(data)) {
        if (socket === this.#socket) this.#received(message)
      }
    }
    socket.onclose = () => {
      if (socket !== this.#socket) return
      this.#socket = undefined
      this.#isWelcomed = false
    }
  }

  #act(): void {
    const { random, keys, usesImmediateRequests, completesLocks } = this.#deps
    const statsWeight = usesImmediateRequests ? 4 : 0
    const action = random.pickWeighted({
      lock: 4,
      unlock: 4,
      repeat: 6,
      acknowledge: 1,
      stats: statsWeight,
    })
    if (action === 'stats') this.#send(JSON.stringify({ type: 'stats', id: ++this.#lastId }))
    else if (action === 'lock') {
      const timeout = random.pick([0, random.int(1, 1_000)])
      this.#request({ type: 'lock', key: random.pick(keys), timeout, ttl: 1_500 })
    } else if (action === 'unlock' && this.#fences.length > 0) {
      const fence = random.pick(this.#fences)
      const completes = completesLocks && random.chance(0.5)
      this.#request(completes ? { type: 'complete', fence, keep: 500 } : { type: 'unlock', fence })
    } else if (action === 'repeat' && this.#unacknowledged.size > 0) {
      this.#send(random.pick([...this.#unacknowledged.values()]))
    } else if (action === 'acknowledge') {
      const ids = [...this.#answers.keys()]
      for (const id of ids) this.#unacknowledged.delete(id)
      this.#answers.clear()
      this.#send(JSON.stringify({ type: 'ack', ids }))
    }
  }

  /** Sends a request once or twice, sometimes also on the replaced connection. */
  #request(request: object): void {
    const { random } = this.#deps
    const id = ++this.#lastId
    const text = JSON.stringify({ ...request, id })
    this.#unacknowledged.set(id, text)
    if (random.chance(0.2)) this.#replacedSocket?.send(text)
    this.#send(text)
    if (random.chance(0.3)) this.#send(text)
  }

  #send(text: string): void {
    if (this.#isWelcomed) this.#socket?.send(text)
  }

  #received(message: { readonly type: string }): void {
    if (this.#loop.isStopped) return
    switch (message.type) {
      case 'welcome':
        this.#welcomed(message as never)
        break
      case 'ping':
        this.#send(JSON.stringify({ type: 'pong', n: (message as never as { n: number }).n }))
        break
      case 'granted':
      case 'unlocked':
      case 'failed':
        this.#answered(message as Answer)
        break
    }
  }

  #welcomed(welcome: { session: string; secret: string; resumed: boolean }): void {
    const { session, secret } = welcome
    this.#session = { session, secret }
    this.#isWelcomed = true
    if (!welcome.resumed) {
      this.#unacknowledged.clear()
      this.#answers.clear()
      this.#fences.length = 0
    }
    // The client must confirm the new secret, even if it has no request to repeat.
    this.#send('{"type":"ack","ids":[]}')
    for (const text of this.#unacknowledged.values()) this.#send(text)
  }

  #answered({ type, id, fence, code }: Answer): void {
    const { oracles } = this.#deps
    const answer = `${type} ${fence ?? ''} ${code ?? ''}`
    const earlierAnswer = this.#answers.get(id)
    // The broker forgets an answer that the client has acknowledged. After that, a repetition of
    // the request may get an error, which the client ignores.
    if (!this.#unacknowledged.has(id)) return
    // An unavailable broker does not remember the request, so a repetition may get another answer.
    if (code === 'UNAVAILABLE') {
      this.#unacknowledged.delete(id)
      return
    }
    // All requests are valid, so `BAD_MESSAGE` is wrong even as the first answer.
    if (earlierAnswer === undefined && code !== 'BAD_MESSAGE') {
      this.#answers.set(id, answer)
      if (fence !== undefined) this.#fences.push(fence)
      return
    }
    oracles.report.count('answer repeated to the duplicating client')
    if (earlierAnswer !== answer) {
      oracles.violated(
        'a repeated request gets the same answer',
        `${id}: ${earlierAnswer}, then ${answer}`,
      )
    }
  }
}
