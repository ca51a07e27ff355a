/**
 * A client of somebody else's making, by the letter of PROTOCOL.md and no better: it says many
 * things twice, keeps speaking on connections that it has replaced, and asks again after a resume
 * without a look at the snapshot. A request must run once all the same, and be answered as it was.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { StrangerDeps } from './stranger.js'

export interface StuttererDeps extends StrangerDeps {
  readonly keys: readonly string[]
  /** Asks also for what is answered on the spot, without the log. */
  readonly isCurious: boolean
}

interface Answer {
  readonly type: string
  readonly id: number
  readonly fence?: number
  readonly code?: string
}

/** Mean time between two things that it says, in ms. */
const pauseMs = 150

export class DuplicatingClient {
  readonly #deps: StuttererDeps
  #socket: WebSocketLike | undefined
  /** The one before; it may still be open. */
  #former: WebSocketLike | undefined
  #isUp = false
  #session: { readonly session: string; readonly secret: string } | undefined
  #tries = 0
  #lastId = 0
  /** Text of the requests that have not been acknowledged, by id. */
  readonly #said = new Map<number, string>()
  readonly #answers = new Map<number, string>()
  readonly #fences: number[] = []
  #isStopped = false

  constructor(deps: StuttererDeps) {
    this.#deps = deps
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#again(), random.between(0, 2 * pauseMs))
  }

  /** Says goodbye; what it has left by then is gone with its lease. */
  stop(): void {
    this.#isStopped = true
    this.#say('{"type":"bye"}')
  }

  #again(): void {
    if (this.#isStopped) return
    const { random } = this.#deps
    if (this.#socket === undefined || random.chance(0.05)) this.#connect()
    else if (this.#isUp) this.#act()
    this.start()
  }

  #connect(): void {
    const { WebSocket, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    if (this.#isUp) this.#former = this.#socket
    this.#socket = socket
    this.#isUp = false
    const terms = { type: 'hello', name: 'stutterer', lease: 2_000, grace: 'lease' }
    const resume = this.#session && { ...this.#session, try: ++this.#tries }
    const hello = JSON.stringify({ ...terms, resume })
    socket.onopen = () => socket.send(hello)
    socket.onmessage = ({ data }) => {
      const parsed = JSON.parse(String(data))
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
        if (socket === this.#socket) this.#hear(message)
      }
    }
    socket.onclose = () => {
      if (socket !== this.#socket) return
      this.#socket = undefined
      this.#isUp = false
    }
  }

  #act(): void {
    const { random, keys, isCurious } = this.#deps
    const looks = isCurious ? 4 : 0
    const what = random.weighted({ lock: 4, unlock: 4, repeat: 6, acknowledge: 1, look: looks })
    if (what === 'look') this.#say(JSON.stringify({ type: 'stats', id: ++this.#lastId }))
    else if (what === 'lock') {
      const timeout = random.pick([0, random.int(1, 1_000)])
      this.#ask({ type: 'lock', key: random.pick(keys), timeout, ttl: 1_500 })
    } else if (what === 'unlock' && this.#fences.length > 0) {
      this.#ask({ type: 'unlock', fence: random.pick(this.#fences) })
    } else if (what === 'repeat' && this.#said.size > 0) {
      this.#say(random.pick([...this.#said.values()]))
    } else if (what === 'acknowledge') {
      const ids = [...this.#answers.keys()]
      for (const id of ids) this.#said.delete(id)
      this.#answers.clear()
      this.#say(JSON.stringify({ type: 'ack', ids }))
    }
  }

  /**
   * Asks, now or twice; sometimes on the connection that is not its own any more, and again here.
   */
  #ask(request: object): void {
    const { random } = this.#deps
    const id = ++this.#lastId
    const text = JSON.stringify({ ...request, id })
    this.#said.set(id, text)
    if (random.chance(0.2)) this.#former?.send(text)
    this.#say(text)
    if (random.chance(0.3)) this.#say(text)
  }

  #say(text: string): void {
    if (this.#isUp) this.#socket?.send(text)
  }

  #hear(message: { readonly type: string }): void {
    if (this.#isStopped) return
    switch (message.type) {
      case 'welcome':
        this.#welcomed(message as never)
        break
      case 'ping':
        this.#say(JSON.stringify({ type: 'pong', n: (message as never as { n: number }).n }))
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
    this.#isUp = true
    if (!welcome.resumed) {
      this.#said.clear()
      this.#answers.clear()
      this.#fences.length = 0
    }
    this.#say('{"type":"ack","ids":[]}')
    for (const text of this.#said.values()) this.#say(text)
  }

  #answered({ type, id, fence, code }: Answer): void {
    const { judges } = this.#deps
    const said = `${type} ${fence ?? ''} ${code ?? ''}`
    const before = this.#answers.get(id)
    // An answer that was acknowledged is forgotten, and asking for it once more is a mistake.
    if (!this.#said.has(id)) return
    // What was turned away is not remembered, and need not be answered like that again.
    if (code === 'UNAVAILABLE') {
      this.#said.delete(id)
      return
    }
    if (before === undefined && code !== 'BAD_MESSAGE') {
      this.#answers.set(id, said)
      if (fence !== undefined) this.#fences.push(fence)
      return
    }
    judges.verdict.count('answer repeated to a stutterer')
    if (before !== said) {
      judges.broken('what is asked again is answered the same', `${id}: ${before}, then ${said}`)
    }
  }
}
