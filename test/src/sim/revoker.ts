/**
 * A client that may revoke locks. It mostly revokes locks of disconnected holders, which learn of
 * the loss only at the next resume. It speaks the protocol by hand.
 */
import type { WebSocketLike } from '@holdfast/client/internal'
import type { Lock, LockTable } from '@holdfast/server/core'
import type { RawClientDeps } from './rawClient.js'

/** The mean time between two looks at the table, in ms. */
const pauseMs = 200
/** The probability that it revokes a lock of a connected holder. */
const revokeChance = 0.03

export class Revoker {
  readonly #deps: RawClientDeps
  #socket: WebSocketLike | undefined
  #isUp = false
  #lastId = 0
  #isStopped = false

  constructor(deps: RawClientDeps) {
    this.#deps = deps
  }

  start(): void {
    const { process, random } = this.#deps
    process.clock.setTimer(() => this.#loop(), random.between(0, 2 * pauseMs))
  }

  stop(): void {
    this.#isStopped = true
    if (this.#isUp) this.#sendBye()
  }

  #loop(): void {
    if (this.#isStopped) return
    const table = this.#deps.oracles.cluster?.table
    if (this.#socket === undefined) this.#connect()
    else if (this.#isUp && table !== undefined) this.#look(table)
    this.start()
  }

  /** Reads the table itself, because a query does not show which holders are disconnected. */
  #look(table: Omit<LockTable, 'apply'>): void {
    const { random, oracles } = this.#deps
    const candidates: Lock[] = []
    for (const session of table.sessions.values()) {
      for (const lock of session.held.values()) {
        if (session.suspended || random.chance(revokeChance)) candidates.push(lock)
      }
    }
    if (candidates.length === 0) return
    const { key, fence, session } = random.pick(candidates)
    oracles.report.count(
      session.suspended ? 'revoked from a disconnected holder' : 'revoked from a connected holder',
    )
    const revoke = { type: 'revoke', id: ++this.#lastId, key, fence, reason: 'a drill' }
    this.#socket?.send(JSON.stringify(revoke))
  }

  #connect(): void {
    const { WebSocket, anyUrl } = this.#deps
    const socket = new WebSocket(anyUrl(), 'holdfast.v1')
    this.#socket = socket
    socket.onopen = () => socket.send('{"type":"hello","name":"revoker"}')
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
    if (this.#isStopped) this.#sendBye()
  }

  #sendBye(): void {
    this.#socket?.send('{"type":"bye"}')
  }
}
