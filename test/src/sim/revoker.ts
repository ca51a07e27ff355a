/**
 * Somebody with the right to revoke locks, who uses it most of all on those whose holders are away
 * and cannot be told: only the next resume tells them. Speaks the protocol by hand.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { Lock, LockTable } from '@holdfast/server/core'
import type { StrangerDeps } from './stranger.js'

/** Mean time between two looks, in ms. */
const pauseMs = 200
/** How likely a lock is revoked although its holder is there. */
const harshness = 0.03

export class Revoker {
  readonly #deps: StrangerDeps
  #socket: WebSocketLike | undefined
  #isUp = false
  #lastId = 0
  #isStopped = false

  constructor(deps: StrangerDeps) {
    this.#deps = deps
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#again(), random.between(0, 2 * pauseMs))
  }

  stop(): void {
    this.#isStopped = true
    if (this.#isUp) this.#sayGoodbye()
  }

  #again(): void {
    if (this.#isStopped) return
    const table = this.#deps.judges.cluster?.truth
    if (this.#socket === undefined) this.#connect()
    else if (this.#isUp && table !== undefined) this.#look(table)
    this.start()
  }

  /** Sees more than a query would show: who is away is for the broker to know. */
  #look(table: Omit<LockTable, 'apply'>): void {
    const { random, judges } = this.#deps
    const victims: Lock[] = []
    for (const session of table.sessions.values()) {
      for (const lock of session.held.values()) {
        if (session.suspended || random.chance(harshness)) victims.push(lock)
      }
    }
    if (victims.length === 0) return
    const { key, fence, session } = random.pick(victims)
    judges.verdict.count(session.suspended ? 'revoked while away' : 'revoked to the face')
    const revoke = { type: 'revoke', id: ++this.#lastId, key, fence, reason: 'a drill' }
    this.#socket?.send(JSON.stringify(revoke))
  }

  #connect(): void {
    const { WebSocket, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    this.#socket = socket
    socket.onopen = () => socket.send('{"type":"hello","name":"warden"}')
    socket.onmessage = ({ data }) => {
      const parsed = JSON.parse(String(data))
      for (const { type, n } of Array.isArray(parsed) ? parsed : [parsed]) {
        if (type === 'welcome') this.#welcomed()
        else if (type === 'ping') socket.send(JSON.stringify({ type: 'pong', n }))
      }
    }
    socket.onclose = () => {
      this.#socket = undefined
      this.#isUp = false
    }
  }

  #welcomed(): void {
    this.#isUp = true
    if (this.#isStopped) this.#sayGoodbye()
  }

  #sayGoodbye(): void {
    this.#socket?.send('{"type":"bye"}')
  }
}
